// Memory over Redis over a file, with calls under way while the Redis is killed, hangs and comes back.
#include <llmkit/cache/tiered.hpp>

#include <asio/use_future.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/cache/redis.hpp>
#include <llmkit/cache/sqlite.hpp>
#include <llmkit/cache/tags.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/testing/scripted.hpp>

#include "integration/redis.hpp"
#include "test.hpp"

namespace test_integration_tiers {

using namespace llmkit;
using namespace llmkit_test;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

using client_type = pipeline<any_service>;
using cache_type = tiered_cache<detail::at_once::from_the_front>;

// Without the level's limit a call would wait as long as this for a Redis that hangs.
constexpr duration for_ever = 10min;

request question(int n) {
    return request("chat/completions", R"({"model":"m","messages":")" + std::to_string(n) + "\"}");
}

/// The level that answered, "" for the provider; "wrong" or "failed" if that is what it is.
task<std::string> ask(client_type client, int n, std::vector<std::string> tags = {}) {
    request asked = question(n);
    for (auto& tag : tags) asked.options().add_tag(std::move(tag));
    const std::string expected = "to " + std::string(asked.body());
    auto answer = co_await client(std::move(asked));
    std::string level = "failed";
    if (!answer) co_return level;
    level = answer->head().came_by.cache_level;
    std::string text;
    while (auto item = co_await answer->events().next()) text += item->data();
    if (text != expected) level = "wrong";
    co_return level;
}

struct tally {
    std::atomic<int> calls{0}, failed{0}, wrong{0}, found{0};
    std::atomic<std::int64_t> longest_ms{0};
    std::atomic<bool> enough{false};
};

/// Asks for what others ask for, until it is enough.
task<void> keep_asking(client_type client, int caller, std::shared_ptr<tally> sum) {
    for (int i = 0; !sum->enough; ++i) {
        const time_point began = client.clock().now();
        const auto level = co_await ask(client, (i * 13 + caller * 7) % 200);
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(client.clock().now() - began);
        sum->longest_ms = std::max(sum->longest_ms.load(), std::int64_t{took.count()});
        ++sum->calls;
        if (level == "failed") ++sum->failed;
        if (level == "wrong") ++sum->wrong;
        if (level == "redis") ++sum->found;
        co_await sleep_for(client.clock(), 500us);
    }
}

template <class Condition>
bool eventually(Condition holds) {
    for (int i = 0; i < 60'000; ++i) {
        if (holds()) return true;
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

/// One process: few answers in memory, so that the levels below are asked.
struct process {
    explicit process(cache_type made) : cache(std::move(made)) {
        provider.always(
            [](const request& asked) { return says("to " + std::string(asked.body())); });
        client = client_type(
            any_service(pipeline(provider) | llmkit::cache(cache, {.store_limit = for_ever})));
    }
    std::string level_of(int n, std::vector<std::string> tags = {}) {
        return loop.wait(ask(client, n, std::move(tags)));
    }
    bool written() {
        limit until;
        until.until = client.clock().now() + 60s;
        return loop.wait(cache.close(until));
    }
    level_stats stats(std::size_t i) const { return cache.stats().levels.at(i); }

    background_loop loop;
    scripted provider{loop.get_executor()};
    cache_type cache;
    client_type client{any_service(pipeline(provider))};
};

/// For a busy machine: in time is what comes within three seconds.
template <class Store>
cache_level<Store> quickly_probed(Store store) {
    return level(std::move(store))
        .limit(3s)
        .health({.failures = 3, .probe_every = 50ms, .probe_at_most = 50ms});
}
redis_options patient() {
    return redis_options().policy(
        {.connect = for_ever, .silence = for_ever, .retry_first = 5ms, .retry_most = 50ms});
}

}  // namespace

TEST_CASE("answers written behind the calls into a file are found after a restart", "[tiers]") {
    temporary_folder folder;
    const std::string path = (folder.path() / "answers.db").string();
    {
        process first(
            tiered(memory_cache(1000), level(sqlite_cache(path)).limit(60s)).write_behind());
        for (int n = 0; n < 50; ++n) CHECK(first.level_of(n) == "");
        for (int n = 0; n < 50; ++n) CHECK(first.level_of(n) == "memory");
        CHECK(first.written());
    }
    process again(tiered(memory_cache(1000), level(sqlite_cache(path)).limit(60s)));
    for (int n = 0; n < 50; ++n) CHECK(again.level_of(n) == "sqlite");
    for (int n = 0; n < 50; ++n) CHECK(again.level_of(n) == "memory");
    CHECK(again.provider.counts().begun == 0);
}

TEST_CASE("a Redis that is killed and comes back fails no call and gives no wrong answer",
          "[tiers]") {
    const bool behind = GENERATE(false, true);
    temporary_folder folder;
    redis_server server(folder);
    cache_type cache =
        tiered(memory_cache(20), quickly_probed(redis_cache(server.url(), patient())));
    if (behind) cache.write_behind();
    process p(cache);
    auto sum = std::make_shared<tally>();
    std::vector<std::future<void>> callers;
    for (int i = 0; i < 6; ++i)
        callers.push_back(
            asio::co_spawn(p.loop.get_executor(), keep_asking(p.client, i, sum), asio::use_future));
    CHECK(eventually([&] { return sum->found > 50; }));
    for (int round = 0; round < 2; ++round) {
        server.kill();
        CHECK(eventually([&] { return p.stats(1).state == level_state::down; }));
        const int then = sum->calls;
        CHECK(eventually([&] { return sum->calls > then + 200; }));
        server.start();
        CHECK(eventually([&] { return p.stats(1).state == level_state::up; }));
        const int found = sum->found;
        CHECK(eventually([&] { return sum->found > found + 20; }));
    }
    sum->enough = true;
    for (auto& one : callers) one.get();
    CHECK(sum->failed == 0);
    CHECK(sum->wrong == 0);
    CHECK(p.stats(1).skipped > 0);
    CHECK(p.stats(1).probes > 0);
    CHECK(sum->longest_ms < 60'000);  // and not for ever
}

TEST_CASE("a Redis that hangs holds calls up for the level's limit, and soon not at all",
          "[tiers]") {
    temporary_folder folder;
    redis_server server(folder);
    process p(tiered(memory_cache(20), quickly_probed(redis_cache(server.url(), patient()))));
    for (int n = 0; n < 100; ++n) CHECK(p.level_of(n) == "");
    CHECK(p.level_of(0) == "redis");
    server.stop();
    std::vector<std::future<std::string>> held_up;
    for (int n = 100; n < 103; ++n)
        held_up.push_back(std::async(std::launch::async, [&p, n] { return p.level_of(n); }));
    for (auto& one : held_up) CHECK(one.get() == "");
    CHECK(eventually([&] { return p.stats(1).state != level_state::up; }));
    for (int n = 0; n < 80; ++n) {
        const auto level = p.level_of(n);
        CHECK((level == "" || level == "memory"));
    }
    CHECK(p.stats(1).timeouts >= 3);
    CHECK(p.stats(1).skipped >= 10);
    server.go_on();
    CHECK(eventually([&, n = 1000]() mutable {
        p.level_of(n++);  // it is probed when somebody asks
        return p.stats(1).state == level_state::up;
    }));
    for (int n = 0; n < 50; ++n) {
        const auto level = p.level_of(n);
        CHECK((level == "redis" || level == "memory"));
    }
}

TEST_CASE("while one level is away the next one answers", "[tiers]") {
    temporary_folder folder;
    redis_server server(folder);
    const std::string path = (folder.path() / "answers.db").string();
    process p(tiered(memory_cache(1), quickly_probed(redis_cache(server.url(), patient())),
                     level(sqlite_cache(path)).limit(60s)));
    for (int n = 0; n < 20; ++n) CHECK(p.level_of(n) == "");
    for (int n = 0; n < 19; ++n) CHECK(p.level_of(n) == "redis");
    server.kill();
    for (int n = 0; n < 19; ++n) CHECK(p.level_of(n) == "sqlite");
    server.start();  // empty
    CHECK(eventually([&, n = 0]() mutable {
        p.level_of(n++ % 2);
        return p.stats(1).state == level_state::up;
    }));
    for (int n = 2; n < 19; ++n) CHECK(p.level_of(n) == "sqlite");  // and into Redis again
    p.written();
    for (int n = 2; n < 19; ++n) CHECK(p.level_of(n) == "redis");
    CHECK(p.provider.counts().begun == 20);
}

TEST_CASE("what one process invalidates in a shared Redis is invalid in another's memory",
          "[tiers]") {
    temporary_folder folder;
    redis_server server(folder);
    const auto make = [&] {
        return tiered(memory_cache(100), quickly_probed(redis_cache(server.url(), patient())));
    };
    process one(make());
    process other(make());
    CHECK(one.level_of(1, {"red"}) == "");
    CHECK(eventually([&] { return one.stats(1).writes == 2; }));  // the tag, and the answer
    CHECK(other.level_of(1, {"red"}) == "redis");
    CHECK(other.level_of(1, {"red"}) == "memory");
    CHECK(one.loop.wait(invalidate(one.cache, "red")));
    CHECK(other.level_of(1, {"red"}) == "");
    CHECK(eventually([&] { return other.stats(1).writes == 2; }));
    CHECK(one.level_of(1, {"red"}) == "redis");
}

}  // namespace test_integration_tiers
