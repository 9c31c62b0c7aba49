// llmkit/core/child.hpp: a coroutine beside its starter, cancelled when nobody wants it any more.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/pooled.hpp>
#include <llmkit/detail/valued.hpp>

namespace llmkit {

namespace detail {

/// The lane and the cancellation of one spawned coroutine. The lane is dropped when its work ends,
/// because no strand may outlive its context.
class spawned : public std::enable_shared_from_this<spawned> {
public:
    explicit spawned(executor lane) : lane_(std::move(lane)) {}
    virtual ~spawned() = default;

    /// Asks the work to stop, soon, on its own lane. Does nothing once it has ended.
    void cancel() {
        executor lane;
        {
            std::lock_guard lock(lane_mutex_);
            wanted_ = !started_;
            if (started_) lane = lane_;
        }
        if (!lane) return;
        asio::post(lane, [self = shared_from_this()] {
            self->signal_.emit(asio::cancellation_type::terminal);
        });
    }
    /// The same at once, for who is on the lane.
    void cancel_here() { signal_.emit(asio::cancellation_type::terminal); }
    executor lane() const {
        std::lock_guard lock(lane_mutex_);
        return lane_;
    }
    asio::cancellation_slot slot() { return signal_.slot(); }
    /// From here on the slot may be signalled; until now `cancel` only took note.
    void started() {
        {
            std::lock_guard lock(lane_mutex_);
            started_ = true;
            if (!wanted_) return;
        }
        cancel();
    }
    void drop_lane() {
        executor dropped;
        std::lock_guard lock(lane_mutex_);
        std::swap(dropped, lane_);
    }

private:
    mutable std::mutex lane_mutex_;
    executor lane_;
    bool started_ = false;
    bool wanted_ = false;  // to be cancelled as soon as it has started
    asio::cancellation_signal signal_;
};

/// Calls `done` exactly once: when the work ends, or, with an abort, when its frame is destroyed.
template <class Core, class T>
class completion_guard {
public:
    explicit completion_guard(std::shared_ptr<Core> core) : core_(std::move(core)) {}
    completion_guard(completion_guard&&) noexcept = default;
    completion_guard& operator=(completion_guard&&) = delete;
    ~completion_guard() {
        if (!core_) return;
        auto aborted = std::make_exception_ptr(asio::system_error(asio::error::operation_aborted));
        end(std::move(aborted), {});
    }
    void operator()(std::exception_ptr failed, T value) { end(failed, std::move(value)); }
    void operator()(std::exception_ptr failed) { end(failed, T()); }  // of a task<void>

private:
    void end(std::exception_ptr failed, std::optional<T> value) {
        auto core = std::exchange(core_, nullptr);
        core->drop_lane();
        core->done(std::move(failed), std::move(value));
    }
    std::shared_ptr<Core> core_;
};

template <class Core, class T>
void start(const std::shared_ptr<Core>& core, task<T> work) {
    asio::co_spawn(
        core->lane(), std::move(work),
        asio::bind_cancellation_slot(core->slot(), completion_guard<Core, value_of<T>>(core)));
    core->started();
}

template <class T>
class child_core final : public spawned {
public:
    using spawned::spawned;

    void done(std::exception_ptr failed, std::optional<T> value) {
        std::vector<wakeup> woken;
        {
            std::lock_guard lock(mutex);
            failure = std::move(failed);
            result = std::move(value);
            finished = true;
            woken = ended.ring_all();
        }
    }

    std::mutex mutex;
    bell ended;
    bool finished = false;
    std::exception_ptr failure;
    std::optional<T> result;
};
}  // namespace detail

/// A piece of work that runs beside whoever started it, on a lane of its own.
///
///     llmkit::child<int> other(clock, twice(21));        // begins at once
///     int mine = co_await twice(1);
///     int sum  = mine + co_await other.join();
///
/// `join` gives the value once, or throws what the work threw; cancelling the joiner leaves the
/// work running. Letting go of the child cancels it and does not wait. Costs about two
/// microseconds: for hedges, foreign services and background work, not for the passing path.
template <class T>
class child {
public:
    child(const clock_handle& time, task<T> work)
        : time_(time),
          core_(detail::make_pooled<detail::child_core<detail::value_of<T>>>(time.lane())) {
        detail::start(core_, std::move(work));
    }
    child(child&&) noexcept = default;
    child& operator=(child&& other) noexcept {
        if (this != &other) {
            if (core_) core_->cancel();
            time_ = std::move(other.time_);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~child() {
        if (core_) core_->cancel();
    }

    /// Lets the work run to its end, which nobody waits for. Nothing else may be called after it.
    void detach() { core_ = nullptr; }

    /// Asks the work to stop; `join` then usually throws `operation_aborted`.
    void cancel() { core_->cancel(); }

    bool finished() const {
        std::lock_guard lock(core_->mutex);
        return core_->finished;
    }

    /// Waits for the end, at most until `until`: false when the limit came first.
    task<bool> finished_by(limit until) { return wait_end(core_, time_, until); }

    /// Waits for the end and gives the value. Once.
    task<T> join() { return collect(core_, time_); }

private:
    using core = detail::child_core<detail::value_of<T>>;

    static task<bool> wait_end(std::shared_ptr<core> shared, clock_handle time, limit until) {
        std::unique_lock lock(shared->mutex);
        while (!shared->finished) {
            if (co_await wait(lock, shared->ended, time, until) != woke::by_bell) break;
        }
        co_return shared->finished;
    }
    static task<T> collect(std::shared_ptr<core> shared, clock_handle time) {
        co_await wait_end(shared, time, limit());
        std::unique_lock lock(shared->mutex);
        if (shared->failure) {
            auto failed = shared->failure;
            lock.unlock();
            std::rethrow_exception(failed);
        }
        if constexpr (!std::is_void_v<T>) {
            T value = std::move(*shared->result);
            co_return value;
        }
    }

    clock_handle time_;
    std::shared_ptr<core> core_;
};

}  // namespace llmkit
