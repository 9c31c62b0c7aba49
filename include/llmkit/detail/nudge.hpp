// llmkit/detail/nudge.hpp: tells one coroutine to look again at what it waits for.
#pragma once

#include <mutex>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit::detail {

/// For a coroutine that waits for several things at once, each of which gives it a nudge. One that
/// comes while nobody waits is kept for the next wait. Nudged from any thread; lives longer than
/// whoever waits.
class nudge {
public:
    void operator()() {
        wakeup woken;  // fires once the lock is free
        const std::lock_guard lock(mutex_);
        pending_ = true;
        woken = bell_.ring_one();
    }
    /// Ends with a nudge, which may be an old one, or when the limit passes.
    task<void> wait(clock_handle time, limit until) {
        std::unique_lock lock(mutex_);
        if (!std::exchange(pending_, false)) {
            co_await llmkit::wait(lock, bell_, time, until);
            pending_ = false;
        }
    }

private:
    std::mutex mutex_;
    bell bell_;
    bool pending_ = false;
};

}  // namespace llmkit::detail
