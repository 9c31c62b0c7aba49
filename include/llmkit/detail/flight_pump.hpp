// llmkit/detail/flight_pump.hpp: the machine of a shared call: who pulls, what is kept for whom.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/child.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/core/wakeups.hpp>
#include <llmkit/detail/event_haul.hpp>
#include <llmkit/detail/event_log.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

/// How far a flight runs ahead of its readers and how much of it is kept for late ones.
struct flight_policy {
    /// Events pulled ahead of the foremost reader, who takes up to as many at once.
    std::size_t window = 16;
    /// Kept for joiners and slow readers: data, names, and `sizeof(event)` for each event. What the
    /// foremost reader has not read yet stays in any case; nothing is pulled beyond the bound.
    std::size_t log_bytes = 4 * 1024 * 1024;
};
static_assert(std::is_trivially_destructible_v<flight_policy>);

class flight_seat;

/// One call in flight, shared. A pump (a coroutine on a lane of its own) pulls the answer into a
/// log as the foremost reader asks for it; every reader holds a seat and reads the log from its
/// beginning. When the last seat goes, the call is cancelled. Thread-safe.
///
/// Once the log has dropped anything, nobody more can join, and a reader who was left behind gets
/// an error of kind `too_slow`: a slow reader never stalls the others and never costs more than
/// `log_bytes` and what he has taken, 64 KiB and one event. The reader in front loses nothing,
/// however small that is.
///
/// A reader may go on when the context has gone down, and finds the call ended. While it goes down
/// nobody may read on a thread of his own: he might wake the pump, which is posted there.
class flight : public std::enable_shared_from_this<flight> {
public:
    /// Makes a flight and gives its first seat; `launch` starts the call.
    static flight_seat prepare(const clock_handle& time, flight_policy policy);

    /// Starts the call. Once.
    void launch(task<result<response>> work) {
        child<void> started(time_, pump(shared_from_this(), std::move(work)));
        std::lock_guard lock(mutex_);
        // The seats may all have gone meanwhile; then `started` is cancelled right here.
        if (seats_ > 0) pump_.emplace(std::move(started));
    }

    /// A seat for one more reader, or null when it is too late for the whole answer.
    std::optional<flight_seat> join();

    /// The limit of the shared call, in nanoseconds of the clock: the latest of all who joined.
    const std::atomic<duration::rep>& until() const { return until_; }
    void extend(time_point later) {
        const auto wanted = later.time_since_epoch().count();
        auto current = until_.load(std::memory_order_relaxed);
        while (current < wanted && !until_.compare_exchange_weak(current, wanted)) {
        }
    }

    /// Keeps `what` until the flight has gone: nobody reads it or may join it any more. Before
    /// `launch`.
    void pin(std::shared_ptr<const void> what) { pin_ = std::move(what); }

    flight(clock_handle time, flight_policy policy) : time_(std::move(time)), policy_(policy) {}

private:
    friend class flight_seat;
    friend class flight_reader;
    friend class flight_claim;

    /// What the pump does next.
    enum class then : std::uint8_t { pull, rest, stop };

    /// Tells the readers when the pump's frame is destroyed before it has said how it ended.
    class pump_guard {
    public:
        explicit pump_guard(std::shared_ptr<flight> of) : of_(std::move(of)) {}
        pump_guard(const pump_guard&) = delete;
        pump_guard& operator=(const pump_guard&) = delete;
        ~pump_guard() {
            if (of_->ended()) return;  // the usual case makes no error
            of_->end(error(error_kind::closed, "the shared call was stopped before it had ended"));
        }

    private:
        std::shared_ptr<flight> of_;
    };

    static task<void> pump(std::shared_ptr<flight> self, task<result<response>> work) {
        pump_guard guard(self);
        try {
            auto answer = co_await std::move(work);
            if (!answer) {
                self->end(answer.error());
            } else if (answer->events().single()) {
                auto only = co_await answer->events().next();
                self->publish_whole(std::move(answer->head()), std::move(*only));
            } else {
                self->publish_head(answer->head());
                co_await self->pump_events(std::make_shared<response>(std::move(*answer)));
            }
        } catch (const asio::system_error& failure) {
            if (is_cancellation(failure)) throw;  // the guard tells the readers
            self->end(error(error_kind::internal, failure.what()));
        } catch (const std::exception& failure) {
            self->end(error(error_kind::internal, failure.what()));
        }
    }
    task<void> pump_events(std::shared_ptr<response> source) {
        for (then what = then::pull; what != then::stop;) {
            if (what == then::rest) co_await rest(source);
            detail::event_haul found = room();
            if (!found.wanted()) co_return;
            found.take_at_hand(source->events());
            if (found.empty()) {
                auto item = co_await source->events().next();
                found.add(std::move(item), source->events().ended());
            }
            what = keep(std::move(found));
        }
    }

    /// Lets the readers pull, until one of them finds that it would have to wait.
    task<void> rest(std::shared_ptr<response> source) {
        std::unique_lock lock(mutex_);
        if (!far_ahead() || ended_) co_return;
        resting_ = std::move(source);
        co_await llmkit::wait(lock, wanted_, time_, limit());
    }
    bool far_ahead() const {
        return log_.end() >= furthest_ + policy_.window ||
               (ahead_ > 0 && ahead_ >= policy_.log_bytes);
    }

    bool ended() const {
        std::lock_guard lock(mutex_);
        return ended_;
    }
    /// How much may be pulled: at least one event, unless the flight has ended.
    detail::event_haul room() {
        std::lock_guard lock(mutex_);
        return room_left(policy_.log_bytes);
    }
    detail::event_haul room_left(std::size_t most_bytes) const {
        if (ended_) return detail::event_haul();
        const std::size_t ahead = log_.end() - furthest_;
        const std::size_t bytes = ahead_ < policy_.log_bytes ? policy_.log_bytes - ahead_ : 1;
        return detail::event_haul(ahead < policy_.window ? policy_.window - ahead : 1,
                                  std::min(bytes, most_bytes));
    }

    /// For a reader who has read all, under `lock`: takes what a source that rests has at hand, also
    /// into `own`, or else wakes the pump. True when there is news.
    bool pull(std::unique_lock<std::mutex>& lock, std::vector<event>& own) {
        auto source = std::exchange(resting_, nullptr);
        if (!source) return false;
        detail::event_haul found = room_left(detail::own_bytes);
        lock.unlock();  // taps and destructors may do anything
        try {
            found.events().swap(own);
            found.take_at_hand(source->events());
        } catch (const std::exception& failure) {
            found.fail(failure);
        }
        const bool any = !found.empty();
        const bool dry = !found.full();
        wakeups woken;
        lock.lock();
        if (keep(found, true, woken) != then::stop && !dry) {
            resting_ = std::move(source);
        } else {
            woken.ring_one(wanted_);
        }
        found.events().swap(own);
        if (!woken.empty()) {
            lock.unlock();
            woken.fire();
            source.reset();
            lock.lock();
        }
        return any;
    }
    void publish_head(response_head head) {
        wakeups woken;
        std::lock_guard lock(mutex_);
        head_ = std::move(head);
        woken.ring_all(news_);
    }
    void publish_whole(response_head head, event only) {
        wakeups woken;
        std::lock_guard lock(mutex_);
        head_ = std::move(head);
        log_.push(std::move(only));
        ended_ = true;
        woken.ring_all(news_);
    }
    /// Puts what was pulled into the log, unless the flight has ended meanwhile.
    then keep(detail::event_haul found) {
        wakeups woken;
        std::lock_guard lock(mutex_);
        return keep(found, false, woken);
    }
    /// `taken`: by the foremost reader, who keeps what he has pulled himself.
    then keep(detail::event_haul& found, bool taken, wakeups& woken) {
        if (ended_) {
            found.events().clear();
            return then::stop;
        }
        for (event& one : found.events()) {
            if (!taken) ahead_ += detail::kept_bytes(one);
            log_.push(taken ? one : std::move(one));
        }
        if (taken) furthest_ = log_.end();
        while (log_.bytes() > policy_.log_bytes && log_.first() < furthest_) log_.drop_first();
        ended_ = found.ended();
        failure_ = std::move(found.failure());
        woken.ring_all(news_);
        if (ended_) return then::stop;
        return far_ahead() ? then::rest : then::pull;
    }
    void end(std::optional<error> why) {
        std::shared_ptr<response> dropped;
        wakeups woken;
        std::lock_guard lock(mutex_);
        dropped = std::move(resting_);
        if (ended_) return;
        ended_ = true;
        failure_ = std::move(why);
        woken.ring_all(news_);
    }

    void leave() {
        std::optional<child<void>> cancelled;
        std::lock_guard lock(mutex_);
        if (--seats_ > 0) return;
        cancelled.swap(pump_);
        if (cancelled && ended_) cancelled->detach();  // it is about to end by itself
    }

    clock_handle time_;
    flight_policy policy_;
    std::atomic<duration::rep> until_{time_point::min().time_since_epoch().count()};

    mutable std::mutex mutex_;
    bell news_;                          // readers wait here for head, events and the end
    bell wanted_;                        // the pump rests here until a reader would have to wait
    std::shared_ptr<response> resting_;  // while the pump rests: readers may pull
    std::optional<child<void>> pump_;
    std::optional<response_head> head_;
    detail::event_log log_;
    std::size_t ahead_ = 0;     // bytes of the log that the foremost reader has not taken
    std::size_t furthest_ = 0;  // events the foremost reader has taken
    std::size_t seats_ = 0;
    bool ended_ = false;
    std::optional<error> failure_;
    std::atomic<bool> claimed_{false};
    std::shared_ptr<const void> pin_;
};

}  // namespace llmkit
