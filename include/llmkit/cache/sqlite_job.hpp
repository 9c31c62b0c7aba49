// llmkit/cache/sqlite_job.hpp: what a thread does with a file for a coroutine that waits for it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <llmkit/cache/store_job.hpp>
#include <llmkit/core/clock.hpp>

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

/// What a reader or the writer of a file does for a coroutine.
struct sqlite_job final : store_job {
    sqlite_job(key128 which, file_time now) : store_job(which), at(now) {}
    const file_time at;
};

}  // namespace llmkit::detail
