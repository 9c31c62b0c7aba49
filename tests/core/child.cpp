#include <llmkit/core/child.hpp>

#include <llmkit/simulation/world.hpp>

#include <future>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "test.hpp"

namespace test_core_child {

using namespace llmkit;
using namespace std::chrono_literals;
using simulation::world;

namespace {

struct marker {
    explicit marker(int& count) : count_(count) { ++count_; }
    marker(const marker&) = delete;
    ~marker() { --count_; }
    int& count_;
};

task<int> later(clock_handle time, duration span, int value, int& alive) {
    marker here(alive);
    co_await sleep_for(time, span);
    co_return value;
}
task<int> broken() {
    throw std::runtime_error("no");
    co_return 0;
}

}  // namespace

TEST_CASE("a child runs beside its starter and gives its value to who joins", "[child]") {
    world w;
    int alive = 0;
    const auto program = [](clock_handle time, int& count) -> task<int> {
        child<int> beside(time, later(time, 5s, 40, count));
        const int mine = co_await later(time, 3s, 2, count);
        co_return mine + co_await beside.join();
    };
    CHECK(w.wait(program(w.clock(), alive)) == 42);
    CHECK(w.elapsed() == 5s);
    CHECK(alive == 0);
}

TEST_CASE("what a child throws reaches who joins it", "[child]") {
    world w;
    child<int> failing(w.clock(), broken());
    CHECK_THROWS_WITH(w.wait(failing.join()), "no");
}

TEST_CASE("letting go of a child cancels it, on its own lane", "[child]") {
    world w;
    int alive = 0;
    {
        child<int> dropped(w.clock(), later(w.clock(), 1h, 0, alive));
        w.poll();
        CHECK(alive == 1);
    }
    w.poll();
    CHECK(alive == 0);
    CHECK(w.elapsed() == 0s);
}

TEST_CASE("a child that is cancelled before it starts is cancelled as it starts", "[child]") {
    world w;
    int alive = 0;
    const auto core = std::make_shared<detail::child_core<int>>(w.clock().lane());
    core->cancel();
    detail::start(core, later(w.clock(), 1h, 0, alive));
    w.run();
    CHECK(core->finished);
    CHECK(core->failure);
    CHECK(alive == 0);
    CHECK(w.elapsed() == 0s);
}

TEST_CASE("a child that is detached runs to its end", "[child]") {
    world w;
    int alive = 0;
    {
        child<int> left(w.clock(), later(w.clock(), 10s, 0, alive));
        left.detach();
    }
    w.run_for(9s);
    CHECK(alive == 1);
    w.run_for(2s);
    CHECK(alive == 0);
}

TEST_CASE("cancelling who joins leaves the child running", "[child]") {
    world w;
    int alive = 0;
    child<int> work(w.clock(), later(w.clock(), 10s, 1, alive));
    {
        child<int> joiner(w.clock(), work.join());
        w.run_for(1s);
    }
    w.run_for(1s);
    CHECK(alive == 1);
    CHECK(w.wait(work.join()) == 1);
}

TEST_CASE("waiting for a child's end with a limit tells which came first", "[child]") {
    world w;
    int alive = 0;
    child<int> work(w.clock(), later(w.clock(), 10s, 1, alive));
    limit soon;
    soon.until = w.now() + 1s;
    CHECK_FALSE(w.wait(work.finished_by(soon)));
    CHECK_FALSE(work.finished());
    CHECK(w.wait(work.finished_by(limit())));
    CHECK(w.elapsed() == 10s);
}

TEST_CASE("a child whose context goes down ends as cancelled", "[child]") {
    int alive = 0;
    std::optional<child<int>> orphan;
    {
        world w;
        orphan.emplace(w.clock(), later(w.clock(), 1h, 0, alive));
        w.poll();
        CHECK(alive == 1);
    }
    CHECK(alive == 0);
    CHECK(orphan->finished());
    orphan->cancel();  // does nothing, and touches nothing that is gone
}

TEST_CASE("children on two threads are started, joined and dropped without a race", "[child]") {
    asio::thread_pool pool(2);
    clock_handle time(pool.get_executor());
    std::atomic<int> sum{0};
    const auto value = [](clock_handle now, int i) -> task<int> {
        if (i % 3) co_await sleep_for(now, std::chrono::microseconds(i));
        co_return 1;
    };
    const auto program = [](clock_handle now, auto make, std::atomic<int>& total) -> task<void> {
        for (int i = 0; i < 100; ++i) {
            child<int> kept(now, make(now, i));
            child<int> dropped(now, make(now, 1000));
            total += co_await kept.join();
        }
    };
    std::vector<std::future<void>> ends;
    for (int i = 0; i < 4; ++i) {
        ends.push_back(
            asio::co_spawn(asio::make_strand(pool), program(time, value, sum), asio::use_future));
    }
    for (auto& end : ends) end.get();
    CHECK(sum == 400);
    pool.join();
}

}  // namespace test_core_child
