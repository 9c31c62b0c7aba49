#include <llmkit/metrics/histogram.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

#include "test.hpp"

namespace test_metrics_histogram {

using namespace std::chrono_literals;
using llmkit::histogram;
using llmkit::histogram_snapshot;
using std::chrono::nanoseconds;

namespace {

double off_by(nanoseconds seen, nanoseconds truth) {
    return std::abs(static_cast<double>((seen - truth).count())) /
           static_cast<double>(truth.count());
}

}  // namespace

TEST_CASE("an empty histogram says nothing but zeros", "[histogram]") {
    const auto seen = histogram().snapshot();
    CHECK(seen.count() == 0);
    CHECK(seen.sum() == 0ns);
    CHECK(seen.mean() == 0ns);
    CHECK(seen.min() == 0ns);
    CHECK(seen.max() == 0ns);
    CHECK(seen.p99() == 0ns);
    CHECK(seen.count_within(1h) == 0);
}

TEST_CASE("the places of a histogram follow each other without gap or overlap", "[histogram]") {
    using scale = llmkit::detail::histogram_scale;
    for (std::size_t place = 0; place + 1 < scale::places; ++place) {
        REQUIRE(scale::from(place) < scale::from(place + 1));
        REQUIRE(scale::place_of(scale::from(place)) == place);
        REQUIRE(scale::place_of(scale::from(place + 1) - 1) == place);
    }
    CHECK(scale::place_of(~std::uint64_t{0}) == scale::places - 1);
    CHECK(scale::from(scale::places - 1) > 3'600'000'000'000u);
    CHECK(sizeof(histogram) < 9'000);
}

TEST_CASE("a histogram tells one duration from a microsecond to an hour within 3 %",
          "[histogram]") {
    for (double ns = 1'000; ns < 3.6e12; ns *= 1.013) {
        const nanoseconds truth(static_cast<nanoseconds::rep>(ns));
        histogram_snapshot seen;
        seen.record(truth);
        seen.record(truth * 2);  // so that the median is not clamped to the largest
        seen.record(truth / 2);
        REQUIRE(off_by(seen.p50(), truth) < 0.016);
    }
}

TEST_CASE("the quantiles of a histogram agree with those of the sorted list", "[histogram]") {
    std::mt19937_64 random(5);
    std::lognormal_distribution<double> law(std::log(0.35e9), 0.5);
    histogram recorded;
    std::vector<nanoseconds> all;
    double sum = 0;
    for (int i = 0; i < 20'000; ++i) {
        all.emplace_back(static_cast<nanoseconds::rep>(law(random)));
        recorded.record(all.back());
        sum += static_cast<double>(all.back().count());
    }
    std::sort(all.begin(), all.end());
    const auto seen = recorded.snapshot();
    for (const double p : {0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999}) {
        const auto rank = static_cast<std::size_t>(std::ceil(p * 20'000)) - 1;
        CAPTURE(p);
        CHECK(off_by(seen.quantile(p), all[rank]) < 0.03);
    }
    CHECK(seen.count() == 20'000);
    CHECK(seen.min() == all.front());
    CHECK(seen.max() == all.back());
    CHECK(seen.quantile(1) == all.back());
    CHECK(off_by(seen.quantile(0), all.front()) < 0.03);
    CHECK(std::abs(static_cast<double>(seen.mean().count()) - sum / 20'000) < 2);
    const auto fast = static_cast<double>(
        std::upper_bound(all.begin(), all.end(), nanoseconds(350ms)) - all.begin());
    CHECK(std::abs(static_cast<double>(seen.count_within(350ms)) - fast) < 20'000 * 0.03);
}

TEST_CASE("durations beyond the range are counted at its ends and keep sum and extremes exact",
          "[histogram]") {
    histogram recorded;
    recorded.record(-5s);
    recorded.record(0ns);
    recorded.record(1ns);
    recorded.record(10h);
    recorded.record(nanoseconds::max());
    const auto seen = recorded.snapshot();
    CHECK(seen.count() == 5);
    CHECK(seen.min() == 0ns);
    CHECK(seen.max() == nanoseconds::max());
    CHECK(seen.sum() > 200'000h);
    CHECK(seen.quantile(0.2) <= 512ns);
    CHECK(seen.quantile(0.8) > 1h);
    CHECK(seen.quantile(-1) <= 512ns);
    CHECK(seen.quantile(7) == nanoseconds::max());
    histogram_snapshot twice = seen;
    twice.merge(seen);
    CHECK(twice.sum() == nanoseconds::max());  // clamped, never wrapped
}

TEST_CASE("merging histograms is as good as recording into one", "[histogram]") {
    histogram left, right, both;
    for (int i = 1; i <= 1000; ++i) {
        (i % 3 == 0 ? left : right).record(i * 1ms);
        both.record(i * 1ms);
    }
    auto merged = left.snapshot();
    merged.merge(right.snapshot());
    merged.merge(histogram_snapshot());
    const auto whole = both.snapshot();
    CHECK(merged.count() == whole.count());
    CHECK(merged.sum() == whole.sum());
    CHECK(merged.min() == whole.min());
    CHECK(merged.max() == whole.max());
    for (const double p : {0.1, 0.5, 0.9, 0.99}) CHECK(merged.quantile(p) == whole.quantile(p));
}

TEST_CASE("durations within a limit are counted cumulatively", "[histogram]") {
    histogram_snapshot seen;
    seen.record(1ms, 10);
    seen.record(100ms, 5);
    seen.record(10s, 1);
    seen.record(7s, 0);
    CHECK(seen.count_within(0ns) == 0);
    CHECK(seen.count_within(500us) == 0);
    CHECK(seen.count_within(5ms) == 10);
    CHECK(seen.count_within(1s) == 15);
    CHECK(seen.count_within(10s) == 16);
    CHECK(seen.count() == 16);
}

TEST_CASE("threads record into one histogram without losing a duration", "[histogram]") {
    histogram recorded;
    auto work = [&](int from) {
        for (int i = 0; i < 50'000; ++i) recorded.record(nanoseconds(from + i * 1000));
    };
    std::thread other(work, 1'000);
    work(2'000);
    (void)recorded.snapshot();
    other.join();
    const auto seen = recorded.snapshot();
    CHECK(seen.count() == 100'000);
    CHECK(seen.min() == 1us);
    CHECK(seen.max() == 2us + 49'999us);
    CHECK(seen.sum() == 50'000 * 3us + 2 * 49'999ll * 25'000 * 1us);
}

}  // namespace test_metrics_histogram
