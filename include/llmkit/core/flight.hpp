// llmkit/core/flight.hpp: one upstream call that many callers read, each at his own pace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/flight_pump.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

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
        stream_item item;
        if (take_own(item)) co_return item;
        flight& from = *seat_.shared();
        std::unique_lock lock(from.mutex_);
        while (!take_or_pull(lock, item)) {
            if (news()) continue;
            detail::parking parked(lock, from.news_, from.time_.timers());
            const auto rung = co_await parked.begin(until_);
            const woke why = parked.end(rung);
            if (why != woke::by_bell) co_return flight_limit(why);
        }
        co_return item;
    }
    bool try_next(stream_item& into) override {
        if (take_own(into)) return true;
        std::unique_lock lock(seat_.shared()->mutex_);
        return take_or_pull(lock, into);
    }
    bool ready() const override {
        if (given_ < own_.size()) return true;
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
    bool take_own(stream_item& into) {
        if (given_ == own_.size()) return false;
        into = std::move(own_[given_++]);
        return true;
    }
    /// The log has something for this reader. Under the flight's mutex, like `take`.
    bool news() const {
        const flight& from = *seat_.shared();
        return from.ended_ || next_ < from.log_.end();
    }
    bool take_or_pull(std::unique_lock<std::mutex>& lock, stream_item& into) {
        flight& from = *seat_.shared();
        if (take(into)) return true;
        const time_point last = until_.effective();
        if (last != time_point::max() && from.time_.now() >= last) return false;
        given_ = 0;
        own_.clear();
        if (!from.pull(lock, own_)) return false;
        next_ += own_.size();
        return take_own(into) || take(into);
    }
    bool take(stream_item& into) {
        const flight& from = *seat_.shared();
        if (!news()) return false;
        if (next_ < from.log_.first()) {
            into = error(error_kind::too_slow,
                         "this reader fell behind what the shared answer's log can hold");
        } else if (next_ + 1 == from.log_.end()) {
            into = take_from_log(*seat_.shared());
        } else if (next_ < from.log_.end()) {
            refill(*seat_.shared());
            take_own(into);
        } else {
            into = from.failure_ ? stream_item(*from.failure_) : stream_item();
        }
        return true;
    }
    /// A few events at a time: fewer locks, and hardly more memory.
    void refill(flight& from) {
        own_.clear();
        given_ = 0;
        std::size_t bytes = 0;
        const std::size_t end =
            std::min(from.log_.end(), next_ + std::max<std::size_t>(from.policy_.window, 1));
        while (next_ < end && bytes < detail::own_bytes) {
            own_.push_back(take_from_log(from));
            bytes += detail::kept_bytes(own_.back());
        }
    }
    const event& take_from_log(flight& from) {
        const event& one = from.log_[next_];
        if (next_ >= from.furthest_) {
            from.ahead_ -= detail::kept_bytes(one);
            from.furthest_ = next_ + 1;
        }
        ++next_;
        return one;
    }

    flight_seat seat_;
    limit until_;
    std::size_t next_ = 0;    // in the log
    std::vector<event> own_;  // taken from it
    std::size_t given_ = 0;   // of these, already read
};

inline flight_seat flight::prepare(const clock_handle& time, flight_policy policy) {
    auto made = detail::make_pooled<flight>(time, policy);
    made->seats_ = 1;
    return flight_seat(std::move(made));
}

inline std::optional<flight_seat> flight::join() {
    std::lock_guard lock(mutex_);
    if (seats_ == 0 || log_.first() > 0 || (ended_ && failure_)) return std::nullopt;
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
    const bool whole =
        from.ended_ && !from.failure_ && from.log_.first() == 0 && from.log_.size() == 1;
    if (whole && from.log_[0].facts().last) {
        event only = from.log_[0];
        lock.unlock();
        head.claim = detail::make_pooled<flight_claim>(std::move(seat));
        co_return response(std::move(head), event_stream(std::move(only)));
    }
    ++from.seats_;
    lock.unlock();
    head.claim = detail::make_pooled<flight_claim>(flight_seat(seat.shared()));
    auto reader = std::make_unique<flight_reader>(std::move(seat), until);
    co_return response(std::move(head), event_stream(std::move(reader)));
}

}  // namespace llmkit
