#include <llmkit/core/wakeups.hpp>

#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include <llmkit/core/clock.hpp>

#include "test.hpp"

namespace test_core_wakeups {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

/// Coroutines that wait for one bell, on executors of the test's choice.
struct crowd {
    explicit crowd(clock_handle passing) : time(std::move(passing)) {}
    std::mutex mutex;
    bell rung;
    clock_handle time;
    std::vector<int> woken;
    int throwing = -1;
    std::atomic<int> ended{0};
};

task<void> stand_by(std::shared_ptr<crowd> in, int number) {
    std::unique_lock lock(in->mutex);
    const woke why = co_await wait(lock, in->rung, in->time, limit());
    if (why == woke::by_bell) in->woken.push_back(number);
    ++in->ended;
    lock.unlock();
    if (number == in->throwing) throw std::runtime_error("thrown");
}
void stand(const std::shared_ptr<crowd>& in, const executor& where, int number) {
    asio::co_spawn(where, stand_by(in, number), [](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
}
void ring(crowd& all) {
    wakeups woken;
    const std::lock_guard lock(all.mutex);
    woken.ring_all(all.rung);
}

}  // namespace

TEST_CASE("waiters of one executor that are woken together go on in their order", "[wakeups]") {
    asio::io_context io;
    auto all = std::make_shared<crowd>(clock_handle(io.get_executor()));
    const executor strand = asio::make_strand(io);
    for (int i = 0; i < 50; ++i) stand(all, i % 20 == 7 ? strand : executor(io.get_executor()), i);
    io.poll();
    CHECK(all->rung.size() == 50);
    ring(*all);
    CHECK(all->rung.size() == 0);
    CHECK(all->woken.empty());  // never inline
    io.poll();
    REQUIRE(all->woken.size() == 50);
    int before[2] = {-1, -1};  // of the strand, and of the others
    for (const int number : all->woken) {
        int& last = before[number % 20 == 7 ? 0 : 1];
        CHECK(last < number);
        last = number;
    }
    ring(*all);  // nobody
}

TEST_CASE("what one waiter throws keeps none of the others asleep", "[wakeups]") {
    const int throwing = GENERATE(0, 3, 15, 16, 19);
    asio::io_context io;
    // A context keeps what is thrown until a handler has ended; a strand does not.
    const executor where =
        GENERATE(false, true) ? executor(asio::make_strand(io)) : executor(io.get_executor());
    auto all = std::make_shared<crowd>(clock_handle(io.get_executor()));
    all->throwing = throwing;
    for (int i = 0; i < 20; ++i) stand(all, where, i);
    io.poll();
    ring(*all);
    CHECK_THROWS_WITH(io.poll(), "thrown");
    io.poll();
    CHECK(all->woken.size() == 20);
}

TEST_CASE("a context may go down between the bell and those whom it woke", "[wakeups]") {
    std::optional<asio::io_context> io(std::in_place);
    auto all = std::make_shared<crowd>(clock_handle(io->get_executor()));
    for (int i = 0; i < 20; ++i) stand(all, io->get_executor(), i);
    io->poll();
    ring(*all);
    io.reset();
    CHECK(all->woken.empty());
    CHECK(all.use_count() == 1);
}

TEST_CASE("waiters on several threads are woken together without harm", "[wakeups]") {
    asio::io_context io;
    auto all = std::make_shared<crowd>(clock_handle(io.get_executor()));
    auto busy = std::make_optional(asio::make_work_guard(io));
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([&] { io.run(); });
    constexpr int waiters = 200;
    for (int i = 0; i < waiters; ++i) stand(all, asio::make_strand(io), i);
    for (int i = 0; i < waiters; ++i) stand(all, io.get_executor(), i);
    while (all->ended < 2 * waiters) {
        ring(*all);
        std::this_thread::yield();
    }
    busy.reset();
    for (auto& one : threads) one.join();
    CHECK(all->woken.size() == 2 * waiters);
}

}  // namespace test_core_wakeups
