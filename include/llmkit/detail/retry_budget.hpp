// llmkit/detail/retry_budget.hpp: keep retries from multiplying the load of a provider in trouble.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

namespace llmkit::detail {

/// A token bucket that every call fills a little and every further attempt empties by one, so that
/// always: upstream calls ≤ calls + burst + ratio × calls.
///
///     budget.call_started();                        // once a call, its first attempt is free
///     if (!budget.try_spend()) return last_error;   // before each further attempt
///
/// Savings are bounded to what `memory_calls` calls pay in (beside the burst): a day of good
/// weather must not pay for a storm of retries. Thread-safe and free of locks; exact to a
/// millionth. Negative values and NaN count as zero; everything is clamped to a thousand million.
class retry_budget {
public:
    explicit retry_budget(double ratio = 0.2, double burst = 10, double memory_calls = 1000)
        : income_(in_millionths(ratio)),
          most_(in_millionths(burst) +
                in_millionths(std::min(whole(ratio) * whole(memory_calls), 1e9))),
          saved_(in_millionths(burst)) {}

    void call_started() noexcept {
        std::int64_t saved = saved_.load(std::memory_order_relaxed);
        while (!saved_.compare_exchange_weak(saved, std::min(saved + income_, most_),
                                             std::memory_order_relaxed)) {
        }
    }

    /// Takes one attempt out of the budget; false when there is none, and then nothing is taken.
    [[nodiscard]] bool try_spend() noexcept {
        std::int64_t saved = saved_.load(std::memory_order_relaxed);
        while (saved >= one) {
            if (saved_.compare_exchange_weak(saved, saved - one, std::memory_order_relaxed)) {
                return true;
            }
        }
        return false;
    }

    /// How many further attempts could be paid for now.
    std::int64_t left() const noexcept { return saved_.load(std::memory_order_relaxed) / one; }

private:
    static constexpr std::int64_t one = 1'000'000;

    static double whole(double value) {
        return value > 0 ? std::min(value, 1e9) : 0.0;  // NaN compares false
    }
    static std::int64_t in_millionths(double value) {
        return static_cast<std::int64_t>(std::floor(whole(value) * 1e6 + 1e-6));
    }

    const std::int64_t income_;
    const std::int64_t most_;
    std::atomic<std::int64_t> saved_;
};

}  // namespace llmkit::detail
