// llmkit/cache/level_health.hpp: whether a level of a tiered cache is asked, skipped or probed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <type_traits>

#include <llmkit/core/limit.hpp>

namespace llmkit {

/// How a level is at the moment.
enum class level_state : std::uint8_t {
    up,       ///< asked
    down,     ///< skipped until its next probe
    probing,  ///< skipped while one look-up beside the calls finds out whether it is up again
};

/// When a level is given up, and how often it is tried again.
struct health_policy {
    std::size_t failures = 3;  ///< so many look-ups in a row that fail or are late: down
    duration probe_every = std::chrono::seconds(1);
    duration probe_at_most = std::chrono::seconds(10);  ///< twice as long after each failed probe
};
static_assert(std::is_trivially_destructible_v<health_policy>);

namespace detail {

/// The decisions alone: no clock, no I/O. Thread-safe.
class level_health {
public:
    enum class turn : std::uint8_t { use, skip, probe };
    /// Leave to look, or not; `era` tells results from before a change of state from those after.
    struct permit {
        turn what = turn::skip;
        std::uint64_t era = 0;
    };

    explicit level_health(health_policy policy)
        : policy_(policy), pause_(std::max(policy.probe_every, duration(1))) {}

    level_state state() const {
        const std::lock_guard lock(mutex_);
        return state_;
    }
    bool up() const { return state() == level_state::up; }

    /// Who gets `probe` is the only one, and says how it went by one of the three below.
    permit ask(time_point now) {
        const std::lock_guard lock(mutex_);
        if (state_ == level_state::up) return {turn::use, era_};
        if (state_ == level_state::probing || now < next_) return {turn::skip, era_};
        state_ = level_state::probing;
        next_ = after(now, pause_);
        return {turn::probe, era_};
    }
    void succeeded(const permit& with) {
        const std::lock_guard lock(mutex_);
        if (with.era != era_) return;
        failures_ = 0;
        if (with.what != turn::probe) return;
        pause_ = std::max(policy_.probe_every, duration(1));
        change(level_state::up);
    }
    void failed(const permit& with, time_point now) {
        const std::lock_guard lock(mutex_);
        if (with.era != era_) return;
        if (with.what == turn::probe) {
            pause_ = std::max(pause_, std::min(2 * pause_, policy_.probe_at_most));
        } else if (++failures_ < policy_.failures) {
            return;
        }
        next_ = after(now, pause_);
        change(level_state::down);
    }
    /// A probe that told nothing: the next one comes when it would have come anyway.
    void abandoned(const permit& with) {
        const std::lock_guard lock(mutex_);
        if (with.era == era_ && with.what == turn::probe) change(level_state::down);
    }

private:
    void change(level_state to) {
        state_ = to;
        failures_ = 0;
        ++era_;
    }

    const health_policy policy_;
    mutable std::mutex mutex_;
    level_state state_ = level_state::up;
    std::uint64_t era_ = 0;
    std::size_t failures_ = 0;
    duration pause_;
    time_point next_{};
};

}  // namespace detail

}  // namespace llmkit
