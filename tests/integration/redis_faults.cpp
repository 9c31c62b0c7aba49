#include "integration/redis.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/cache/redis.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/scripted_store.hpp"
#include "test.hpp"

namespace test_integration_redis_faults {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

namespace {

constexpr int questions = 20;

/// Quick to notice and to try again; how quick the machine is must not matter.
redis_options hasty() {
    return redis_options()
        .policy({.connect = 500ms, .silence = 100ms, .retry_first = 5ms, .retry_most = 50ms})
        .lease_term(100ms);
}

struct tally {
    int answered = 0;
    int hits = 0;
    std::string wrong;  ///< the last call that failed, or had another's answer
};

/// A program with a cache in Redis.
class shop {
public:
    explicit shop(const std::string& url, const redis_options& options = hasty(),
                  std::size_t size = 10)
        : store(url, options) {
        provider.always([size](const request& ask) {
            const std::string_view body = ask.body();
            const auto at = body.find("question ") + 9;
            std::string number(body.substr(at, body.find('.', at) - at));
            return testing::says(number + ' ' + std::string(size, 'x'));
        });
    }
    ~shop() { loop.wait(client.close(1s)); }

    /// Every question by four callers at once.
    tally ask_all() {
        tally sum;
        loop.wait(ask_all(client, sum));
        CHECK(sum.wrong.empty());
        CHECK(sum.answered == 4 * questions);
        return sum;
    }
    /// Whether all is answered from Redis again, sooner or later.
    bool recovers() {
        for (int tries = 0; tries < 2000; ++tries) {
            if (ask_all().hits == 4 * questions) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }

    redis_cache store;
    background_loop loop;
    testing::scripted provider{loop.get_executor()};
    decltype(pipeline(provider) | dedup() | cache(store)) client =
        pipeline(provider) | dedup() | cache(store);

private:
    template <class Client>
    static task<void> ask_some(Client with, std::shared_ptr<tally> sum) {
        for (int i = 0; i < questions; ++i) {
            const std::string number = std::to_string(i);
            auto answer =
                co_await with.chat(chat_request("m").user("question " + number + '.').timeout(60s));
            if (answer && answer->text().starts_with(number + ' ')) {
                ++sum->answered;
                if (answer->came_by().cache_level == "redis") ++sum->hits;
            } else {
                sum->wrong = answer ? std::string(answer->text()) : answer.error().to_string();
            }
        }
    }
    template <class Client>
    static task<void> ask_all(Client with, tally& out) {
        const auto sum = std::make_shared<tally>();
        std::vector<child<void>> callers;
        for (int i = 0; i < 4; ++i) callers.emplace_back(with.clock(), ask_some(with, sum));
        for (auto& one : callers) co_await one.join();
        out = *sum;
    }
};

}  // namespace

TEST_CASE("calls go on while Redis is killed, and it is used again once it is back",
          "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder);
    shop one(server.url());
    CHECK(one.recovers());
    for (int round = 0; round < 3; ++round) {
        server.kill();
        CHECK(one.ask_all().hits == 0);
        server.start();
        CHECK(one.recovers());
    }
    CHECK(one.store.stats().connections.unreached > 0);
}

TEST_CASE("calls go on while Redis is stopped, and it is used again once it goes on",
          "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder);
    shop one(server.url());
    CHECK(one.recovers());
    for (int round = 0; round < 2; ++round) {
        server.stop();
        CHECK(one.ask_all().hits == 0);
        server.go_on();
        CHECK(one.recovers());
    }
    CHECK(one.store.stats().connections.lost > 0);
}

TEST_CASE("calls go on while Redis pauses its clients", "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder);
    shop one(server.url());
    CHECK(one.recovers());
    const redis_client other(server.url());
    const limit soon = [] {
        limit until;
        until.until = std::chrono::steady_clock::now() + 60s;
        return until;
    }();
    REQUIRE(one.loop.wait(other.command(soon, "CLIENT", "PAUSE", 700, "ALL")));
    one.ask_all();
    CHECK(one.recovers());
}

TEST_CASE("calls go on without a cache where the password is wrong", "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder, {"--requirepass", "secret"});
    shop one(server.url(":wrong@"));
    CHECK(one.ask_all().hits == 0);
    CHECK(one.ask_all().hits == 0);
    CHECK(one.store.stats().connections.connected == 0);
    shop right(server.url(":secret@"));
    CHECK(right.recovers());
}

TEST_CASE("a Redis that evicts for want of memory loses hits and nothing else", "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder, {"--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"});
    shop one(server.url(), hasty(), 300'000);
    for (int i = 0; i < 5; ++i) one.ask_all();
    const auto info = one.loop.wait(one.store.client().command(limit(), "INFO", "stats"));
    const std::string text = info.value().text();
    const auto at = text.find("evicted_keys:") + 13;
    CHECK(std::stol(text.substr(at)) > 0);
}

TEST_CASE("a Redis that is full and does not evict refuses, and calls go on", "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder, {"--maxmemory", "2mb", "--maxmemory-policy", "noeviction"});
    shop one(server.url(), hasty(), 300'000);
    for (int i = 0; i < 3; ++i) one.ask_all();
    CHECK(one.store.stats().failures > 0);
}

TEST_CASE("a connection that is reset in the middle of a reply gives nobody a wrong answer",
          "[redis_faults]") {
    const temporary_folder folder;
    redis_server server(folder);
    std::atomic<bool> failing{true};
    // In front of Redis somebody who breaks off in the middle of every third reply to a GET.
    const redis_client behind(server.url());
    background_loop relay;
    scripted_store between([&](store_peer& peer) {
        int gets = 0;
        for (auto words = peer.command(); !words.empty(); words = peer.command()) {
            const bool get = words.front() == "GET";
            auto reply = relay.wait(behind.command_of(limit(), words));
            std::string text = "-ERR\r\n";
            if (reply && reply->is_nil()) text = "$-1\r\n";
            if (reply && reply->kind() == detail::resp_kind::integer)
                text = ':' + std::to_string(reply->integer()) + "\r\n";
            if (reply && reply->kind() == detail::resp_kind::text)
                text = '$' + std::to_string(reply->text().size()) + "\r\n" + reply->text() + "\r\n";
            if (get && failing && ++gets % 3 == 0) {
                peer.say(text.substr(0, text.size() / 2));
                return peer.reset();
            }
            peer.say(text);
        }
    });
    shop one("redis://127.0.0.1:" + std::to_string(between.port()));
    for (int i = 0; i < 10; ++i) one.ask_all();
    CHECK(one.store.stats().connections.lost > 0);
    failing = false;
    CHECK(one.recovers());
}

}  // namespace test_integration_redis_faults
