// llmkit/testing/scripted_stream.hpp: the events of a scripted answer, each at its time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/timed_out.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/testing/scripted_answer.hpp>

namespace llmkit::testing {

/// What a scripted service counted. A call counts as in flight until its answer has ended.
struct scripted_counts {
    std::size_t begun = 0;
    std::size_t ended = 0;      ///< answered to the end, failed, or ran into a limit
    std::size_t cancelled = 0;  ///< the caller went away first
    std::size_t in_flight = 0;
    std::size_t max_in_flight = 0;
};

/// The counts with their lock, shared by a service and its streams.
class scripted_tally {
public:
    void begin() {
        std::lock_guard lock(mutex_);
        ++counts_.begun;
        ++counts_.in_flight;
        counts_.max_in_flight = std::max(counts_.max_in_flight, counts_.in_flight);
    }
    void end(bool cancelled) {
        std::lock_guard lock(mutex_);
        --counts_.in_flight;
        ++(cancelled ? counts_.cancelled : counts_.ended);
    }
    scripted_counts counts() const {
        std::lock_guard lock(mutex_);
        return counts_;
    }

private:
    mutable std::mutex mutex_;
    scripted_counts counts_;
};

/// One call in flight: counted once at its beginning and once at its end.
class scripted_call {
public:
    explicit scripted_call(std::shared_ptr<scripted_tally> in) : tally_(std::move(in)) {
        tally_->begin();
    }
    scripted_call(const scripted_call&) = delete;
    scripted_call& operator=(const scripted_call&) = delete;
    ~scripted_call() {
        if (!over_.exchange(true)) tally_->end(true);
    }
    void end() {
        if (!over_.exchange(true)) tally_->end(false);
    }
    /// A limit passed, perhaps while nobody read: what is held is given back now.
    void expire(expiry why) {
        std::lock_guard lock(mutex_);
        if (!expired_) expired_ = why;
        end();
    }
    std::optional<expiry> expired() const {
        std::lock_guard lock(mutex_);
        return expired_;
    }

private:
    std::shared_ptr<scripted_tally> tally_;
    std::atomic<bool> over_{false};
    mutable std::mutex mutex_;
    std::optional<expiry> expired_;
};

/// Waits until `due`, but no longer than the call's deadline and `part` allow; an error when one of
/// those came first. `missing` names what did not come.
inline task<std::optional<error>> scripted_wait(clock_handle time, request ask, time_point sent,
                                                time_point due, time_point part, duration part_span,
                                                std::string missing) {
    std::optional<error> none;
    for (;;) {
        const time_point now = time.now();
        if (now >= due) co_return none;
        const time_point deadline = ask.options().deadline.effective();
        if (now >= deadline) co_return timed_out("complete answer", deadline - sent);
        if (now >= part) co_return timed_out(missing, part_span);
        limit until = ask.wait_limit(now).earliest(std::min(due, part));
        if (co_await sleep_until(time, until) == woke::by_close) co_return closed_meanwhile();
    }
}

/// Brings each event at its time, counted from the head: a slow reader finds the late ones ready.
class scripted_stream final : public stream_source {
public:
    scripted_stream(clock_handle time, request ask, time_point sent, scripted_answer script,
                    std::shared_ptr<scripted_call> counted, provenance how)
        : time_(time),
          ask_(std::move(ask)),
          sent_(sent),
          script_(std::move(script)),
          events_(script_.stream(ask_.options().metered)),
          call_(std::move(counted)),
          came_by_(std::move(how)),
          due_(after(time.now(), script_.first_after_)),
          arrived_(time.now()),
          cutoff_(std::move(time), ask_.wait_limit(sent), cut(call_)) {}

    task<stream_item> next() override {
        const auto& options = ask_.options();
        const bool first = next_ == 0;
        const time_point part = first ? llmkit::after(sent_, options.first_event)
                                      : llmkit::after(arrived_, options.idle);
        if (auto why = call_->expired()) co_return fail(expired(*why));
        const time_point due = stalled() ? time_point::max() : due_;
        auto wrong = co_await scripted_wait(time_, ask_, sent_, due, part,
                                            first ? options.first_event : options.idle,
                                            first ? "first event" : "further event");
        if (wrong) co_return fail(*wrong);
        stream_item item;
        take(item);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        if (!ready() || call_->expired()) return false;
        take(into);
        return true;
    }
    bool ready() const override { return !stalled() && time_.now() >= due_; }

private:
    struct cut {
        explicit cut(std::shared_ptr<scripted_call> which) : call(std::move(which)) {}
        void operator()(expiry why) { call->expire(why); }
        std::shared_ptr<scripted_call> call;
    };
    bool stalled() const {
        return script_.stall_at_ && next_ >= script_.bare_ + *script_.stall_at_;
    }
    bool failing() const {
        if (script_.failure_at_) return next_ >= script_.bare_ + *script_.failure_at_;
        return next_ >= events_.size();
    }
    error expired(expiry why) const {
        if (why == expiry::closed) return closed_meanwhile();
        return timed_out("complete answer", ask_.options().deadline.effective() - sent_);
    }
    /// What is due.
    void take(stream_item& into) {
        if (failing()) {
            into = fail(*script_.failure_);
            return;
        }
        arrived_ = due_;
        due_ = llmkit::after(due_, script_.every_);
        into = events_[next_++];
        if (into->facts().last) call_->end();
    }
    stream_item fail(error why) {
        call_->end();
        return why.with_provenance(came_by_);
    }

    clock_handle time_;
    request ask_;
    time_point sent_;
    scripted_answer script_;
    std::vector<event> events_;
    std::shared_ptr<scripted_call> call_;
    provenance came_by_;
    time_point due_;      // of the next event
    time_point arrived_;  // when the last one did
    std::size_t next_ = 0;
    cutoff<cut> cutoff_;
};

}  // namespace llmkit::testing
