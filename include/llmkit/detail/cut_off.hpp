// llmkit/detail/cut_off.hpp: limits around work that knows of none.
#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/child.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/timed_out.hpp>

namespace llmkit::detail {

/// A foreign task whose exceptions, but for cancellation, are errors.
template <class T>
task<T> guarded(task<T> work) {
    std::optional<error> broken;
    try {
        co_return co_await std::move(work);
    } catch (const asio::system_error& failure) {
        if (is_cancellation(failure)) throw;
        broken = error(error_kind::internal, failure.what());
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& failure) {
        broken = error(error_kind::internal, failure.what());
    }
    co_return T(*broken);
}

/// Runs `work` beside the caller, at most until the call's deadline or `part`. Letting go of the
/// child cancels the work; what it holds lives until it notices.
template <class T>
task<T> cut_off(clock_handle time, request ask, time_point sent, time_point part,
                duration part_span, std::string missing, task<T> work) {
    child<T> beside(time, guarded(std::move(work)));
    const bool ended = co_await beside.finished_by(ask.wait_limit(time.now()).earliest(part));
    if (ended) co_return co_await beside.join();
    const time_point deadline = ask.options().deadline.effective();
    if (time.now() >= deadline) co_return T(timed_out("complete answer", deadline - sent));
    if (time.now() >= part) co_return T(timed_out(missing, part_span));
    co_return T(closed_meanwhile());
}

/// A foreign stream that either its reader or a cutoff may take.
class shared_pull {
public:
    explicit shared_pull(event_stream from) : from_(std::move(from)) {}

    /// As `event_stream::try_next`; what it throws is an error like what `guarded` catches.
    bool try_next(stream_item& into) {
        const turn mine(*this);
        if (!mine) return false;
        try {
            return from_.try_next(into);
        } catch (const std::bad_alloc&) {
            throw;
        } catch (const std::exception& failure) {
            into = error(error_kind::internal, failure.what());
            return true;
        }
    }
    bool ready() {
        std::lock_guard lock(mutex_);
        return dropped_ || (!pulling_ && from_.ready());
    }
    /// A limit passed: frees the stream, or leaves that to the reader who is at it.
    void drop(expiry why) {
        event_stream freed;
        std::lock_guard lock(mutex_);
        if (dropped_) return;
        late_ = why;
        if (!pulling_) freed = take_away();
    }
    std::optional<expiry> dropped() {
        std::lock_guard lock(mutex_);
        return dropped_;
    }

    static task<stream_item> next(std::shared_ptr<shared_pull> self) {
        const turn mine(*self);
        stream_item item;
        if (mine) {
            item = co_await self->from_.next();
        } else if (!self->dropped()) {
            item = error(error_kind::internal, "an earlier read of this stream is still under way");
        }
        co_return item;
    }

private:
    /// The right to pull. False when the cutoff came first, or somebody pulls already.
    class turn {
    public:
        explicit turn(shared_pull& of) : of_(of.begin() ? &of : nullptr) {}
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;
        ~turn() {
            if (of_) of_->end();
        }
        explicit operator bool() const { return of_ != nullptr; }

    private:
        shared_pull* of_;
    };
    bool begin() {
        std::lock_guard lock(mutex_);
        if (dropped_ || pulling_) return false;
        return pulling_ = true;
    }
    void end() {
        event_stream freed;
        std::lock_guard lock(mutex_);
        pulling_ = false;
        if (late_) freed = take_away();
    }
    event_stream take_away() {
        dropped_ = late_;
        return std::move(from_);
    }

    std::mutex mutex_;
    event_stream from_;
    bool pulling_ = false;
    std::optional<expiry> late_;     // a limit has passed
    std::optional<expiry> dropped_;  // and the stream is gone
};

/// The events of a foreign service, each within the call's limits.
class enforced_stream final : public stream_source {
public:
    enforced_stream(clock_handle time, request ask, time_point sent, event_stream inner)
        : time_(time),
          ask_(std::move(ask)),
          sent_(sent),
          inner_(std::make_shared<shared_pull>(std::move(inner))),
          cutoff_(std::move(time), ask_.wait_limit(sent), cut(inner_)) {}

    task<stream_item> next() override {
        const call_options& options = ask_.options();
        const duration span = first_ ? options.first_event : options.idle;
        const time_point part = after(first_ ? sent_ : time_.now(), span);
        auto item =
            co_await cut_off(time_, ask_, sent_, part, span,
                             first_ ? "first event" : "further event", shared_pull::next(inner_));
        first_ = false;
        if (const auto why = inner_->dropped(); why && !item) co_return dropped(*why);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        if (time_.now() >= ask_.options().deadline.effective()) return false;  // `next` tells
        if (!inner_->try_next(into)) return false;
        first_ = false;
        return true;
    }
    bool ready() const override { return inner_->ready(); }

private:
    struct cut {
        explicit cut(std::shared_ptr<shared_pull> which) : inner(std::move(which)) {}
        void operator()(expiry why) { inner->drop(why); }
        std::shared_ptr<shared_pull> inner;
    };
    stream_item dropped(expiry why) const {
        if (why == expiry::closed) return closed_meanwhile();
        return timed_out("complete answer", ask_.options().deadline.effective() - sent_);
    }

    clock_handle time_;
    request ask_;
    time_point sent_;
    std::shared_ptr<shared_pull> inner_;
    bool first_ = true;
    cutoff<cut> cutoff_;
};

}  // namespace llmkit::detail
