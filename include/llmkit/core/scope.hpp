// llmkit/core/scope.hpp: the calls and the background work that belong to one pipeline.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include <llmkit/core/child.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit {

/// Counts a pipeline's calls in flight and owns its background work, so that closing it can wait
/// for both and then cut them short. Thread-safe. Layers reach it through a request's link:
///
///     ask.options().link->background().spawn(refresh(core, key));
class scope {
public:
    explicit scope(clock_handle time) : core_(std::make_shared<core>(std::move(time))) {}
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
    ~scope() { stop(); }

    /// Runs `work` beside the callers, cancelled when the pipeline is closed or dropped. What it
    /// throws ends with it. False, and the work never begins, once the scope is stopping.
    bool spawn(task<void> work) {
        std::shared_ptr<work_core> started;
        {
            std::lock_guard lock(core_->mutex);
            if (core_->closing.load()) return false;
            started = std::make_shared<work_core>(core_->time.lane(), core_);
            core_->background.insert(started);
        }
        detail::start(started, std::move(work));
        return true;
    }

    /// False once the scope is closing: the call must not begin.
    bool enter() noexcept {
        core_->calls.fetch_add(1);
        if (!core_->closing.load()) return true;
        leave();
        return false;
    }
    void leave() noexcept {
        if (core_->calls.fetch_sub(1) == 1 && core_->closing.load()) core_->ring();
    }

    bool closing() const { return core_->closing.load(); }
    std::size_t calls() const { return core_->calls.load(); }
    std::size_t background() const {
        std::lock_guard lock(core_->mutex);
        return core_->background.size();
    }

    /// Refuses new calls and asks background work to stop; never blocks.
    void stop() {
        core_->closing.store(true);
        cancel_background(*core_);
    }

    /// Refuses new calls, waits at most `grace` for those in flight and for background work, then
    /// ends their waits. True when everything ended by itself. `which` is the pipeline's identity
    /// in `wait_owner`.
    task<bool> close(const void* which, duration grace) { return drain(core_, which, grace); }

private:
    struct work_core;
    struct core {
        explicit core(clock_handle t) : time(std::move(t)) {}

        bool idle() const { return calls.load() == 0 && background.empty(); }  // under the mutex
        void ring() {
            std::vector<wakeup> woken;
            std::lock_guard lock(mutex);
            if (idle()) woken = empty.ring_all();
        }

        clock_handle time;
        std::mutex mutex;
        bell empty;
        std::atomic<std::size_t> calls{0};
        std::atomic<bool> closing{false};
        std::set<std::shared_ptr<work_core>> background;
    };
    struct work_core final : detail::spawned {
        work_core(executor lane, std::weak_ptr<core> in) : spawned(std::move(lane)), owner(in) {}
        void done(const std::exception_ptr&, const std::optional<detail::nothing>&) {
            auto held = owner.lock();
            if (!held) return;
            {
                std::lock_guard lock(held->mutex);
                held->background.erase(std::static_pointer_cast<work_core>(shared_from_this()));
            }
            held->ring();
        }
        std::weak_ptr<core> owner;
    };

    static void cancel_background(core& shared) {
        std::vector<std::shared_ptr<work_core>> running;
        {
            std::lock_guard lock(shared.mutex);
            running.assign(shared.background.begin(), shared.background.end());
        }
        for (auto& work : running) work->cancel();
    }

    static task<bool> idle_by(std::shared_ptr<core> shared, limit until) {
        std::unique_lock lock(shared->mutex);
        while (!shared->idle()) {
            if (co_await wait(lock, shared->empty, shared->time, until) != woke::by_bell) break;
        }
        co_return shared->idle();
    }
    static task<bool> drain(std::shared_ptr<core> shared, const void* which, duration grace) {
        shared->closing.store(true);
        limit until;
        until.until = after(shared->time.now(), grace);
        if (co_await idle_by(shared, until)) co_return true;
        cancel_background(*shared);
        // A call whose wait was cut may wait once more on its way out; a stream that its owner
        // never lets go of is not waited for.
        for (int round = 0; round < 20; ++round) {
            shared->time.timers().close(which);
            until.until = after(shared->time.now(), std::chrono::milliseconds(50));
            if (co_await idle_by(shared, until)) break;
        }
        co_return false;
    }

    std::shared_ptr<core> core_;
};

}  // namespace llmkit
