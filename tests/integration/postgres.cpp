// The cache in PostgreSQL against a real one, also when that is killed, hangs, or refuses.
#include <llmkit/cache/postgres.hpp>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/core/any_service.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/entries.hpp"
#include "integration/postgres.hpp"
#include "test.hpp"

namespace test_integration_postgres {

using namespace llmkit;
using namespace llmkit_test;

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }
time_point now() { return std::chrono::steady_clock::now(); }
limit within(duration span) {
    limit until;
    until.until = now() + span;
    return until;
}
/// Waits until something is so; generously, for a machine that has other things to do.
void eventually(const std::function<bool()>& so) {
    const auto end = now() + 60s;
    while (!so()) {
        REQUIRE(now() < end);
        std::this_thread::sleep_for(5ms);
    }
}
/// Quick to notice and to try again.
constexpr postgres_policy quick{.connections = 2, .answer = 1s, .retry = 10ms, .max_retry = 200ms};

/// A cache, and a thread that asks it.
struct user {
    explicit user(const std::string& url, postgres_policy policy = quick, entry_codec codec = {},
                  std::string table = "llmkit_answers")
        : store(url, policy, std::move(codec), std::move(table)) {}

    result<cache_hit> find(std::uint64_t n, duration patience = 60s) {
        return loop.wait(store.find(key(n), now(), within(patience)));
    }
    /// The text found; "" for a miss, "error" for an error.
    std::string text(std::uint64_t n) {
        auto found = find(n);
        if (!found) return "error";
        return *found ? std::string(found->entry()->events.front().data()) : std::string();
    }
    result<void> put(std::uint64_t n, std::string said, duration keep = 1h) {
        auto entry = entry_saying(std::move(said), now(), keep);
        return loop.wait(store.put(key(n), std::move(entry), now(), within(60s)));
    }

    background_loop loop;
    postgres_cache store;
};

}  // namespace

TEST_CASE("postgres gives every machine what one has put", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.store.name() == "postgres");
    CHECK(one.text(1) == "");
    CHECK(one.put(1, "first"));
    CHECK(one.put(1, "second"));
    const cache_entry full = full_entry(now());
    CHECK(one.loop.wait(
        one.store.put(key(2), std::make_shared<const cache_entry>(full), now(), within(60s))));
    CHECK_FALSE(one.store.problem());

    user other(server.url());
    CHECK(other.text(1) == "second");
    auto found = other.find(2);
    REQUIRE(found.value());
    CHECK(found->level() == "postgres");
    cache_entry got = *found->entry();
    CHECK(std::chrono::abs(got.fresh_until - full.fresh_until) < 1min);
    got.stored_at = full.stored_at;
    got.fresh_until = full.fresh_until;
    got.keep_until = full.keep_until;
    CHECK(same(got, full));

    CHECK(other.loop.wait(other.store.erase(key(1), within(60s))));
    CHECK(one.text(1) == "");
    const auto seen = one.store.stats();
    CHECK(seen.hits == 0);
    CHECK(seen.misses == 2);
    CHECK(seen.writes == 3);
    CHECK(seen.failures == 0);
    CHECK(one.store.readings().size() == 16);
}

TEST_CASE("an answer in postgres ends with its time and is then removed", "[postgres_cache]") {
    const postgres_server server;
    auto sweeping = quick;
    sweeping.sweep = 20ms;
    sweeping.max_age = 10h;
    user one(server.url(), sweeping);
    CHECK(one.put(1, "short"));
    CHECK(one.put(2, "long", 2000h));
    // As if that long had passed.
    server.sql("UPDATE llmkit_answers SET written = written - interval '59 minutes'");
    CHECK(one.text(1) == "short");
    server.sql("UPDATE llmkit_answers SET written = written - interval '2 minutes'");
    CHECK(one.text(1) == "");
    CHECK(one.text(2) == "long");
    server.sql("UPDATE llmkit_answers SET written = written - interval '10 hours'");
    CHECK(one.text(2) == "");
    CHECK(server.sql("SELECT count(*) FROM llmkit_answers") == "2");
    server.sql("UPDATE llmkit_answers SET keep_until = keep_until - interval '10 hours'");
    eventually([&] { return server.sql("SELECT count(*) FROM llmkit_answers") == "0"; });
    eventually([&] { return one.store.stats().expirations == 2; });
}

TEST_CASE("answers in postgres stay within their size, and the unused ones go first",
          "[postgres_cache]") {
    const postgres_server server;
    auto small = quick;
    small.max_bytes = 100'000;
    small.sweep = 20ms;
    user one(server.url(), small);
    for (std::uint64_t n = 0; n < 20; ++n) CHECK(one.put(n, std::string(4000, 'x'), 100h));
    server.sql("UPDATE llmkit_answers SET used = used - interval '2 hours'");
    CHECK(one.text(0).size() == 4000);
    // Is used from now on: that is noted behind the call.
    eventually([&] {
        return server.sql(
                   "SELECT count(*) FROM llmkit_answers"
                   " WHERE used > now() - interval '1 hour'") == "1";
    });
    for (std::uint64_t n = 20; n < 35; ++n) CHECK(one.put(n, std::string(4000, 'x'), 100h));
    eventually([&] {
        const auto left = std::stoul(server.sql("SELECT sum(size) FROM llmkit_answers"));
        return left <= 100'000 && one.store.stats().bytes <= 100'000;
    });
    CHECK(one.store.stats().evictions > 10);
    CHECK(one.text(0).size() == 4000);
    CHECK(one.text(1) == "");
    CHECK(one.text(34).size() == 4000);
}

TEST_CASE("an answer whose bytes rotted in postgres is a miss", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.put(1, "one"));
    server.sql("UPDATE llmkit_answers SET entry = substr(entry, 1, 40)");
    CHECK(one.text(1) == "");
    CHECK(one.store.stats().unreadable == 1);
}

TEST_CASE("a table that is newer, or not ours, is refused in words and left alone",
          "[postgres_cache]") {
    const postgres_server server;
    const auto refused = [&](const std::string& table, const std::string& why) {
        user one(server.url(), quick, {}, table);
        eventually([&] { return one.store.problem().has_value(); });
        INFO(one.store.problem()->to_string());
        CHECK(one.store.problem()->kind() == error_kind::configuration);
        CHECK(one.store.problem()->to_string().find(why) != std::string::npos);
        CHECK(one.text(1) == "error");
        CHECK_FALSE(one.put(1, "one"));
    };
    {
        user one(server.url());
        CHECK(one.put(1, "one"));
    }
    server.sql("COMMENT ON TABLE llmkit_answers IS 'llmkit answers, schema 2'");
    refused("llmkit_answers", "made by a newer llmkit (schema 2; this one knows 1)");
    CHECK(server.sql("SELECT count(*) FROM llmkit_answers") == "1");
    server.sql("CREATE TABLE accounts(id int4)");
    refused("accounts", "the table accounts is not one of llmkit's answers");
    refused("absent.answers", "schema \"absent\" does not exist");

    server.sql("CREATE SCHEMA \"Own\"");
    user named(server.url(), quick, {}, "Own.an\"swers");
    CHECK(named.put(1, "named"));
    CHECK(named.text(1) == "named");
    CHECK(server.sql("SELECT count(*) FROM \"Own\".\"an\"\"swers\"") == "1");
}

TEST_CASE("many machines that come at once make one table", "[postgres_cache]") {
    const postgres_server server;
    std::vector<std::unique_ptr<user>> all;
    auto one_each = quick;
    one_each.connections = 1;
    for (int i = 0; i < 12; ++i) all.push_back(std::make_unique<user>(server.url(), one_each));
    for (std::uint64_t i = 0; i < all.size(); ++i) CHECK(all[i]->put(i, std::to_string(i)));
    for (std::uint64_t i = 0; i < all.size(); ++i)
        CHECK(all[i]->text((i + 1) % all.size()) == std::to_string((i + 1) % all.size()));
    for (const auto& each : all) CHECK(each->store.stats().not_opened == 0);
}

namespace {
/// Asks for `count` keys at once, of `keys` that say their number; how many were found, failed, and
/// were somebody else's.
struct tally {
    int found = 0, failed = 0, wrong = 0;
};
tally ask_many(user& from, int count, std::uint64_t keys) {
    struct shared_state {
        std::atomic<int> found{0}, failed{0}, wrong{0}, left{0};
        std::promise<void> done;
    };
    const auto state = std::make_shared<shared_state>();
    state->left = count;
    for (int i = 0; i < count; ++i) {
        const std::uint64_t n = static_cast<std::uint64_t>(i) % keys;
        asio::co_spawn(from.loop.get_executor(), from.store.find(key(n), now(), within(60s)),
                       [state, n](const std::exception_ptr& why, result<cache_hit> got) {
                           if (why || !got) {
                               ++state->failed;
                           } else if (*got) {
                               ++state->found;
                               if (got->entry()->events.front().data() != std::to_string(n))
                                   ++state->wrong;
                           }
                           if (--state->left == 0) state->done.set_value();
                       });
    }
    state->done.get_future().wait();
    return {state->found, state->failed, state->wrong};
}
}  // namespace

TEST_CASE("many calls share few connections to postgres", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    for (std::uint64_t n = 0; n < 50; ++n) CHECK(one.put(n, std::to_string(n)));
    for (int round = 0; round < 5; ++round) {
        const tally all = ask_many(one, 500, 50);
        CHECK(all.found == 500);
        CHECK(all.failed == 0);
        CHECK(all.wrong == 0);
    }
    CHECK(one.store.stats().opened <= 2);
    CHECK(one.store.stats().open <= 2);

    auto bounded = quick;
    bounded.max_waiting = 10;
    bounded.max_pending_bytes = 5000;
    user few(server.url(), bounded);
    CHECK(few.text(1) == "1");
    CHECK(ask_many(few, 2000, 50).wrong == 0);
    CHECK(few.text(1) == "1");
    CHECK_FALSE(few.put(99, std::string(10'000, 'x')));
    CHECK(few.store.stats().dropped == 1);
}

TEST_CASE("a wrong password is said, but never what it was", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url("opensesame"));
    eventually([&] { return one.store.problem().has_value(); });
    const error why = *one.store.problem();
    INFO(why.to_string());
    CHECK(why.kind() == error_kind::authentication);
    CHECK(why.to_string().find("password authentication failed") != std::string::npos);
    CHECK(why.to_string().find("opensesame") == std::string::npos);
    CHECK(one.text(1) == "error");

    const user unreadable("postgresql://tester:open%sesame@127.0.0.1:1/postgres");
    REQUIRE(unreadable.store.problem());
    CHECK(unreadable.store.problem()->kind() == error_kind::configuration);
    CHECK(unreadable.store.problem()->to_string().find("open%s") == std::string::npos);

    // And it is asked again: somebody may mend it.
    server.sql("ALTER USER tester PASSWORD 'opensesame'");
    eventually([&] { return one.text(1) == ""; });
    CHECK_FALSE(one.store.problem());
}

TEST_CASE("a connection that is cut in the middle costs no call to postgres", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    for (std::uint64_t n = 0; n < 50; ++n) CHECK(one.put(n, std::to_string(n)));
    for (int round = 0; round < 10; ++round) {
        auto cut = std::async(std::launch::async, [&] {
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'llmkit'");
        });
        const tally all = ask_many(one, 1000, 50);
        cut.get();
        INFO((one.store.problem() ? one.store.problem()->to_string() : "fine"));
        CHECK(all.found == 1000);
        CHECK(all.wrong == 0);
    }
    CHECK(one.text(7) == "7");
    CHECK(one.store.stats().lost > 0);
    CHECK_FALSE(one.store.problem());
}

TEST_CASE("a table that was dropped is made again", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.put(1, "one"));
    server.sql("DROP TABLE llmkit_answers");
    eventually([&] { return one.text(1) == ""; });
    CHECK(one.put(1, "anew"));
    CHECK(one.text(1) == "anew");
}

TEST_CASE("a postgres that only reads, or whose disk is full, gives what it has",
          "[postgres_cache]") {
    const postgres_server server;
    {
        user one(server.url());
        CHECK(one.put(1, "one"));
        // What PostgreSQL says when the disk is full.
        server.sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON llmkit_answers"
            " FOR EACH ROW EXECUTE FUNCTION full_disk()");
        auto put = one.put(2, "two");
        REQUIRE_FALSE(put);
        CHECK(put.error().code() == "53100");
        CHECK(one.text(1) == "one");
        CHECK(one.store.stats().lost == 0);
        server.sql("DROP FUNCTION full_disk CASCADE");
        CHECK(one.put(2, "two"));
    }
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    user one(server.url());
    CHECK(one.text(1) == "one");
    auto put = one.put(3, "three");
    REQUIRE_FALSE(put);
    CHECK(put.error().code() == "25006");
    CHECK(one.text(2) == "two");
    CHECK_FALSE(one.store.problem());
}

TEST_CASE("a table that somebody has locked holds no call to postgres beyond its limit",
          "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.put(1, "one"));
    const std::unique_ptr<PGconn, void (*)(PGconn*)> other(PQconnectdb(server.url().c_str()),
                                                           PQfinish);
    PQclear(PQexec(other.get(), "BEGIN; LOCK TABLE llmkit_answers IN ACCESS EXCLUSIVE MODE"));
    auto late = one.find(1, 20ms);
    REQUIRE_FALSE(late);
    CHECK(late.error().kind() == error_kind::timeout);
    auto cancelled = one.find(1);  // by the server, at the statement's own limit
    REQUIRE_FALSE(cancelled);
    PQclear(PQexec(other.get(), "COMMIT"));
    eventually([&] { return one.text(1) == "one"; });
}

namespace {
/// A pipeline whose answers postgres keeps; it says how often the provider was asked.
struct client {
    explicit client(const std::string& url)
        : from(url), provider(from.loop.get_executor()), calls(pipeline(any_service(provider))) {
        provider.always(testing::says("an answer"));
        calls = pipeline(any_service(pipeline(provider) | cache(from.store)));
    }
    /// Whether the call went well and said the right thing.
    bool ask(int n) {
        auto answer = from.loop.wait(calls.chat(chat_request("m").user(std::to_string(n))));
        return answer && answer->text() == "an answer";
    }
    std::size_t asked() const { return provider.counts().begun; }
    /// Calls until one is answered from the store.
    void until_hit(int n) {
        eventually([&] {
            const auto before = asked();
            CHECK(ask(n));
            return asked() == before;
        });
    }

    user from;
    testing::scripted provider;
    pipeline<any_service> calls;
};
}  // namespace

TEST_CASE("calls go on while postgres is killed, and are answered from it again afterwards",
          "[postgres_cache]") {
    postgres_server server;
    client one(server.url());
    one.until_hit(1);
    for (int round = 0; round < 2; ++round) {
        server.kill();
        for (int i = 0; i < 30; ++i) CHECK(one.ask(1));
        eventually([&] { return one.from.store.problem().has_value(); });
        CHECK(one.from.store.problem()->kind() == error_kind::connect);
        const auto asked = one.asked();
        CHECK(one.ask(1));
        CHECK(one.asked() == asked + 1);
        server.start();
        one.until_hit(1);
        CHECK_FALSE(one.from.store.problem());
    }
}

TEST_CASE("calls go on while postgres hangs, and are answered from it again afterwards",
          "[postgres_cache]") {
    const postgres_server server;
    client one(server.url());
    one.until_hit(1);
    server.signal(SIGSTOP);
    eventually([&] {
        CHECK(one.ask(1));
        return one.from.store.problem().has_value();
    });
    CHECK(one.from.store.problem()->kind() == error_kind::timeout);
    for (int i = 0; i < 10; ++i) CHECK(one.ask(1));
    server.signal(SIGCONT);
    one.until_hit(1);
}

TEST_CASE("a postgres that starts later than its users is found", "[postgres_cache]") {
    postgres_server server;
    server.kill();
    client one(server.url());
    eventually([&] { return one.from.store.problem().has_value(); });
    CHECK(one.ask(1));
    server.start();
    one.until_hit(1);
}

TEST_CASE("a postgres with no room for further connections serves over those it has",
          "[postgres_cache]") {
    const postgres_server server({"max_connections=5", "superuser_reserved_connections=3"});
    user one(server.url());
    CHECK(one.put(1, "1"));
    server.sql(
        "CREATE USER guest PASSWORD 'guest'; GRANT ALL ON llmkit_answers TO guest;"
        "GRANT ALL ON SCHEMA public TO guest");
    auto many = quick;
    many.connections = 8;
    user guest("postgresql://guest:guest@127.0.0.1:" + std::to_string(server.port()) + "/postgres",
               many);
    CHECK(guest.text(1) == "1");
    for (int round = 0; round < 3; ++round) {
        const tally all = ask_many(guest, 500, 2);
        CHECK(all.found == 250);
        CHECK(all.failed == 0);
    }
    CHECK_FALSE(guest.store.problem());
}

TEST_CASE("a connection to postgres is encrypted, and refused when it cannot be trusted",
          "[postgres_cache]") {
    const temporary_folder folder;
    certificates made(folder);
    made.sign("good", "IP:127.0.0.1");
    const postgres_server server;
    for (const char* name : {"good.pem", "good.key"})
        server.give("home/" + std::string(name), folder.read(name));
    server.sql("ALTER SYSTEM SET ssl_cert_file = '" + server.home() + "/good.pem'");
    server.sql("ALTER SYSTEM SET ssl_key_file = '" + server.home() + "/good.key'");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");
    eventually([&] { return server.sql("SHOW ssl") == "on"; });
    const std::string plain =
        "postgresql://tester:sesame%20open@127.0.0.1:" + std::to_string(server.port()) +
        "/postgres?sslmode=verify-full";
    user one(plain + "&sslrootcert=" + made.ca());
    CHECK(one.put(1, "one"));
    CHECK(one.text(1) == "one");
    CHECK(server.sql("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                     " WHERE application_name = 'llmkit'") == "t");
    user distrustful(plain + "&sslrootcert=" + folder.path().string() + "/good.pem");
    eventually([&] { return distrustful.store.problem().has_value(); });
    INFO(distrustful.store.problem()->to_string());
    CHECK(distrustful.store.problem()->to_string().find("certificate") != std::string::npos);
}

TEST_CASE("a host name is looked up without holding up anybody", "[postgres_cache]") {
    const postgres_server server;
    const std::string rest = "@localhost:" + std::to_string(server.port()) + "/postgres";
    user one("postgresql://tester:sesame%20open" + rest);
    CHECK(one.put(1, "one"));
    CHECK(one.text(1) == "one");
    user none("postgresql://tester:sesame%20open@no.such.host.invalid/postgres");
    eventually([&] { return none.store.problem().has_value(); });
    CHECK(none.store.problem()->kind() == error_kind::resolve);
    // The first of two hosts may be away.
    user second("postgresql://tester:sesame%20open@127.0.0.1:1,localhost:" +
                std::to_string(server.port()) + "/postgres");
    CHECK(second.text(1) == "one");
}

TEST_CASE("who waits for postgres may be cancelled, and his context may go", "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.put(1, "one"));
    server.signal(SIGSTOP);
    {
        asio::io_context io;
        asio::cancellation_signal stop;
        bool cancelled = false;
        asio::co_spawn(io, one.store.find(key(1), now(), limit()),
                       asio::bind_cancellation_slot(stop.slot(),
                                                    [&](std::exception_ptr why, result<cache_hit>) {
                                                        cancelled = why != nullptr;
                                                    }));
        io.poll();
        stop.emit(asio::cancellation_type::terminal);
        io.restart();
        io.run();
        CHECK(cancelled);
    }
    {
        asio::io_context io;
        asio::co_spawn(io, one.store.find(key(1), now(), limit()),
                       [](const std::exception_ptr&, const result<cache_hit>&) {});
        io.poll();
    }
    server.signal(SIGCONT);
    eventually([&] { return one.text(1) == "one"; });
}

TEST_CASE("a closed cache in postgres has written what was put, and refuses what comes",
          "[postgres_cache]") {
    const postgres_server server;
    user one(server.url());
    CHECK(one.text(1) == "");
    asio::io_context io;
    std::atomic<int> written{0};
    for (std::uint64_t n = 0; n < 100; ++n) {
        auto entry = entry_saying("x", now());
        asio::co_spawn(io, one.store.put(key(n), std::move(entry), now(), limit()),
                       [&](const std::exception_ptr&, const result<void>& how) {
                           if (how) ++written;
                       });
    }
    io.poll();
    one.store.close();
    io.restart();
    io.run();
    CHECK(written == 100);
    CHECK(server.sql("SELECT count(*) FROM llmkit_answers") == "100");
    auto late = one.find(1);
    REQUIRE_FALSE(late);
    CHECK(late.error().kind() == error_kind::closed);
}

TEST_CASE("in virtual time postgres takes none", "[postgres_cache]") {
    const postgres_server server;
    simulation::world world;
    const postgres_cache store(server.url(), quick);
    const time_point at = world.clock().now();
    CHECK(world.wait(store.put(key(1), entry_saying("one", at), at, limit())));
    const auto found = world.wait(store.find(key(1), at, limit()));
    REQUIRE(found.value());
    CHECK(found->entry()->events.front().data() == "one");
    CHECK(world.clock().now() == at);
}

}  // namespace test_integration_postgres
