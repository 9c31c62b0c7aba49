#include <llmkit/detail/backoff_rule.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>

#include "test.hpp"

namespace test_detail_backoff_rule {

using namespace std::chrono_literals;
using llmkit::detail::backoff_rule;
using llmkit::detail::backoff_step;
using llmkit::detail::server_pause;
using std::chrono::nanoseconds;
using time_point = backoff_rule::time_point;

namespace {

constexpr time_point start = time_point(1000h);
constexpr time_point never = time_point::max();

struct fixed_chance {  // a generator that always draws the same
    using result_type = std::uint32_t;
    static constexpr std::uint32_t min() { return 0; }
    static constexpr std::uint32_t max() { return 1000; }
    std::uint32_t operator()() { return drawn; }
    std::uint32_t drawn;
};

backoff_step step(const backoff_rule& rule, std::uint64_t retries,
                  std::optional<nanoseconds> asked = {}, time_point deadline = never,
                  std::uint32_t drawn = 0) {
    fixed_chance random{drawn};
    return rule.after(retries, asked, start, deadline, random);
}

}  // namespace

TEST_CASE("pauses double from half a second to eight", "[backoff_rule]") {
    const nanoseconds wanted[] = {500ms, 1s, 2s, 4s, 8s, 8s, 8s};
    for (std::uint64_t n = 0; n < 7; ++n) CHECK(step({}, n) == backoff_step{false, wanted[n]});
    for (const std::uint64_t n : {62u, 63u, 64u, 65u, 1'000'000u}) CHECK(step({}, n).pause == 8s);
    CHECK(step({}, std::numeric_limits<std::uint64_t>::max()).pause == 8s);
}

TEST_CASE("jitter takes off up to a quarter and never adds", "[backoff_rule]") {
    CHECK(step({}, 1, {}, never, 1000).pause == 750ms);
    CHECK(step({}, 1, {}, never, 500).pause == 875ms);
    std::mt19937 random(7);
    nanoseconds shortest = 1h, longest = 0s;
    for (int i = 0; i < 2000; ++i) {
        const auto pause = backoff_rule{}.after(2, {}, start, never, random).pause;
        shortest = std::min(shortest, pause);
        longest = std::max(longest, pause);
    }
    CHECK(shortest >= 1500ms);
    CHECK(shortest < 1510ms);
    CHECK(longest <= 2s);
    CHECK(longest > 1990ms);
}

TEST_CASE("the same seed draws the same pauses", "[backoff_rule]") {
    std::minstd_rand one(3), two(3);
    for (std::uint64_t n = 0; n < 10; ++n) {
        CHECK(backoff_rule{}.after(n, {}, start, never, one) ==
              backoff_rule{}.after(n, {}, start, never, two));
    }
}

TEST_CASE("a pause is never shorter than the server asked", "[backoff_rule]") {
    for (const std::uint32_t drawn : {0u, 500u, 1000u}) {
        CHECK(step({}, 0, 3s, never, drawn) == backoff_step{false, 3s});
        CHECK(step({}, 4, 7900ms, never, drawn).pause >= 7900ms);
        CHECK(step({}, 0, 60s, never, drawn) == backoff_step{false, 60s});
    }
    CHECK(step({}, 0, 0s, never, 1000).pause == 375ms);  // zero does not mean at once
    CHECK(step({}, 0, -5s).pause == 500ms);
    CHECK(step({}, 0, nanoseconds::min()).pause == 500ms);
}

TEST_CASE("a server that asks for too much is not waited for", "[backoff_rule]") {
    CHECK(step({}, 0, 61s).give_up);
    CHECK(step({}, 0, nanoseconds::max()).give_up);
    backoff_rule patient;
    patient.patience = nanoseconds::max();
    CHECK(step(patient, 0, 24h) == backoff_step{false, 24h});
    patient.patience = -1s;
    CHECK_FALSE(step(patient, 0).give_up);
    CHECK(step(patient, 0, 1ns).give_up);
}

TEST_CASE("a pause that would not end before the deadline gives up at once", "[backoff_rule]") {
    CHECK(step({}, 0, {}, start + 500ms).give_up);
    CHECK_FALSE(step({}, 0, {}, start + 500ms + 1ns).give_up);
    CHECK_FALSE(step({}, 0, {}, start + 400ms, 1000).give_up);  // shortened to 375 ms
    CHECK(step({}, 0, 2s, start + 1s).give_up);
    CHECK(step({}, 0, {}, start).give_up);
    CHECK(step({}, 0, {}, start - 1h).give_up);
    CHECK(step({}, 0, {}, time_point::min()).give_up);
}

TEST_CASE("far deadlines and early clocks do not overflow", "[backoff_rule]") {
    fixed_chance random{0};
    backoff_rule patient;
    patient.patience = nanoseconds::max();
    const auto before = never - 1ns;
    CHECK_FALSE(backoff_rule{}.after(0, {}, time_point::min(), before, random).give_up);
    CHECK(patient.after(0, nanoseconds::max(), start, before, random).give_up);
    CHECK_FALSE(patient.after(0, nanoseconds::max(), start, never, random).give_up);
}

TEST_CASE("a nonsensical rule still gives a sane pause", "[backoff_rule]") {
    backoff_rule rule;
    for (const double jitter : {-1.0, 0.0, std::numeric_limits<double>::quiet_NaN()}) {
        rule.jitter = jitter;
        CHECK(step(rule, 0, {}, never, 1000).pause == 500ms);
    }
    for (const double jitter : {1.0, 7.0, std::numeric_limits<double>::infinity()}) {
        rule.jitter = jitter;
        CHECK(step(rule, 0, {}, never, 1000).pause == 0s);
        CHECK(step(rule, 0, {}, never, 0).pause == 500ms);
    }
    rule = {};
    rule.first = -1s;
    CHECK(step(rule, 9).pause == 0s);
    rule.first = 10s;
    CHECK(step(rule, 0).pause == 8s);
    rule.longest = -1s;
    CHECK(step(rule, 5).pause == 0s);
    rule.first = 1ns;
    rule.longest = nanoseconds::max();
    CHECK(step(rule, 62).pause == nanoseconds(std::int64_t{1} << 62));
    CHECK(step(rule, 63).pause == nanoseconds::max());
    rule.jitter = 1;
    for (const std::uint32_t drawn : {0u, 1u, 999u, 1000u}) {
        CHECK(step(rule, 63, {}, never, drawn).pause >= 0s);
    }
}

TEST_CASE("a server's number of seconds is made safe", "[backoff_rule]") {
    CHECK(server_pause(1.5) == 1500ms);
    CHECK(server_pause(0) == 0ns);
    CHECK(server_pause(-3) == 0ns);
    CHECK(server_pause(1e300) == nanoseconds::max());
    CHECK(server_pause(std::numeric_limits<double>::infinity()) == nanoseconds::max());
    CHECK(server_pause(-std::numeric_limits<double>::infinity()) == 0ns);
    CHECK_FALSE(server_pause(std::numeric_limits<double>::quiet_NaN()));
}

}  // namespace test_detail_backoff_rule
