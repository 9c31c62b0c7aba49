// llmkit/cache/level_call.hpp: one call to a level of a tiered cache, in its time, and its judgement.
#pragma once

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/cache/level.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/detail/stop_if_cancelled.hpp>

namespace llmkit::detail {

/// Keeps what a task stands on, for one that is left behind.
template <class T>
task<T> standing_on(std::shared_ptr<const void>, task<T> work) {
    co_return co_await std::move(work);
}

/// What a level answers: also an error when it throws and, where that is enforced, when it does not
/// end by its limit. Throws only when the caller is cancelled. `ground` keeps the level alive.
template <class T>
task<T> level_answer(std::shared_ptr<const void> ground, bool enforced, clock_handle time,
                     limit until, task<T> work) {
    std::optional<T> answer;
    std::string why = "the store of a cache did not end by its limit";
    error_kind kind = error_kind::timeout;
    try {
        if (enforced) {
            child<T> beside(time, standing_on(std::move(ground), std::move(work)));
            const bool ended = co_await beside.finished_by(until);
            if (ended) answer.emplace(co_await beside.join());
        } else {
            answer.emplace(co_await std::move(work));
        }
    } catch (const std::exception& thrown) {
        why = thrown.what();
        kind = error_kind::internal;
    }
    co_await stop_if_cancelled();
    if (!answer) answer.emplace(error(kind, std::move(why)));
    co_return std::move(*answer);
}

/// One call under way, for the level's figures.
class level_call {
public:
    /// Who was given less than this is not blamed for being late: the caller had no time.
    static constexpr duration fair_time = std::chrono::milliseconds(10);

    level_call(any_level& level, time_point began, duration most, const limit& until)
        : level_(level), began_(began), most_(most), until_(until) {}

    enum class verdict { fine, failed, none };

    /// Counts how it went. A late answer is used, but counts as a failure.
    verdict ended(time_point now, const error* failed) const {
        const duration took = now - began_;
        if (!failed && took <= most_) return verdict::fine;
        if (failed && failed->kind() == error_kind::closed) return verdict::none;
        const time_point end = until_.effective();
        const bool late = !failed || failed->kind() == error_kind::timeout || now >= end;
        if (!late) {
            level_counts::add(level_.counts.errors);
            // Of a server that refuses one key it can be said that it answers.
            return failed->kind() == error_kind::invalid_request ? verdict::fine : verdict::failed;
        }
        if (failed && end - began_ < std::min(most_, fair_time)) return verdict::none;
        level_counts::add(level_.counts.timeouts);
        return verdict::failed;
    }
    /// The same for a look-up, which also decides whether the level is up.
    void looked_up(const level_health::permit& with, time_point now, const error* failed) const {
        level_.counts.latency.record(now - began_);
        const verdict how = ended(now, failed);
        if (how == verdict::fine) level_.health.succeeded(with);
        if (how == verdict::failed) level_.health.failed(with, now);
        if (how == verdict::none) level_.health.abandoned(with);
    }

private:
    any_level& level_;
    const time_point began_;
    const duration most_;
    const limit until_;
};

/// A look-up beside the calls that finds out whether a level is up again.
class level_probe {
public:
    /// Begins it; `ground` keeps the level alive.
    static void start(std::shared_ptr<const void> ground, any_level& level, key128 key,
                      const level_health::permit& with, const clock_handle& time) {
        turn mine(level, with);
        try {
            child<void> beside(time, run(std::move(ground), std::move(mine), key, time));
            beside.detach();
        } catch (const asio::system_error&) {
            // The context is going down, and whoever asked with it.
        }
    }

private:
    /// The right to probe, given up when the probe's frame is destroyed before it told anything.
    class turn {
    public:
        turn(any_level& level, const level_health::permit& with) : level_(&level), with_(with) {}
        turn(turn&& other) noexcept
            : level_(std::exchange(other.level_, nullptr)), with_(other.with_) {}
        turn& operator=(turn&&) = delete;
        ~turn() {
            if (level_) level_->health.abandoned(with_);
        }
        any_level& level() const { return *level_; }
        const level_health::permit& permit() const { return with_; }

    private:
        any_level* level_;
        level_health::permit with_;
    };

    // `ground` comes first, so that it goes last.
    static task<void> run(std::shared_ptr<const void> ground, turn mine, key128 key,
                          clock_handle time) {
        any_level& level = mine.level();
        const time_point began = time.now();
        limit until;
        until.until = after(began, level.policy.limit);
        const level_call call(level, began, level.policy.limit, until);
        level_counts::add(level.counts.probes);
        auto found = co_await level_answer(ground, level.policy.enforced, time, until,
                                           level.find(key, began, until));
        call.looked_up(mine.permit(), time.now(), found ? nullptr : &found.error());
    }
};

}  // namespace llmkit::detail
