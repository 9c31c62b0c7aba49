#include <llmkit/transport/pool.hpp>

#include <llmkit/core/child.hpp>

#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_pool {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// A connection that only counts.
class fake {
public:
    explicit fake(int& alive) : alive_(alive) { ++alive_; }
    fake(const fake&) = delete;
    fake& operator=(const fake&) = delete;
    ~fake() { --alive_; }
    bool quiet(duration) const { return !stale; }
    bool stale = false;

private:
    int& alive_;
};
using fakes = detail::pool<fake>;
using fake_lease = fakes::lease;

class bench {
public:
    explicit bench(const executor& where, http_policy policy)
        : time(where),
          all(std::make_shared<fakes>(detail::socket_registry_service::of(where), time, policy)) {}
    task<result<fake_lease>> take(std::string origin, limit until = {}, bool fresh = false) {
        return fakes::acquire(all, std::move(origin), until, fresh);
    }
    /// Takes a place and connects when it is empty.
    task<fake_lease> use(std::string origin) {
        auto got = co_await take(std::move(origin));
        fake_lease lease = std::move(got.value());
        if (!lease.connection()) lease.fill(std::make_unique<fake>(alive));
        co_return lease;
    }
    std::size_t open() const { return all->figures().open; }
    std::size_t idle() const { return all->figures().idle; }
    std::size_t waiting() const { return all->figures().waiting; }

    int alive = 0;
    clock_handle time;
    std::shared_ptr<fakes> all;
};

task<void> queue_up(bench& at, std::string origin, int number, std::vector<int>& order) {
    auto lease = co_await at.use(std::move(origin));
    order.push_back(number);
    lease.keep();
}
// Lets everything that is ready run.
task<void> settle() {
    for (int i = 0; i < 50; ++i)
        co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
}

task<void> first_come() {
    bench at(co_await asio::this_coro::executor, {.max_connections = 1});
    auto held = co_await at.use("a");
    std::vector<int> order;
    std::vector<child<void>> waiting;
    for (int i = 0; i < 6; ++i) {
        waiting.emplace_back(at.time, queue_up(at, i % 3 == 2 ? "b" : "a", i, order));
        co_await settle();
    }
    CHECK(at.waiting() == 6);
    CHECK(order.empty());
    held.keep();
    co_await settle();
    CHECK((order == std::vector<int>{0, 1, 2, 3, 4, 5}));
    CHECK(at.waiting() == 0);
    CHECK(at.open() == 1);
    CHECK(at.alive == 1);
}

task<void> no_overtaking_by_cancelled() {
    bench at(co_await asio::this_coro::executor, {.max_connections = 1});
    auto held = co_await at.use("a");
    std::vector<int> order;
    std::vector<child<void>> waiting;
    for (int i = 0; i < 4; ++i) {
        waiting.emplace_back(at.time, queue_up(at, "a", i, order));
        co_await settle();
    }
    waiting[0].cancel();
    waiting[2].cancel();
    co_await settle();
    CHECK(at.waiting() == 2);
    waiting[1].cancel();  // at the same moment as its turn comes
    held.keep();
    co_await settle();
    CHECK(order.back() == 3);
    CHECK(at.waiting() == 0);
    CHECK(at.idle() == 1);
}

task<void> bounds() {
    const http_policy policy{
        .max_connections = 3, .max_per_host = 2, .max_idle = 2, .max_queued = 1};
    bench at(co_await asio::this_coro::executor, policy);
    auto a1 = co_await at.use("a");
    auto a2 = co_await at.use("a");
    std::vector<int> order;
    child<void> third(at.time, queue_up(at, "a", 3, order));
    co_await settle();
    CHECK(at.waiting() == 1);  // though there is room for another host
    auto full = co_await at.take("a");
    REQUIRE(!full);
    CHECK(full.error().kind() == error_kind::refused);
    auto b1 = co_await at.use("b");
    CHECK(at.open() == 3);
    b1.keep();
    CHECK(at.idle() == 1);
    {
        auto c1 = co_await at.use("c");  // b's idle connection makes room
        CHECK(at.open() == 3);
        CHECK(at.idle() == 0);
        CHECK(at.alive == 3);
    }
    CHECK(at.open() == 2);
    {
        const fake_lease dropped = std::move(a1);
    }
    co_await settle();
    CHECK((order == std::vector<int>{3}));
    a2.keep();
    auto d1 = co_await at.use("d");
    d1.keep();
    CHECK(at.idle() == 2);
    CHECK(at.open() == 2);
    CHECK(at.alive == 2);
}

task<void> reuse() {
    bench at(co_await asio::this_coro::executor, {.max_connections = 4});
    auto one = co_await at.use("a");
    fake* const first = one.connection();
    one.keep();
    auto again = co_await at.use("a");
    CHECK(again.connection() == first);
    again.keep();

    auto fresh = co_await at.take("a", {}, true);
    REQUIRE(fresh);
    CHECK(fresh->connection() == nullptr);
    CHECK(at.open() == 2);
    *fresh = fake_lease();
    CHECK(at.open() == 1);

    first->stale = true;
    auto stale = co_await at.take("a");
    REQUIRE(stale);
    CHECK(stale->connection() == nullptr);
    CHECK(at.alive == 0);
    *stale = fake_lease();
    CHECK(at.open() == 0);
}

task<void> expires(hand_clock& time) {
    bench at(co_await asio::this_coro::executor, {.max_connections = 4, .idle_timeout = 10s});
    for (const char* host : {"a", "b"}) {
        auto lease = co_await at.use(host);
        lease.keep();
        time.pass(5s);
    }
    time.pass(5s);  // b has been idle for ten seconds, a for fifteen, and nobody has looked
    CHECK(at.idle() == 2);
    auto other = co_await at.use("c");  // whoever comes next does
    CHECK(at.idle() == 0);
    CHECK(at.open() == 1);
    CHECK(at.alive == 1);
    CHECK(at.all->figures().closed_idle == 2);
    other.keep();
    time.pass(9s);
    auto again = co_await at.use("c");
    CHECK(at.all->figures().reused == 1);
    CHECK(at.all->figures().closed_idle == 2);
}

task<void> queue_limit(hand_clock& time) {
    bench at(co_await asio::this_coro::executor, {.max_connections = 1, .queue = 100ms});
    auto held = co_await at.use("a");
    std::vector<int> order;
    child<void> served(at.time, queue_up(at, "a", 1, order));
    co_await settle();
    time.pass(30ms);
    held.keep();
    co_await served.join();
    CHECK(at.all->figures().waited == 1);
    CHECK(at.all->figures().wait_time == 30ms);
    CHECK(at.all->figures().reused == 1);

    auto again = co_await at.use("a");
    asio::post(time.base(), [&time] { time.pass(100ms); });
    auto late = co_await at.take("a");
    REQUIRE(!late);
    CHECK(late.error().kind() == error_kind::timeout);
    CHECK(late.error().code() == "queue_limit");
    CHECK(at.waiting() == 0);
    CHECK(at.all->figures().wait_time == 130ms);
}

task<void> without_waiting() {
    bench at(co_await asio::this_coro::executor, {.max_connections = 2, .max_per_host = 1});
    auto first = fakes::acquire_now(at.all, "a");
    REQUIRE(first);
    CHECK(first.connection() == nullptr);
    CHECK(!fakes::acquire_now(at.all, "a"));
    first.fill(std::make_unique<fake>(at.alive));
    first.keep();
    auto again = fakes::acquire_now(at.all, "a");
    REQUIRE(again);
    CHECK(again.connection() != nullptr);
    again.connection()->stale = true;
    again.keep();
    auto stale = fakes::acquire_now(at.all, "a");
    REQUIRE(stale);
    CHECK(stale.connection() == nullptr);
    CHECK(at.all->figures().closed_idle == 1);
    CHECK(at.alive == 0);
}

task<void> times_out() {
    bench at(co_await asio::this_coro::executor, {.max_connections = 1});
    auto held = co_await at.use("a");
    limit soon;
    soon.until = at.time.now() + 20ms;
    auto late = co_await at.take("a", soon);
    REQUIRE(!late);
    CHECK(late.error().kind() == error_kind::timeout);
    CHECK(at.waiting() == 0);
    held.keep();
    CHECK(at.idle() == 1);
}

void run(task<void> test) {
    asio::io_context context;
    run_test(context, std::move(test));
}
// With time that passes by hand.
void run(task<void> (*test)(hand_clock&)) {
    asio::io_context context;
    auto time = std::make_shared<hand_clock>(context.get_executor());
    asio::make_service<detail::clock_service>(context, time);
    run_test(context, test(*time));
}

}  // namespace

TEST_CASE("a place goes to whoever has waited longest, whatever host", "[pool]") {
    run(first_come());
}

TEST_CASE("a cancelled waiter frees its place in the queue and loses none", "[pool]") {
    run(no_overtaking_by_cancelled());
}

TEST_CASE("the pool is bounded in all, by host, when idle, and in its queue", "[pool]") {
    run(bounds());
}

TEST_CASE("idle connections are used again until they are stale", "[pool]") { run(reuse()); }

TEST_CASE("idle connections are closed when they are too old and somebody comes by", "[pool]") {
    run(expires);
}

TEST_CASE("waiting for a place has a limit of its own, and is counted", "[pool]") {
    run(queue_limit);
}

TEST_CASE("a place is given without waiting, or none", "[pool]") { run(without_waiting()); }

TEST_CASE("waiting for a place ends at the limit", "[pool]") { run(times_out()); }

}  // namespace test_transport_pool
