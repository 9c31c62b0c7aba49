// llmkit/detail/backoff_rule.hpp: how long to wait before asking again, and when to give up.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace llmkit::detail {

/// Either a pause before the next attempt, or the advice to stop trying.
struct backoff_step {
    bool give_up = false;
    std::chrono::nanoseconds pause{};

    friend constexpr bool operator==(const backoff_step&, const backoff_step&) = default;
};

/// A number of seconds as a server wrote it (`Retry-After`, `retry-after-ms` / 1000), made safe:
/// nothing for NaN, zero for what is negative or past, clamped to 292 years for what is longer.
inline std::optional<std::chrono::nanoseconds> server_pause(double seconds) {
    if (std::isnan(seconds)) return std::nullopt;
    if (seconds <= 0) return std::chrono::nanoseconds::zero();
    if (seconds >= 9.2e9) return std::chrono::nanoseconds::max();
    return std::chrono::nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

/// Exponential backoff: min(`first`·2ⁿ, `longest`), of which jitter takes off up to a quarter.
///
///     std::minstd_rand random(seed);
///     auto step =
///         backoff_rule{}.after(retries, error.retry_after(), clock.now(), deadline, random);
///     if (step.give_up) return error;
///
/// Nonsense in the fields does no harm: negative durations count as zero, `jitter` is clamped to
/// 0…1 and NaN is 0. Pure; `random` is any standard generator.
struct backoff_rule {
    using nanoseconds = std::chrono::nanoseconds;
    using time_point = std::chrono::steady_clock::time_point;

    nanoseconds first = std::chrono::milliseconds(500);
    nanoseconds longest = std::chrono::seconds(8);
    double jitter = 0.25;  ///< the share of a pause that chance may take off, never add
    /// A server that asks for more than this is not waited for, with or without a deadline.
    nanoseconds patience = std::chrono::seconds(60);

    /// The step after attempt number `retries + 1` failed. `asked` is what the server wants at
    /// least: jitter never undercuts it. `deadline` is `time_point::max()` when there is none; a
    /// pause that would not end before it gives up at once.
    template <class Random>
    backoff_step after(std::uint64_t retries, std::optional<nanoseconds> asked, time_point now,
                       time_point deadline, Random& random) const {
        const nanoseconds least =
            std::max(asked.value_or(nanoseconds::zero()), nanoseconds::zero());
        const nanoseconds pause = std::max(shortened(full(retries), random), least);
        if (least > std::max(patience, nanoseconds::zero())) return {true, {}};
        if (deadline != time_point::max() && pause >= left(now, deadline)) return {true, {}};
        return {false, pause};
    }

    /// The pause before jitter.
    nanoseconds full(std::uint64_t retries) const {
        const std::int64_t most = std::max<std::int64_t>(longest.count(), 0);
        const std::int64_t base = std::clamp<std::int64_t>(first.count(), 0, most);
        if (base == 0) return nanoseconds::zero();
        const bool in_range = retries < 63 && base <= (most >> retries);
        return nanoseconds(in_range ? base << retries : most);
    }

private:
    template <class Random>
    nanoseconds shortened(nanoseconds pause, Random& random) const {
        const double share = jitter > 0 ? std::min(jitter, 1.0) : 0.0;  // NaN compares false
        const auto range = static_cast<double>(Random::max() - Random::min());
        const double chance = static_cast<double>(random() - Random::min()) / range;  // 0 … 1
        const double off = static_cast<double>(pause.count()) * share * chance;
        // Rounding must not make the pause negative where all of it may go.
        return off >= static_cast<double>(pause.count())
                   ? nanoseconds::zero()
                   : pause - nanoseconds(static_cast<std::int64_t>(off));
    }

    static nanoseconds left(time_point now, time_point deadline) {
        if (deadline <= now) return nanoseconds::zero();
        // Unsigned, because a far deadline minus an early now may not fit.
        const auto ns = static_cast<std::uint64_t>(deadline.time_since_epoch().count()) -
                        static_cast<std::uint64_t>(now.time_since_epoch().count());
        return nanoseconds(static_cast<std::int64_t>(
            std::min(ns, static_cast<std::uint64_t>(nanoseconds::max().count()))));
    }
};
// A policy may stand as a temporary in a co_await expression only while this holds (g++ 12).
static_assert(std::is_trivially_destructible_v<backoff_rule>);

}  // namespace llmkit::detail
