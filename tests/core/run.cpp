#include <llmkit/core/run.hpp>

#include <csignal>

#include <llmkit/core/wait.hpp>

#include "test.hpp"

namespace test_core_run {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

task<void> nothing_much() { co_return; }
task<int> status(int value) { co_return value; }
task<void> throwing() {
    throw std::runtime_error("a test's own exception; its text belongs on the terminal");
    co_return;
}
task<void> interrupted(bool& unwound) {
    struct guard {
        bool& flag;
        ~guard() { flag = true; }
    } here{unwound};
    std::raise(SIGINT);
    co_await sleep_for(clock_handle(co_await asio::this_coro::executor), 1h);
}
task<int> sum(int a, int b) {
    co_await sleep_for(clock_handle(co_await asio::this_coro::executor), 1us);
    co_return a + b;
}

}  // namespace

TEST_CASE("run gives main its status", "[run]") {
    CHECK(run(nothing_much()) == 0);
    CHECK(run(status(3)) == 3);
    CHECK(run(throwing()) == 1);
}

TEST_CASE("Ctrl-C cancels what run runs, and its destructors run", "[run]") {
    bool unwound = false;
    CHECK(run(interrupted(unwound)) == 130);
    CHECK(unwound);
}

TEST_CASE("a background loop lets many threads wait for tasks", "[run]") {
    background_loop loop;
    std::atomic<int> total{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < 20; ++k) total += loop.wait(sum(k, 1));
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(total == 4 * (190 + 20));
    CHECK_THROWS_AS(loop.wait(throwing()), std::runtime_error);
}

}  // namespace test_core_run
