#include <llmkit/core/clock.hpp>

#include <llmkit/core/run.hpp>

#include "test.hpp"

namespace test_core_clock {

using namespace llmkit;

TEST_CASE("all clocks of one context are one clock", "[clock]") {
    asio::io_context context;
    const executor plain = context.get_executor();
    const clock_handle time(plain);
    CHECK(time == clock_handle(asio::make_strand(context)));
    CHECK(time == clock_handle(executor(asio::make_strand(plain))));
    asio::io_context other;
    CHECK(time != clock_handle(other.get_executor()));
}

TEST_CASE("a lane is a strand, unless one thread alone runs the context", "[clock]") {
    asio::io_context context;
    const executor plain = context.get_executor();
    CHECK(clock_handle(plain).lane() != plain);
    CHECK(clock_handle(plain).lane() != clock_handle(plain).lane());

    asio::io_context alone(1);
    one_thread(alone);
    CHECK(clock_handle(alone.get_executor()).lane() == executor(alone.get_executor()));
    background_loop loop;
    CHECK(clock_handle(loop.get_executor()).lane() == executor(loop.get_executor()));
}

}  // namespace test_core_clock
