// Eight processes, one Redis, one provider that counts.
#include "integration/redis.hpp"

#include <spawn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/redis.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/openai_replies.hpp>
#include <llmkit/transport/http.hpp>

#include "test.hpp"

extern char** environ;

namespace test_integration_redis_fleet {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int calls_in_all = 8'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr int calls_in_all = 8'000;
#else
constexpr int calls_in_all = 100'000;
#endif
#else
constexpr int calls_in_all = 100'000;
#endif
constexpr int processes = 8;
constexpr int calls_each = calls_in_all / processes;
constexpr std::size_t questions = calls_in_all / 100;

/// Which question comes next, Zipf's way: the n-th is asked for 1/n times as often as the first.
class zipf {
public:
    explicit zipf(std::uint64_t seed) : random_(seed) {
        double sum = 0;
        for (std::size_t n = 1; n <= questions; ++n) sums_.push_back(sum += 1.0 / double(n));
    }
    std::size_t next() {
        const double at = std::uniform_real_distribution<>(0, sums_.back())(random_);
        return static_cast<std::size_t>(std::lower_bound(sums_.begin(), sums_.end(), at) -
                                        sums_.begin());
    }

private:
    std::mt19937_64 random_;
    std::vector<double> sums_;
};

/// The provider: says the question's number after a while, and counts who asked what.
class counting_provider {
public:
    explicit counting_provider(duration takes)
        : server_([this, takes](const testing::server_request& ask) { return answer(ask, takes); },
                  {.logged = 0}) {}

    std::string url() const { return server_.base_url(); }
    bool wait_for_requests(std::size_t count) { return server_.wait_for_requests(count, 60s); }
    std::size_t requests() const { return server_.requests(); }
    /// For each question who asked for it.
    std::map<std::string, std::vector<std::string>> asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

private:
    testing::server_reply answer(const testing::server_request& ask, duration takes) {
        const auto at = ask.body.find("question ") + 9;
        std::string number = ask.body.substr(at, ask.body.find('.', at) - at);
        {
            const std::lock_guard lock(mutex_);
            asked_[number].emplace_back(ask.fields.get("Authorization").value_or("nobody"));
        }
        auto reply = testing::server_reply().header("Content-Type", "application/json");
        reply.pause(takes);
        return reply.body(testing::openai_body("answer " + number, testing::test_usage()));
    }

    mutable std::mutex mutex_;
    std::map<std::string, std::vector<std::string>> asked_;
    testing::http_server server_;
};

/// This program again, as one of the fleet.
class member {
public:
    member(int number, const std::string& redis, const std::string& upstream, int calls,
           int lease_ms) {
        const std::pair<const char*, std::string> settings[] = {
            {"LLMKIT_TEST_MEMBER", std::to_string(number)},
            {"LLMKIT_TEST_REDIS", redis},
            {"LLMKIT_TEST_UPSTREAM", upstream},
            {"LLMKIT_TEST_CALLS", std::to_string(calls)},
            {"LLMKIT_TEST_LEASE", std::to_string(lease_ms)}};
        for (const auto& [name, value] : settings) ::setenv(name, value.c_str(), 1);
        std::string program = "/proc/self/exe";
        std::string name = "a member of the fleet";
        char* const words[] = {program.data(), name.data(), nullptr};
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        const int failed = ::posix_spawn(&process_, words[0], &actions, nullptr, words, environ);
        ::posix_spawn_file_actions_destroy(&actions);
        if (failed) throw std::runtime_error("cannot start this program again");
    }
    member(member&& other) noexcept : process_(std::exchange(other.process_, 0)) {}
    member& operator=(member&&) = delete;
    ~member() { kill(); }

    /// Waits for its end; whether all its calls had the right answers.
    bool ends_well() {
        int status = 1;
        return ::waitpid(std::exchange(process_, 0), &status, 0) > 0 && status == 0;
    }
    void kill() {
        if (process_ == 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(std::exchange(process_, 0), nullptr, 0);
    }

private:
    pid_t process_ = 0;
};

template <class Client>
task<void> ask(Client client, std::shared_ptr<zipf> draw, int* left, std::string* wrong) {
    while (*left > 0) {
        --*left;
        const std::string number = std::to_string(draw->next());
        auto answer = co_await client.chat(chat_request("m").user("question " + number + '.'));
        if (!answer || answer->text() != "answer " + number)
            *wrong = answer ? std::string(answer->text()) : answer.error().to_string();
    }
}
template <class Client>
task<void> ask_all(Client client, std::uint64_t seed, int calls, std::string* wrong) {
    const auto draw = std::make_shared<zipf>(seed);
    int left = calls;
    std::vector<child<void>> callers;
    for (int i = 0; i < 16; ++i)
        callers.emplace_back(client.clock(), ask(client, draw, &left, wrong));
    for (auto& one : callers) co_await one.join();
    co_await client.close(10s);
}

}  // namespace

TEST_CASE("a member of the fleet", "[.redis_fleet]") {
    const auto setting = [](const char* name) {
        const char* const value = std::getenv(name);
        return std::string(value ? value : "");
    };
    if (setting("LLMKIT_TEST_MEMBER").empty()) return;
    // A machine that is busy is no fault: nothing may be late here, unless somebody is killed.
    const redis_cache store(
        setting("LLMKIT_TEST_REDIS"),
        redis_options()
            .policy({.connect = 60s, .silence = 60s})
            .lease_term(std::chrono::milliseconds(std::stoi(setting("LLMKIT_TEST_LEASE")))));
    background_loop loop;
    const auto provider =
        openai(http(loop.get_executor()), openai_options()
                                              .key("member-" + setting("LLMKIT_TEST_MEMBER"))
                                              .base_url(setting("LLMKIT_TEST_UPSTREAM")));
    const auto client = pipeline(provider) | dedup() |
                        cache(store, {.ttl = 24h, .store_limit = 60s, .lease_wait = 10min});
    std::string wrong;
    loop.wait(ask_all(client, std::stoull(setting("LLMKIT_TEST_MEMBER")),
                      std::stoi(setting("LLMKIT_TEST_CALLS")), &wrong));
    INFO(wrong);
    CHECK(wrong.empty());
}

TEST_CASE("a fleet that shares a Redis asks the provider once for each question", "[redis_fleet]") {
    const temporary_folder folder;
    const redis_server server(folder);
    counting_provider provider(20ms);
    std::vector<member> all;
    for (int i = 0; i < processes; ++i)
        all.emplace_back(i, server.url(), provider.url(), calls_each, 60'000);
    for (auto& one : all) CHECK(one.ends_well());
    const auto asked = provider.asked();
    CHECK(asked.size() > questions * 8 / 10);
    CHECK(provider.requests() == asked.size());
    for (const auto& [question, who] : asked) CHECK(who.size() == 1);
}

TEST_CASE("when a member is killed at most one call more is made for each lease that he had",
          "[redis_fleet]") {
    const temporary_folder folder;
    const redis_server server(folder);
    counting_provider provider(300ms);
    constexpr int term = 8'000;  // renewed three times in it, also on a busy machine
    member doomed(100, server.url(), provider.url(), calls_each, term);
    REQUIRE(provider.wait_for_requests(10));
    std::vector<member> all;
    for (int i = 0; i < processes - 1; ++i)
        all.emplace_back(i, server.url(), provider.url(), calls_each / 10, term);
    doomed.kill();  // in the middle of up to sixteen calls
    for (auto& one : all) CHECK(one.ends_well());
    std::size_t again = 0;
    for (const auto& [question, who] : provider.asked()) {
        INFO(question);
        if (who.size() == 1) continue;
        CHECK(who.size() == 2);
        CHECK(who[0] == "Bearer member-100");
        CHECK(who[1] != who[0]);
        ++again;
    }
    CHECK(again <= 16);
}

}  // namespace test_integration_redis_fleet
