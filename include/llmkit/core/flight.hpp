// llmkit/core/flight.hpp: one upstream call that many callers read, each at his own pace.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
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

namespace llmkit {

/// How far a flight runs ahead of its readers and how much of it is kept for late ones.
struct flight_policy {
    std::size_t window = 16;  ///< events pulled ahead of the foremost reader
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
/// `log_bytes` and one event. The reader in front loses nothing, however small that is.
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
            of_->end(error(error_kind::closed, "the shared call was stopped before it had ended"));
        }

    private:
        std::shared_ptr<flight> of_;
    };

    static task<void> pump(std::shared_ptr<flight> self, task<result<response>> work) {
        pump_guard guard(self);
        std::optional<error> broken;
        try {
            co_await pump_all(self.get(), std::move(work));
        } catch (const asio::system_error& failure) {
            if (is_cancellation(failure)) throw;  // the guard tells the readers
            broken = error(error_kind::internal, failure.what());
        } catch (const std::exception& failure) {
            broken = error(error_kind::internal, failure.what());
        }
        if (broken) self->end(*broken);
    }
    static task<void> pump_all(flight* self, task<result<response>> work) {
        auto answer = co_await std::move(work);
        if (!answer) {
            self->end(answer.error());
            co_return;
        }
        if (answer->events().single()) {
            auto only = co_await answer->events().next();
            self->publish_whole(std::move(answer->head()), std::move(*only));
            co_return;
        }
        self->publish_head(answer->head());
        const auto source = std::make_shared<response>(std::move(*answer));
        for (then what = then::pull; what != then::stop;) {
            stream_item item;
            if (what == then::rest) co_await self->rest(source);
            if (self->ended()) co_return;
            if (!source->events().try_next(item)) item = co_await source->events().next();
            what = self->keep(std::move(item), source->events().ended());
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
        return dropped_ + log_.size() >= furthest_ + policy_.window ||
               (ahead_ > 0 && ahead_ >= policy_.log_bytes);
    }
    bool ended() {
        std::lock_guard lock(mutex_);
        return ended_;
    }
    /// For a reader who has read all, under `lock`: takes one more event from a source that rests,
    /// if it has one at hand, or else wakes the pump. True when there is news.
    bool pull(std::unique_lock<std::mutex>& lock) {
        auto source = std::exchange(resting_, nullptr);
        if (!source) return false;
        lock.unlock();  // taps and destructors may do anything
        bool found = true;
        then what = then::pull;
        try {
            stream_item item;
            found = source->events().try_next(item);
            if (found) what = keep(std::move(item), source->events().ended());
        } catch (const std::exception& failure) {
            end(error(error_kind::internal, failure.what()));
            what = then::stop;
        }
        wakeup pump;
        lock.lock();
        if (found && what != then::stop && !ended_) {
            resting_ = std::move(source);
            return true;
        }
        pump = wanted_.ring_one();
        lock.unlock();
        pump.fire();
        source.reset();
        lock.lock();
        return found;
    }
    void publish_head(response_head head) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex_);
        head_ = std::move(head);
        woken = news_.ring_all();
    }
    void publish_whole(response_head head, event only) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex_);
        head_ = std::move(head);
        log_.push_back(std::move(only));
        ended_ = true;
        woken = news_.ring_all();
    }
    /// Puts what was pulled into the log, unless the flight has ended meanwhile.
    then keep(stream_item item, bool last) {
        if (!item) {
            end(item.failed() ? std::optional(item.error()) : std::nullopt);
            return then::stop;
        }
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex_);
        if (ended_) return then::stop;
        logged_ += weight(*item);
        ahead_ += weight(*item);
        log_.push_back(std::move(*item));
        while (logged_ > policy_.log_bytes && dropped_ < furthest_) {
            logged_ -= weight(log_.front());
            log_.pop_front();
            ++dropped_;
        }
        ended_ = last;
        woken = news_.ring_all();
        if (last) return then::stop;
        return far_ahead() ? then::rest : then::pull;
    }
    /// An event without data takes room, too.
    static std::size_t weight(const event& one) {
        return sizeof(event) + one.data().size() + one.name().size();
    }
    void end(std::optional<error> why) {
        std::shared_ptr<response> dropped;
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex_);
        dropped = std::move(resting_);
        if (ended_) return;
        ended_ = true;
        failure_ = std::move(why);
        woken = news_.ring_all();
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
    std::deque<event> log_;
    std::size_t dropped_ = 0;   // events no longer in the log
    std::size_t logged_ = 0;    // bytes of the log
    std::size_t ahead_ = 0;     // of these, what the foremost reader has not taken
    std::size_t furthest_ = 0;  // events the foremost reader has taken
    std::size_t seats_ = 0;
    bool ended_ = false;
    std::optional<error> failure_;
    std::atomic<bool> claimed_{false};
    std::shared_ptr<const void> pin_;
};

/// A place in a flight. Move-only; letting go of it leaves the flight.
class flight_seat {
public:
    flight_seat() = default;
    explicit flight_seat(std::shared_ptr<flight> taken) : flight_(std::move(taken)) {}
    flight_seat(flight_seat&&) noexcept = default;
    flight_seat& operator=(flight_seat&& other) noexcept {
        if (this != &other) {
            leave();
            flight_ = std::move(other.flight_);
        }
        return *this;
    }
    ~flight_seat() { leave(); }

    const std::shared_ptr<flight>& shared() const { return flight_; }

    /// Waits for the head, then gives the answer from its first event on; `until` is this
    /// reader's own limit, also for every event. The seat goes with the answer.
    static task<result<response>> answer(flight_seat seat, limit until);

private:
    void leave() {
        if (auto left = std::move(flight_)) left->leave();
    }
    std::shared_ptr<flight> flight_;
};

/// The right to store what a flight brought; keeps a seat, so that newcomers still find it.
class flight_claim final : public answer_claim {
public:
    explicit flight_claim(flight_seat seat) : seat_(std::move(seat)) {}
    bool take() override { return !seat_.shared()->claimed_.exchange(true); }

private:
    flight_seat seat_;
};

/// Reads a flight's log.
class flight_reader final : public stream_source {
public:
    flight_reader(flight_seat seat, limit until) : seat_(std::move(seat)), until_(until) {}

    task<stream_item> next() override {
        flight& from = *seat_.shared();
        stream_item item;
        std::unique_lock lock(from.mutex_);
        while (!take_or_pull(lock, item)) {
            if (news()) continue;
            const auto why = co_await wait(lock, from.news_, from.time_, until_);
            if (why != woke::by_bell) co_return flight_limit(why);
        }
        co_return item;
    }
    bool try_next(stream_item& into) override {
        std::unique_lock lock(seat_.shared()->mutex_);
        return take_or_pull(lock, into);
    }
    bool ready() const override {
        const flight& from = *seat_.shared();
        std::lock_guard lock(from.mutex_);
        return news() || (from.resting_ && from.resting_->events().ready());
    }

    static error flight_limit(woke why) {
        return why == woke::by_close
                   ? error(error_kind::closed, "the pipeline was closed during this call")
                   : error(error_kind::timeout,
                           "the call's limit passed while it shared another's");
    }

private:
    /// The log has something for this reader. Under the flight's mutex, like `take`.
    bool news() const {
        const flight& from = *seat_.shared();
        return from.ended_ || next_ < from.dropped_ + from.log_.size();
    }
    bool take_or_pull(std::unique_lock<std::mutex>& lock, stream_item& into) {
        flight& from = *seat_.shared();
        if (take(into)) return true;
        const time_point last = until_.effective();
        if (last != time_point::max() && from.time_.now() >= last) return false;
        return from.pull(lock) && take(into);
    }
    bool take(stream_item& into) {
        flight& from = *seat_.shared();
        if (!news()) return false;
        if (next_ < from.dropped_) {
            into = error(error_kind::too_slow,
                         "this reader fell behind what the shared answer's log can hold");
        } else if (next_ < from.dropped_ + from.log_.size()) {
            into = from.log_[next_ - from.dropped_];
            if (++next_ > from.furthest_) {
                from.furthest_ = next_;
                from.ahead_ -= flight::weight(*into);
            }
        } else {
            into = from.failure_ ? stream_item(*from.failure_) : stream_item();
        }
        return true;
    }

    flight_seat seat_;
    limit until_;
    std::size_t next_ = 0;
};

inline flight_seat flight::prepare(const clock_handle& time, flight_policy policy) {
    auto made = std::make_shared<flight>(time, policy);
    made->seats_ = 1;
    return flight_seat(std::move(made));
}

inline std::optional<flight_seat> flight::join() {
    std::lock_guard lock(mutex_);
    if (seats_ == 0 || dropped_ > 0 || (ended_ && failure_)) return std::nullopt;
    ++seats_;
    return flight_seat(shared_from_this());
}

inline task<result<response>> flight_seat::answer(flight_seat seat, limit until) {
    flight& from = *seat.shared();
    std::unique_lock lock(from.mutex_);
    while (!from.head_ && !from.ended_) {
        const auto why = co_await wait(lock, from.news_, from.time_, until);
        if (why != woke::by_bell) co_return flight_reader::flight_limit(why);
    }
    if (!from.head_) {
        const error why = from.failure_.value_or(error(error_kind::internal, "no answer came"));
        co_return why;
    }
    response_head head = *from.head_;
    // A whole answer that is there already needs no reader.
    const bool whole = from.ended_ && !from.failure_ && from.dropped_ == 0 && from.log_.size() == 1;
    if (whole && from.log_.front().facts().last) {
        event only = from.log_.front();
        lock.unlock();
        head.claim = std::make_shared<flight_claim>(std::move(seat));
        co_return response(std::move(head), event_stream(std::move(only)));
    }
    ++from.seats_;
    lock.unlock();
    head.claim = std::make_shared<flight_claim>(flight_seat(seat.shared()));
    auto reader = std::make_unique<flight_reader>(std::move(seat), until);
    co_return response(std::move(head), event_stream(std::move(reader)));
}

}  // namespace llmkit
