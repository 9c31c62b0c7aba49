// llmkit/metrics/histogram.hpp: how durations are spread, in fixed memory and to within 2 %.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace llmkit {

namespace detail {

/// The places of a log-linear histogram: every power of two is cut into 32 equal parts, from 512 ns
/// to beyond an hour, so that the middle of a part is within 1.6 % of whatever fell into it. What
/// is shorter shares the first place, what is longer the last.
struct histogram_scale {
    static constexpr unsigned cut_bits = 5;
    static constexpr unsigned first_power = 9;
    static constexpr unsigned last_power = 41;  // 2^42 ns are 73 minutes
    static constexpr std::size_t places =
        (std::size_t{last_power - first_power + 1} << cut_bits) + 2;

    static constexpr std::size_t place_of(std::uint64_t ns) {
        const auto width = static_cast<unsigned>(std::bit_width(ns));
        if (width <= first_power) return 0;
        if (width > last_power + 1) return places - 1;
        const std::uint64_t part = ns >> (width - 1 - cut_bits);  // 32 … 63
        return (std::size_t{width - 1 - first_power} << cut_bits) + (part - 32) + 1;
    }
    /// The shortest duration that falls into a place; the place ends where the next begins.
    static constexpr std::uint64_t from(std::size_t place) {
        if (place == 0) return 0;
        const std::size_t power = ((place - 1) >> cut_bits) + first_power;
        return (std::uint64_t{32} + ((place - 1) & 31)) << (power - cut_bits);
    }
};

constexpr std::uint64_t whole_ns(std::chrono::nanoseconds duration) {
    return duration.count() > 0 ? static_cast<std::uint64_t>(duration.count()) : 0;
}

}  // namespace detail

/// The figures of a histogram at one moment: a plain value to read, merge and keep.
///
///     auto seen = latencies.snapshot();
///     fmt::print("{} calls, p95 {} ms\n", seen.count(), seen.p95() / 1ms);
///
/// Quantiles are exact to within 1.6 % from 1 µs to an hour; count, mean, min and max are exact.
/// All of them are 0 while nothing was recorded.
class histogram_snapshot {
public:
    using duration = std::chrono::nanoseconds;

    /// Negative durations count as zero.
    void record(duration length, std::uint64_t times = 1) {
        if (times == 0) return;
        const std::uint64_t ns = detail::whole_ns(length);
        add(detail::histogram_scale::place_of(ns), times);
        sum_ += static_cast<double>(ns) * static_cast<double>(times);
        min_ = std::min(min_, ns);
        max_ = std::max(max_, ns);
    }

    /// Adds what another histogram saw.
    void merge(const histogram_snapshot& other) {
        if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
        for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
        count_ += other.count_;
        sum_ += other.sum_;
        min_ = std::min(min_, other.min_);
        max_ = std::max(max_, other.max_);
    }

    std::uint64_t count() const { return count_; }
    duration sum() const { return to_duration(sum_); }
    duration mean() const {
        return count_ == 0 ? duration() : to_duration(sum_ / static_cast<double>(count_));
    }
    duration min() const { return count_ == 0 ? duration() : clamped(min_); }
    duration max() const { return clamped(max_); }

    /// The shortest duration that at least the share `p` of all were within; `p` is clamped to 0…1.
    duration quantile(double p) const {
        if (count_ == 0) return duration();
        const double wanted = std::ceil(std::clamp(p, 0.0, 1.0) * static_cast<double>(count_));
        const auto rank = std::max<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1);
        if (rank >= count_) return max();
        std::uint64_t below = 0;
        std::size_t place = 0;
        while (place + 1 < counts_.size() && (below += counts_[place]) < rank) ++place;
        const std::uint64_t from = detail::histogram_scale::from(place);
        const std::uint64_t to = detail::histogram_scale::from(place + 1);
        const bool last = place + 1 == detail::histogram_scale::places;
        return clamped(std::clamp(last ? max_ : from + (to - from) / 2, min_, max_));
    }
    duration p50() const { return quantile(0.50); }
    duration p90() const { return quantile(0.90); }
    duration p95() const { return quantile(0.95); }
    duration p99() const { return quantile(0.99); }

    /// How many were at most this long, to within the width of a place (3 % of the length).
    std::uint64_t count_within(duration length) const {
        const std::uint64_t ns = detail::whole_ns(length);
        if (ns >= max_) return count_;
        std::uint64_t within = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (detail::histogram_scale::from(i + 1) > ns + 1) break;
            within += counts_[i];
        }
        return within;
    }

private:
    friend class histogram;

    void add(std::size_t place, std::uint64_t times) {
        if (place >= counts_.size()) counts_.resize(place + 1);
        counts_[place] += times;
        count_ += times;
    }
    static duration clamped(std::uint64_t ns) {
        return duration(static_cast<duration::rep>(std::min<std::uint64_t>(
            ns, static_cast<std::uint64_t>(std::numeric_limits<duration::rep>::max()))));
    }
    static duration to_duration(double ns) {
        return ns < 9.2e18 ? duration(static_cast<duration::rep>(std::llround(ns)))
                           : duration::max();
    }

    std::vector<std::uint64_t> counts_;  // by place, as far as used
    std::uint64_t count_ = 0;
    double sum_ = 0;
    std::uint64_t min_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t max_ = 0;
};

/// Counts durations from any number of threads at once, in 8.5 KB whatever comes.
///
///     llmkit::histogram latencies;
///     latencies.record(clock.now() - started);
///
/// Recording takes no lock, allocates nothing, and costs some 10 ns.
class histogram {
public:
    histogram() = default;
    histogram(const histogram&) = delete;
    histogram& operator=(const histogram&) = delete;

    void record(std::chrono::nanoseconds length) noexcept {
        const std::uint64_t ns = detail::whole_ns(length);
        counts_[detail::histogram_scale::place_of(ns)].fetch_add(1, std::memory_order_relaxed);
        // 64 bits wrap after 584 years of calls, which a gateway reaches.
        if (sum_.fetch_add(ns, std::memory_order_relaxed) + ns < ns) {
            wraps_.fetch_add(1, std::memory_order_relaxed);
        }
        for (auto seen = min_.load(std::memory_order_relaxed);
             ns < seen && !min_.compare_exchange_weak(seen, ns, std::memory_order_relaxed);) {
        }
        for (auto seen = max_.load(std::memory_order_relaxed);
             ns > seen && !max_.compare_exchange_weak(seen, ns, std::memory_order_relaxed);) {
        }
    }

    /// While others record, a duration in flight may be missing from some of the figures.
    histogram_snapshot snapshot() const {
        histogram_snapshot now;
        std::size_t used = counts_.size();
        while (used > 0 && counts_[used - 1].load(std::memory_order_relaxed) == 0) --used;
        now.counts_.reserve(used);
        for (std::size_t i = 0; i < used; ++i) {
            if (const auto n = counts_[i].load(std::memory_order_relaxed); n > 0) now.add(i, n);
        }
        if (now.count_ == 0) return histogram_snapshot();
        now.sum_ = static_cast<double>(sum_.load(std::memory_order_relaxed)) +
                   static_cast<double>(wraps_.load(std::memory_order_relaxed)) * 0x1p64;
        now.min_ = min_.load(std::memory_order_relaxed);
        now.max_ =
            std::max(max_.load(std::memory_order_relaxed), detail::histogram_scale::from(used - 1));
        now.min_ = std::min(now.min_, now.max_);
        return now;
    }

private:
    std::array<std::atomic<std::uint64_t>, detail::histogram_scale::places> counts_{};
    std::atomic<std::uint64_t> sum_ = 0;
    std::atomic<std::uint64_t> wraps_ = 0;
    std::atomic<std::uint64_t> min_ = std::numeric_limits<std::uint64_t>::max();
    std::atomic<std::uint64_t> max_ = 0;
};

}  // namespace llmkit
