#include <llmkit/core/wait.hpp>

#include <llmkit/core/child.hpp>
#include <llmkit/simulation/world.hpp>

#include <future>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "test.hpp"

namespace test_core_wait {

using namespace llmkit;
using namespace std::chrono_literals;
using simulation::world;

namespace {

limit until(time_point at) {
    limit made;
    made.until = at;
    return made;
}

struct gate {
    std::mutex mutex;
    bell opened;
    int tickets = 0;
    std::vector<int> order;
};

task<woke> take(std::shared_ptr<gate> at, clock_handle time, limit last, int name = 0) {
    std::unique_lock lock(at->mutex);
    const woke why = co_await wait(lock, at->opened, time, last);
    CHECK(lock.owns_lock());
    at->order.push_back(name);
    co_return why;
}

void ring(gate& at) {
    wakeup one;
    {
        std::lock_guard lock(at.mutex);
        one = at.opened.ring_one();
    }
    one.fire();
}

}  // namespace

TEST_CASE("a wait ends when the bell rings", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    child<woke> waiting(w.clock(), take(at, w.clock(), limit()));
    w.run();
    CHECK(w.clock().timers().size() == 1);  // a wait without limit is known to the clock as well
    ring(*at);
    CHECK(w.wait(waiting.join()) == woke::by_bell);
    CHECK(w.clock().timers().size() == 0);
}

TEST_CASE("a wait ends when its limit passes, and leaves the bell", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    CHECK(w.wait(take(at, w.clock(), until(w.now() + 3s))) == woke::by_limit);
    CHECK(w.elapsed() == 3s);
    CHECK(at->opened.empty());
}

TEST_CASE("waiters are rung in the order in which they came", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    std::vector<child<woke>> waiting;
    for (int i = 0; i < 4; ++i) {
        waiting.emplace_back(w.clock(), take(at, w.clock(), limit(), i));
        w.run();
    }
    for (int i = 0; i < 4; ++i) ring(*at);
    w.run();
    CHECK(at->order == std::vector{0, 1, 2, 3});
}

TEST_CASE("a cancelled wait throws, leaves the bell and passes nothing on", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    child<woke> first(w.clock(), take(at, w.clock(), limit(), 1));
    child<woke> second(w.clock(), take(at, w.clock(), limit(), 2));
    w.run();
    first.cancel();
    w.run();
    CHECK_THROWS_AS(w.wait(first.join()), asio::system_error);
    ring(*at);
    CHECK(w.wait(second.join()) == woke::by_bell);
    CHECK(at->order == std::vector{2});
}

TEST_CASE("what the bell handed over is kept although the wait is cancelled at once", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    child<woke> waiting(w.clock(), take(at, w.clock(), limit(), 7));
    w.run();
    ring(*at);         // chosen, its resumption is on its way
    waiting.cancel();  // too late for this wait
    w.run();
    CHECK(at->order == std::vector{7});
}

TEST_CASE("a wait that is cancelled before it parks throws and parks nothing", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    {
        child<woke> waiting(w.clock(), take(at, w.clock(), limit()));
        waiting.cancel();
        w.run();
        CHECK(waiting.finished());
    }
    CHECK(at->opened.empty());
    CHECK(w.clock().timers().size() == 0);
}

TEST_CASE("closing a pipeline ends the waits done for it, and no others", "[wait]") {
    world w;
    auto at = std::make_shared<gate>();
    int mine = 0, other = 0;
    wait_owner outer{&mine, nullptr}, inner{&other, &outer}, stranger{&other, nullptr};
    limit nested = until(w.now() + 1h), foreign = nested;
    nested.owner = &inner;
    foreign.owner = &stranger;
    child<woke> cut(w.clock(), take(at, w.clock(), nested));
    child<woke> kept(w.clock(), take(at, w.clock(), foreign));
    w.poll();
    w.clock().timers().close(&mine);
    w.poll();
    CHECK(w.wait(cut.join()) == woke::by_close);
    CHECK(w.wait(kept.join()) == woke::by_limit);
    CHECK(w.elapsed() == 1h);
}

TEST_CASE("a limit that was moved later while it ran ends at the later time", "[wait]") {
    world w;
    std::atomic<duration::rep> later{(w.now() + 1s).time_since_epoch().count()};
    limit shared = until(w.now() + 1s);
    shared.extended = &later;
    child<woke> waiting(w.clock(), sleep_until(w.clock(), shared));
    w.run_for(500ms);
    later = (w.now() + 4500ms).time_since_epoch().count();
    CHECK(w.wait(waiting.join()) == woke::by_limit);
    CHECK(w.elapsed() == 5s);
}

TEST_CASE("limits expire in their order, equal ones as they were armed", "[wait]") {
    world w;
    std::vector<int> order;
    const auto sleeper = [](clock_handle time, duration span, int name,
                            std::vector<int>& to) -> task<void> {
        co_await sleep_for(time, span);
        to.push_back(name);
    };
    const int delays[] = {5, 1, 3, 3, 9, 1, 0, 7, 3};
    for (int i = 0; i < 9; ++i) {
        asio::co_spawn(executor(w.get_executor()),
                       sleeper(w.clock(), std::chrono::seconds(delays[i]), i, order),
                       [](std::exception_ptr) {});
    }
    w.run();
    CHECK(order == std::vector{6, 1, 5, 2, 3, 8, 0, 7, 4});
}

TEST_CASE("a world that goes down unwinds what waits, in either order", "[wait]") {
    auto at = std::make_shared<gate>();
    SECTION("the context first, what was waited for afterwards") {
        std::optional<child<woke>> waiting;
        {
            world w;
            waiting.emplace(w.clock(), take(at, w.clock(), limit()));
            w.poll();
        }
        CHECK(at->opened.empty());
        CHECK(waiting->finished());
    }
    SECTION("what was waited for first, the context afterwards") {
        world w;
        {
            child<woke> waiting(w.clock(), take(std::move(at), w.clock(), limit()));
            w.poll();
        }
    }
    SECTION("an io_context, with a strand") {
        std::optional<child<woke>> waiting;
        {
            asio::io_context io;
            clock_handle time(io.get_executor());
            waiting.emplace(time, take(at, time, until(time.now() + 1h)));
            io.poll();
            CHECK(time.timers().size() == 1);
        }
        CHECK(at->opened.empty());
    }
    SECTION("and a clock that outlives its context starts nothing") {
        std::optional<clock_handle> time;
        {
            asio::io_context io;
            time.emplace(io.get_executor());
        }
        CHECK_THROWS_AS(time->base(), asio::system_error);
        CHECK(time->timers().size() == 0);
    }
}

TEST_CASE("a cutoff calls once at its limit, and not after it was dropped", "[wait]") {
    world w;
    int calls = 0;
    const auto cut = [&](expiry why) { calls += why == expiry::limit; };
    {
        llmkit::cutoff kept(w.clock(), until(w.now() + 1s), cut);
        w.run_for(2s);
        CHECK(calls == 1);
        llmkit::cutoff dropped(w.clock(), until(w.now() + 1s), cut);
    }
    w.run_for(5s);
    CHECK(calls == 1);
}

TEST_CASE("two threads take turns over a bell and lose nobody", "[wait]") {
    asio::thread_pool pool(2);
    clock_handle time(pool.get_executor());
    auto at = std::make_shared<gate>();
    std::atomic<int> done{0};
    const auto consumer = [](std::shared_ptr<gate> from, clock_handle now,
                             std::atomic<int>& count) -> task<void> {
        for (int i = 0; i < 500; ++i) {
            std::unique_lock lock(from->mutex);
            while (from->tickets == 0) {
                // Half of them race with their limit.
                limit last;
                if (i % 2) last.until = now.now() + std::chrono::microseconds(50);
                co_await wait(lock, from->opened, now, last);
            }
            --from->tickets;
            ++count;
        }
    };
    const auto producer = [](std::shared_ptr<gate> to) -> task<void> {
        for (int i = 0; i < 1000; ++i) {
            {
                wakeup one;
                std::unique_lock lock(to->mutex);
                ++to->tickets;
                one = to->opened.ring_one();
                lock.unlock();
            }
            if (i % 7 == 0)
                co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
        }
    };
    std::vector<std::future<void>> ends;
    for (int i = 0; i < 4; ++i) {
        ends.push_back(
            asio::co_spawn(asio::make_strand(pool), consumer(at, time, done), asio::use_future));
    }
    for (int i = 0; i < 2; ++i) {
        ends.push_back(asio::co_spawn(asio::make_strand(pool), producer(at), asio::use_future));
    }
    for (auto& end : ends) end.get();
    CHECK(done == 2000);
    pool.join();
}

}  // namespace test_core_wait
