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

    /// Null when the cutoff came first.
    event_stream* begin() {
        std::lock_guard lock(mutex_);
        if (dropped_) return nullptr;
        pulling_ = true;
        return &from_;
    }
    void end() {
        std::lock_guard lock(mutex_);
        pulling_ = false;
    }
    bool try_next(stream_item& into) {
        event_stream* from = begin();
        const bool given = from && from->try_next(into);
        end();
        return given;
    }
    bool ready() {
        std::lock_guard lock(mutex_);
        return dropped_ || (!pulling_ && from_.ready());
    }
    /// A limit passed: frees the stream, unless a reader is at it, whom his own wait tells.
    void drop(expiry why) {
        event_stream freed;
        std::lock_guard lock(mutex_);
        if (pulling_ || dropped_) return;
        dropped_ = why;
        freed = std::move(from_);
    }
    std::optional<expiry> dropped() {
        std::lock_guard lock(mutex_);
        return dropped_;
    }

    static task<stream_item> next(std::shared_ptr<shared_pull> self) {
        event_stream* from = self->begin();
        stream_item item;
        if (from) item = co_await from->next();
        self->end();
        co_return item;
    }

private:
    std::mutex mutex_;
    event_stream from_;
    bool pulling_ = false;
    std::optional<expiry> dropped_;
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
