#include <llmkit/cache/level_health.hpp>

#include "test.hpp"

namespace test_cache_level_health {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

using health = detail::level_health;
using turn = health::turn;

constexpr time_point start{1h};
const health_policy policy{.failures = 3, .probe_every = 1s, .probe_at_most = 4s};

void fail(health& level, time_point now, int times) {
    for (int i = 0; i < times; ++i) level.failed(level.ask(now), now);
}

}  // namespace

TEST_CASE("a level is down after so many failures in a row", "[tiered]") {
    health level(policy);
    fail(level, start, 2);
    CHECK(level.up());
    level.succeeded(level.ask(start));
    fail(level, start, 2);
    CHECK(level.up());
    fail(level, start, 1);
    CHECK(level.state() == level_state::down);
    CHECK(level.ask(start).what == turn::skip);
    CHECK(level.ask(start + 999ms).what == turn::skip);
}

TEST_CASE("a level that is down has one probe at a time, one an interval, then fewer", "[tiered]") {
    health level(policy);
    fail(level, start, 3);
    time_point now = start;
    for (const duration pause : {1s, 2s, 4s, 4s}) {
        CHECK(level.ask(now + pause - 1ns).what == turn::skip);
        now += pause;
        const auto probe = level.ask(now);
        CHECK(probe.what == turn::probe);
        CHECK(level.state() == level_state::probing);
        CHECK(level.ask(now + 1h).what == turn::skip);
        level.failed(probe, now);
        CHECK(level.state() == level_state::down);
    }
    const auto probe = level.ask(now + 4s);
    level.succeeded(probe);
    CHECK(level.up());
    // And begins anew.
    fail(level, now + 5s, 3);
    CHECK(level.ask(now + 6s - 1ns).what == turn::skip);
    CHECK(level.ask(now + 6s).what == turn::probe);
}

TEST_CASE("a probe that told nothing leaves the level down until the next is due", "[tiered]") {
    health level(policy);
    fail(level, start, 3);
    const auto probe = level.ask(start + 1s);
    level.abandoned(probe);
    CHECK(level.state() == level_state::down);
    CHECK(level.ask(start + 2s - 1ns).what == turn::skip);
    CHECK(level.ask(start + 2s).what == turn::probe);
    level.succeeded(probe);  // too late: another one probes
    CHECK(level.state() == level_state::probing);
}

TEST_CASE("results from before a level changed its state say nothing about it now", "[tiered]") {
    health level(policy);
    const auto early = level.ask(start);
    fail(level, start, 3);
    level.succeeded(early);
    CHECK(level.state() == level_state::down);
    for (int i = 0; i < 9; ++i) level.failed(early, start + 500ms);
    const auto probe = level.ask(start + 1s);
    CHECK(probe.what == turn::probe);
    level.succeeded(probe);
    for (int i = 0; i < 9; ++i) level.failed(early, start + 2s);
    CHECK(level.up());
}

TEST_CASE("a pause that makes no sense does not make probes without end", "[tiered]") {
    health level({.failures = 1, .probe_every = 0s, .probe_at_most = 0s});
    fail(level, start, 1);
    CHECK(level.ask(start).what == turn::skip);
    const auto probe = level.ask(start + 1ns);
    CHECK(probe.what == turn::probe);
    CHECK(level.ask(start + 1h).what == turn::skip);
}

}  // namespace test_cache_level_health
