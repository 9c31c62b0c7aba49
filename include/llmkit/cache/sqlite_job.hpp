// llmkit/cache/sqlite_job.hpp: what a thread does with a file for a coroutine that waits for it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/way_back.hpp>

namespace llmkit::detail {

/// A moment on both clocks: the pipeline's, and the calendar, which is all that a file knows.
struct file_time {
    time_point now;
    std::int64_t wall = 0;  ///< milliseconds

    static file_time of(const clock_handle& time, time_point now) {
        const auto wall =
            time.wall() +
            std::chrono::duration_cast<std::chrono::system_clock::duration>(now - time.now());
        return {
            now,
            std::chrono::duration_cast<std::chrono::milliseconds>(wall.time_since_epoch()).count()};
    }
    /// The calendar's time of a later moment.
    std::int64_t wall_of(time_point later) const {
        const auto far = std::chrono::hours(24 * 36500);
        const duration span = std::min<duration>(later - now, far);
        return wall + std::chrono::duration_cast<std::chrono::milliseconds>(span).count();
    }
    /// When something written at `at` was written, on the pipeline's clock. Not in the future: the
    /// calendar may have been set back.
    time_point moment_of(std::int64_t at) const {
        return now - std::chrono::milliseconds(std::clamp<std::int64_t>(wall - at, 0, wall));
    }
};

/// Something that a thread does for a coroutine that waits for it, as long as that likes.
struct sqlite_job {
    explicit sqlite_job(key128 which, file_time now) : key(which), at(now) {}

    const key128 key;
    const file_time at;
    std::shared_ptr<way_back> home;
    std::atomic<bool> abandoned{false};

    std::mutex mutex;
    bell ended;
    bool done = false;
    cache_hit hit;
    std::optional<error> failed;

    static void finish(const std::shared_ptr<sqlite_job>& job) {
        {
            const std::lock_guard lock(job->mutex);
            job->done = true;
        }
        if (!job->home) return;
        job->home->post([job] {
            std::vector<wakeup> woken;
            const std::lock_guard lock(job->mutex);
            woken = job->ended.ring_all();
        });
    }
};

/// Waits for a job as long as the limit allows; what is late is abandoned.
inline task<result<void>> job_ended(std::shared_ptr<sqlite_job> job, clock_handle time,
                                    limit until) {
    struct leaving {
        const std::shared_ptr<sqlite_job>& what;
        ~leaving() { what->abandoned = true; }
    };
    const leaving mark{job};
    std::unique_lock lock(job->mutex);
    while (!job->done) {
        const woke why = co_await wait(lock, job->ended, time, until);
        if (why == woke::by_bell) continue;
        lock.unlock();
        if (why == woke::by_close) co_return error(error_kind::closed, "the pipeline closed");
        co_return error(error_kind::timeout, "the file of answers took too long");
    }
    if (job->failed) co_return *job->failed;
    co_return result<void>();
}

/// Whether time passes by itself. In a simulation it does not, and no other thread may come in.
inline bool in_real_time(const clock_handle& time) {
    return dynamic_cast<const real_clock*>(&time.timers()) != nullptr;
}

}  // namespace llmkit::detail
