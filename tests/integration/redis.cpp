#include "integration/redis.hpp"

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/cache/redis.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/testing/scripted.hpp>
#include <llmkit/transport/tls.hpp>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_integration_redis {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }
time_point now() { return std::chrono::steady_clock::now(); }
limit within(duration span) {
    limit until;
    until.until = now() + span;
    return until;
}
/// Patient, because a busy machine is no fault; and quick to try again.
redis_options patient() {
    return redis_options().policy(
        {.connect = 30s, .silence = 30s, .retry_first = 5ms, .retry_most = 50ms});
}

/// A cache, and a thread that asks it.
struct user {
    explicit user(const std::string& url, const redis_options& options = patient())
        : store(url, options) {}

    result<void> put(std::uint64_t n, std::string text, duration keep = 1h) {
        return loop.wait(
            store.put(key(n), entry_saying(std::move(text), now(), keep), now(), within(60s)));
    }
    /// The text found; "" for a miss, or the kind of the error.
    std::string text(std::uint64_t n, duration span = 60s) {
        auto found = loop.wait(store.find(key(n), now(), within(span)));
        if (!found) return std::string(to_string(found.error().kind()));
        return *found ? std::string(found->entry()->events.front().data()) : std::string();
    }
    template <class... Words>
    result<redis_reply> command(const Words&... words) {
        return loop.wait(store.client().command(within(60s), words...));
    }
    redis_cache store;
    background_loop loop;
};

template <class Condition>
bool eventually(const Condition& holds) {
    for (int i = 0; i < 60'000; ++i) {
        if (holds()) return true;
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

}  // namespace

TEST_CASE("an answer that one process put into Redis is found whole by another", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url());
    user other(server.url());
    CHECK(one.text(1).empty());
    const auto entry = std::make_shared<cache_entry>(full_entry(now()));
    REQUIRE(one.loop.wait(one.store.put(key(1), entry, entry->stored_at + 3s, within(60s))));
    auto found = other.loop.wait(other.store.find(key(1), entry->stored_at + 3s, within(60s)));
    REQUIRE(found.value());
    CHECK(found->level() == "redis");
    cache_entry got = *found->entry();
    CHECK(std::chrono::abs(got.fresh_until - entry->fresh_until) < 1min);
    got.stored_at = entry->stored_at;
    got.fresh_until = entry->fresh_until;
    got.keep_until = entry->keep_until;
    CHECK(same(got, *entry));
    REQUIRE(one.loop.wait(one.store.erase(key(1), within(60s))));
    CHECK(other.text(1).empty());
    CHECK(other.store.stats().hits == 1);
    CHECK(other.store.stats().misses == 1);

    user elsewhere(server.url() + "/3");
    REQUIRE(one.put(2, "zero"));
    CHECK(elsewhere.text(2).empty());
    user prefixed(server.url(), redis_options().prefix("other:"));
    CHECK(prefixed.text(2).empty());
}

TEST_CASE("Redis removes an entry when it is of no more use", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url());
    REQUIRE(one.put(1, "short", 20ms));
    REQUIRE(one.put(2, "long"));
    CHECK(eventually([&] { return one.command("DBSIZE").value().integer() == 1; }));
    CHECK(one.text(1).empty());
    CHECK(one.text(2) == "long");
    const std::string name = "llmkit:1:" + to_hex(key(2));
    const auto left = one.command("PTTL", name).value().integer();
    CHECK(left > 3'000'000);
    CHECK(left <= 3'600'000);
    REQUIRE(one.put(3, "ever", duration::max()));
    CHECK(one.text(3) == "ever");
}

TEST_CASE("an answer from Redis is as old as it is", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url());
    // Written as if 40 of its 100 seconds ago.
    std::string text = entry_codec().encode(*entry_saying("aged", now(), 100s), now());
    detail::dated::write(text, std::chrono::system_clock::now() - 40s);
    REQUIRE(one.command("SET", "llmkit:1:" + to_hex(key(1)), text));
    auto found = one.loop.wait(one.store.find(key(1), now(), within(60s)));
    REQUIRE(found.value());
    CHECK(found->entry()->fresh_until - now() <= 61s);
    CHECK(found->entry()->keep_until - now() <= 61s);
    CHECK(now() - found->entry()->stored_at >= 39s);
}

TEST_CASE("what is no entry of ours is a miss", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url());
    REQUIRE(one.put(1, "text"));
    const std::string name = "llmkit:1:" + to_hex(key(1));
    REQUIRE(one.command("APPEND", name, "x"));
    CHECK(one.text(1).empty());
    REQUIRE(one.command("SET", name, ""));
    CHECK(one.text(1).empty());
    CHECK(one.store.stats().unreadable == 2);
    REQUIRE(one.command("DEL", name));
    REQUIRE(one.command("LPUSH", name, "x"));
    CHECK(one.text(1) == "invalid request");  // WRONGTYPE
}

TEST_CASE("one process at a time has a lease, until it gives it up or it runs out", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url(), patient().lease_term(1h));
    user other(server.url(), patient().lease_term(1h));
    const auto take = [](user& who) {
        return who.loop.wait(who.store.lease(key(1), within(60s))).value();
    };
    const auto mine = take(one);
    REQUIRE(mine);
    CHECK(mine->term() == 1h);
    CHECK_FALSE(take(other));
    CHECK(one.loop.wait(mine->renew(within(60s))).value());
    one.loop.wait(mine->release(within(60s)));
    const auto his = take(other);
    REQUIRE(his);
    // What is not mine any more is neither prolonged nor given up.
    CHECK_FALSE(one.loop.wait(mine->renew(within(60s))).value());
    one.loop.wait(mine->release(within(60s)));
    CHECK_FALSE(take(one));

    user brief(server.url(), patient().lease_term(20ms));
    const auto dying = brief.loop.wait(brief.store.lease(key(2), within(60s))).value();
    REQUIRE(dying);
    CHECK(eventually([&] {
        return other.loop.wait(other.store.lease(key(2), within(60s))).value() != nullptr;
    }));
    CHECK_FALSE(brief.loop.wait(dying->renew(within(60s))).value());
}

TEST_CASE("a client's commands, scripts and errors are those of Redis", "[redis]") {
    temporary_folder folder;
    redis_server server(folder);
    user one(server.url());
    CHECK(one.command("PING").value().says("PONG"));
    CHECK(one.command("INCRBY", "n", 5).value().integer() == 5);
    CHECK(one.command("GET", "nothing").value().is_nil());
    CHECK(one.command("RPUSH", "l", "a", std::string("b")).value().integer() == 2);
    CHECK(one.command("LRANGE", "l", 0, -1).value().items().size() == 2);
    const auto wrong = one.command("INCR", "l");
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code() == "WRONGTYPE");
    const std::vector<std::string> words{"SET", "k", std::string("\r\n\0", 3)};
    REQUIRE(one.loop.wait(one.store.client().command_of(within(60s), words)));
    CHECK(one.command("GET", "k").value().text() == words[2]);

    const redis_script add("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    const auto run = [&](int by) {
        return one.loop.wait(one.store.client().run(within(60s), add, "sum", by));
    };
    CHECK(run(2).value().integer() == 2);
    CHECK(run(3).value().integer() == 5);
    REQUIRE(one.command("SCRIPT", "FLUSH"));
    CHECK(run(4).value().integer() == 9);
}

TEST_CASE("a password and a user are given, and a wrong one is named as what it is", "[redis]") {
    temporary_folder folder;
    redis_server server(folder,
                        {"--requirepass", "se@cret", "--user", "ann", "on", ">pw", "~*", "+@all"});
    user right(server.url(":se%40cret@"));
    REQUIRE(right.put(1, "text"));
    user named(server.url("ann:pw@"));
    CHECK(named.text(1) == "text");
    for (const char* who : {":wrong@", "", "bob:pw@"}) {
        user wrong(server.url(who));
        auto found = wrong.loop.wait(wrong.store.find(key(1), now(), within(60s)));
        REQUIRE_FALSE(found);
        CHECK(found.error().kind() == error_kind::authentication);
        CHECK(found.error().to_string().find("wrong") == std::string::npos);
    }
    user lost(server.url() + "/999");
    CHECK(lost.text(1) == "authentication");
    user nowhere(server.url(":se%40cret@") + "/999");
    CHECK(nowhere.text(1) == "invalid request");
}

TEST_CASE("a URL that is wrong is told by problem(), and by every call", "[redis]") {
    for (const char* url : {"http://localhost", "redis://", "redis://localhost/x"}) {
        user wrong(url);
        REQUIRE(wrong.store.problem());
        CHECK(wrong.store.problem()->kind() == error_kind::configuration);
        CHECK(wrong.text(1) == "configuration");
    }
    user secure("rediss://127.0.0.1:1");
    CHECK(secure.text(1) == "configuration");
}

TEST_CASE("Redis is reached over TLS, with its certificate checked", "[redis]") {
    temporary_folder folder;
    certificates made(folder);
    made.sign("good", "DNS:localhost,IP:127.0.0.1");
    const auto port = free_port();
    redis_server server(folder,
                        {"--port", "0", "--tls-port", std::to_string(port), "--tls-cert-file",
                         made.file("good.pem"), "--tls-key-file", made.file("good.key"),
                         "--tls-ca-cert-file", made.ca(), "--tls-auth-clients", "no"},
                        port);
    const std::string url = "rediss://127.0.0.1:" + std::to_string(port);
    user one(url, patient().tls(tls().ca_file(made.ca())));
    REQUIRE(one.put(1, std::string(500'000, 'x')));
    for (int i = 0; i < 3; ++i) CHECK((one.text(1) == std::string(500'000, 'x')));
    std::vector<std::future<result<cache_hit>>> all;
    for (int i = 0; i < 100; ++i)
        all.push_back(asio::co_spawn(one.loop.get_executor(),
                                     one.store.find(key(1), now(), within(60s)), asio::use_future));
    for (auto& each : all) CHECK(each.get().value());
    user doubting(url, patient().tls(tls()));
    CHECK(doubting.text(1) == "tls");
    user mistaken(server.url(), patient());  // clear text to a port that wants TLS
    CHECK(mistaken.text(1) == "connection lost");
}

TEST_CASE("Redis is reached over a Unix socket", "[redis]") {
    temporary_folder folder;
    const std::string path = folder.path() / "redis.sock";
    redis_server server(folder, {"--unixsocket", path});
    user over("redis+unix://" + path + "?db=2");
    REQUIRE(over.put(1, "text"));
    user tcp(server.url() + "/2");
    CHECK(tcp.text(1) == "text");
}

}  // namespace test_integration_redis
