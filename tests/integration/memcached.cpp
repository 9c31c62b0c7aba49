// The cache in memcached against real ones, also when these are killed, hang, or are full.
#include "integration/memcached.hpp"

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <asio/read_until.hpp>
#include <asio/write.hpp>

#include <llmkit/cache/memcached.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_integration_memcached {

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
memcached_options patient() {
    return memcached_options().policy(
        {.connect = 30s, .silence = 30s, .retry_first = 5ms, .retry_most = 50ms});
}

/// A cache, and a thread that asks it.
struct user {
    explicit user(const std::string& servers, const memcached_options& options = patient())
        : store(servers, options) {}

    result<void> put(std::uint64_t n, std::string text, duration keep = 1h) {
        return loop.wait(
            store.put(key(n), entry_saying(std::move(text), now(), keep), now(), within(60s)));
    }
    result<cache_hit> find(std::uint64_t n, duration span = 60s) {
        return loop.wait(store.find(key(n), now(), within(span)));
    }
    /// The text found; "" for a miss, or the kind of the error.
    std::string text(std::uint64_t n, duration span = 60s) {
        auto found = find(n, span);
        if (!found) return std::string(to_string(found.error().kind()));
        return *found ? std::string(found->entry()->events.front().data()) : std::string();
    }
    memcached_cache store;
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

/// A pipeline whose answers memcached keeps; it says how often the provider was asked.
struct client {
    explicit client(const std::string& servers, const memcached_options& options = patient())
        : from(servers, options),
          provider(from.loop.get_executor()),
          calls(any_service(pipeline(provider) | cache(from.store))) {
        provider.always(testing::says("an answer"));
    }
    /// Whether the call went well and said the right thing.
    bool ask(int n) {
        auto answer = from.loop.wait(calls.chat(chat_request("m").user(std::to_string(n))));
        return answer && answer->text() == "an answer";
    }
    std::size_t asked() const { return provider.counts().begun; }
    /// Calls until one is answered from the store.
    bool hit(int n) {
        return eventually([&] {
            const auto before = asked();
            CHECK(ask(n));
            return asked() == before;
        });
    }

    user from;
    testing::scripted provider;
    pipeline<any_service> calls;
};

/// A server that answers as told: each command's reply, and then what becomes of the connection.
class half_server {
public:
    explicit half_server(std::string reply) : reply_(std::move(reply)) {
        thread_ = std::thread([this] {
            while (!ending_) {
                asio::ip::tcp::socket one(context_);
                std::error_code failed;
                acceptor_.accept(one, failed);
                if (failed || ending_) return;
                std::string in;
                const auto line = asio::read_until(one, asio::dynamic_buffer(in), "\r\n", failed);
                if (failed) continue;
                in.erase(0, line);
                asio::write(one, asio::buffer("MN\r\n", 4), failed);
                asio::read_until(one, asio::dynamic_buffer(in), "\r\n", failed);
                if (failed) continue;
                ++commands;
                asio::write(one, asio::buffer(reply_), failed);
                one.set_option(asio::socket_base::linger(true, 0), failed);  // a reset
            }
        });
    }
    ~half_server() {
        ending_ = true;
        asio::ip::tcp::socket last(context_);
        std::error_code ignored;
        last.connect(acceptor_.local_endpoint(), ignored);
        thread_.join();
    }
    std::string name() const {
        return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    }
    std::atomic<int> commands{0};

private:
    asio::io_context context_;
    asio::ip::tcp::acceptor acceptor_{context_, {asio::ip::address_v4::loopback(), 0}};
    const std::string reply_;
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace

TEST_CASE("an answer that one process put into memcached is found whole by another",
          "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    user other("memcached://" + server.name());
    CHECK(one.text(1).empty());
    const cache_entry full = full_entry(now());
    REQUIRE(one.loop.wait(
        one.store.put(key(1), std::make_shared<const cache_entry>(full), now(), within(60s))));
    auto found = other.find(1);
    REQUIRE(found.value());
    CHECK(found->level() == "memcached");
    cache_entry got = *found->entry();
    CHECK(std::chrono::abs(got.fresh_until - full.fresh_until) < 1min);
    got.stored_at = full.stored_at;
    got.fresh_until = full.fresh_until;
    got.keep_until = full.keep_until;
    CHECK(same(got, full));
    REQUIRE(one.loop.wait(one.store.erase(key(1), within(60s))));
    REQUIRE(one.loop.wait(one.store.erase(key(1), within(60s))));
    CHECK(other.text(1).empty());
    CHECK(other.store.stats().hits == 1);
    CHECK(other.store.stats().misses == 1);

    user prefixed(server.name(), patient().prefix("other:"));
    REQUIRE(one.put(2, "two"));
    CHECK(prefixed.text(2).empty());
    CHECK(prefixed.store.readings().size() == 17);
}

TEST_CASE("memcached drops an answer when it is of no more use", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    REQUIRE(one.put(1, "short", 1s));
    REQUIRE(one.put(2, "long", 24h * 90));
    REQUIRE(one.put(3, "ever", duration::max()));
    CHECK(eventually([&] { return one.text(1).empty(); }));
    CHECK(one.text(2) == "long");
    CHECK(one.text(3) == "ever");
    auto found = one.find(2);
    REQUIRE(found.value());
    const duration left = found->entry()->keep_until - now();
    CHECK(left > 24h * 89);
    CHECK(left <= 24h * 90);
}

TEST_CASE("an answer from memcached is as old as it is", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    // Written as if 40 seconds ago: of its 100 seconds 60 are left.
    const auto entry = entry_saying("aged", now(), 100s);
    const std::string text = entry_codec().encode(*entry, now());
    asio::io_context io;
    asio::ip::tcp::socket raw(io);
    raw.connect({asio::ip::address_v4::loopback(), server.port});
    const std::string name = "llmkit:1:" + to_hex(key(1));
    asio::write(raw, asio::buffer(detail::memcached_set(name, text, {100, 60})));
    std::string said;
    asio::read_until(raw, asio::dynamic_buffer(said), "\r\n");
    auto found = one.find(1);
    REQUIRE(found.value());
    const duration left = found->entry()->fresh_until - now();
    CHECK(left <= 62s);
    CHECK(left > 0s);
}

TEST_CASE("what is no entry of ours in memcached is a miss", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    asio::io_context io;
    asio::ip::tcp::socket raw(io);
    raw.connect({asio::ip::address_v4::loopback(), server.port});
    for (const char* text : {"", "text", "lce\x01"}) {
        asio::write(raw, asio::buffer(detail::memcached_set("llmkit:1:" + to_hex(key(1)), text,
                                                            {100, 100})));
        std::string said;
        asio::read_until(raw, asio::dynamic_buffer(said), "\r\n");
        CHECK(one.text(1).empty());
    }
    CHECK(one.store.stats().unreadable == 3);
}

TEST_CASE("keys are spread over several memcached servers", "[memcached]") {
    temporary_folder folder;
    memcached_server a(folder), b(folder), c(folder);
    user one(a.name() + ", " + b.name() + "," + c.name());
    user other(c.name() + "," + a.name() + "," + b.name());
    for (std::uint64_t n = 0; n < 60; ++n) REQUIRE(one.put(n, std::to_string(n)));
    for (std::uint64_t n = 0; n < 60; ++n) CHECK(other.text(n) == std::to_string(n));
    std::size_t sum = 0;
    for (const auto* each : {&a, &b, &c}) {
        user alone(each->name());
        std::size_t here = 0;
        for (std::uint64_t n = 0; n < 60; ++n) here += alone.text(n).empty() ? 0 : 1;
        CHECK(here > 0);
        sum += here;
    }
    CHECK(sum == 60);

    // One that is away takes its keys with it, and no others.
    b.kill();
    std::size_t failed = 0;
    CHECK(eventually([&] {
        failed = 0;
        for (std::uint64_t n = 0; n < 60; ++n) {
            auto found = other.find(n);
            if (!found) ++failed;
            if (found) CHECK(*found);
        }
        return failed > 0;
    }));
    CHECK(failed < 60);
    b.start();
    CHECK(eventually([&] {
        for (std::uint64_t n = 0; n < 60; ++n)
            if (!other.find(n)) return false;
        return true;
    }));
    std::size_t lost = 0;
    for (std::uint64_t n = 0; n < 60; ++n) lost += other.text(n).empty() ? 1 : 0;
    CHECK(lost == failed);
}

TEST_CASE("an answer too large for memcached is counted, and fails nothing", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    user eager(server.name(), patient().max_item_bytes(8 << 20));
    for (user* each : {&one, &eager}) {  // not sent; and sent, and refused by memcached
        CHECK(each->put(1, "small"));
        CHECK(each->put(1, std::string(2'000'000, 'x')));
        CHECK(each->text(1).empty());  // nor is what stood there before
        CHECK(each->put(1, std::string(1'000'000, 'x')));
        CHECK(each->text(1).size() == 1'000'000);
        CHECK(each->store.stats().too_large == 1);
        CHECK(each->store.stats().stored == 2);
        CHECK(each->store.stats().failures == 0);
        CHECK(each->store.stats().connections.connected == 1);
    }
}

TEST_CASE("a full memcached drops what is old and goes on", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder, {"-m", "4"});
    user one(server.name());
    const std::string body(20'000, 'x');
    for (std::uint64_t n = 0; n < 1000; ++n) REQUIRE(one.put(n, std::to_string(n) + body));
    CHECK(one.text(999) == "999" + body);
    std::size_t found = 0;
    for (std::uint64_t n = 0; n < 1000; ++n) {
        const std::string text = one.text(n);
        if (text.empty()) continue;
        ++found;
        CHECK((text == std::to_string(n) + body));
    }
    CHECK(found > 10);
    CHECK(found < 500);

    memcached_server stubborn(folder, {"-m", "4", "-M"});
    user other(stubborn.name());
    bool refused = false;
    for (std::uint64_t n = 0; n < 1000 && !refused; ++n) {
        auto put = other.put(n, body);
        refused = !put;
        if (!put) CHECK(put.error().kind() == error_kind::overloaded);
    }
    CHECK(refused);
    CHECK(other.text(0) == body);
}

TEST_CASE("calls go on while memcached is killed, and are answered from it again afterwards",
          "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    client one(server.name());
    REQUIRE(one.hit(1));
    for (int round = 0; round < 3; ++round) {
        server.kill();
        for (int i = 0; i < 30; ++i) CHECK(one.ask(1));
        CHECK(eventually([&] { return one.from.text(1) == "connect"; }));
        const auto asked = one.asked();
        CHECK(one.ask(1));
        CHECK(one.asked() == asked + 1);
        server.start();
        CHECK(one.hit(1));
    }
}

TEST_CASE("calls go on while memcached hangs, and are answered from it again afterwards",
          "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    client one(server.name(),
               memcached_options().policy(
                   {.connect = 200ms, .silence = 200ms, .retry_first = 5ms, .retry_most = 50ms}));
    REQUIRE(one.hit(1));
    server.stop();
    for (int i = 0; i < 30; ++i) CHECK(one.ask(1));
    CHECK(eventually([&] {
        CHECK(one.ask(1));
        return one.from.store.stats().connections.lost > 0;
    }));
    server.go_on();
    CHECK(one.hit(1));
}

TEST_CASE("a connection that is reset in the middle of a reply fails no call", "[memcached]") {
    const std::string entry = entry_codec().encode(*entry_saying("text", now()), now());
    const std::string whole =
        "VA " + std::to_string(entry.size()) + " t100 f100\r\n" + entry + "\r\n";
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{2}, std::size_t{9}, std::size_t{60}, whole.size() - 1}) {
        half_server server(whole.substr(0, size));
        user raw(server.name());
        CHECK_FALSE(raw.find(1));
        client one(server.name());
        for (int i = 0; i < 5; ++i) CHECK(one.ask(i));
        CHECK(server.commands > 1);
    }
    for (const char* nonsense : {"HTTP/1.1 400 Bad Request\r\n\r\n", "VA -1\r\n", "END\r\n"}) {
        half_server server(nonsense);
        user raw(server.name());
        CHECK(raw.text(1) == "protocol");
    }
}

TEST_CASE("many calls share a connection to memcached", "[memcached]") {
    temporary_folder folder;
    memcached_server server(folder);
    user one(server.name());
    for (std::uint64_t n = 0; n < 50; ++n) REQUIRE(one.put(n, std::to_string(n)));
    for (int round = 0; round < 5; ++round) {
        std::vector<std::future<result<cache_hit>>> all;
        for (std::uint64_t i = 0; i < 500; ++i)
            all.push_back(asio::co_spawn(one.loop.get_executor(),
                                         one.store.find(key(i % 50), now(), within(60s)),
                                         asio::use_future));
        for (std::uint64_t i = 0; i < 500; ++i) {
            auto got = all[i].get();
            REQUIRE(got.value());
            CHECK(got->entry()->events.front().data() == std::to_string(i % 50));
        }
    }
    CHECK(one.store.stats().connections.connected == 1);
}

TEST_CASE("a user and a password are given to memcached", "[memcached]") {
    temporary_folder folder;
    folder.write("users", "ann:se@cret\n");
    memcached_server server(folder, {"-Y", (folder.path() / "users").string()});
    user right("memcached://ann:se%40cret@" + server.name());
    REQUIRE(right.put(1, "text"));
    CHECK(right.text(1) == "text");
    for (const char* who : {"ann:wrong@", ""}) {
        user wrong("memcached://" + std::string(who) + server.name());
        auto found = wrong.find(1);
        REQUIRE_FALSE(found);
        INFO(found.error().to_string());
        CHECK(found.error().kind() == error_kind::authentication);
        CHECK(found.error().to_string().find("wrong") == std::string::npos);
    }
}

TEST_CASE("a list of memcached servers or a prefix that is wrong is told by problem()",
          "[memcached]") {
    for (const char* list : {"", "a,", "a,,b", "redis://a", "a,a:11211", "a b", "a:99999"}) {
        user wrong(list);
        INFO(list);
        REQUIRE(wrong.store.problem());
        CHECK(wrong.store.problem()->kind() == error_kind::configuration);
        CHECK(wrong.text(1) == "configuration");
    }
    for (const auto& prefix : {std::string("a b"), std::string(201, 'x'), std::string("\n")})
        CHECK(user("a", patient().prefix(prefix)).store.problem());
    CHECK_FALSE(user("a", patient().prefix(std::string(200, 'x'))).store.problem());
    CHECK(user("memcacheds://127.0.0.1:1").text(1) == "configuration");
}

TEST_CASE("memcached is reached over a Unix socket", "[memcached]") {
    temporary_folder folder;
    std::filesystem::permissions(folder.path(), std::filesystem::perms(0777));
    const std::string path = folder.path() / "memcached.sock";
    const pid_t process = start_program(
        ::geteuid() == 0
            ? std::vector<std::string>{"memcached", "-u", "nobody", "-s", path, "-a", "0777"}
            : std::vector<std::string>{"memcached", "-s", path},
        (folder.path() / "memcached.log").string());
    REQUIRE(process > 0);
    user one("memcached+unix://" + path);
    CHECK(eventually([&] { return static_cast<bool>(one.put(1, "text")); }));
    CHECK(one.text(1) == "text");
    one.store.close();
    CHECK(one.text(1) == "closed");
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
}

}  // namespace test_integration_memcached
