// llmkit/cache/store_job.hpp: what a store's own thread does for a coroutine that waits for it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/way_back.hpp>

namespace llmkit::detail {

/// Something that a thread does for a coroutine that waits for it, as long as that likes.
struct store_job {
    explicit store_job(key128 which) : key(which) {}

    const key128 key;
    std::shared_ptr<way_back> home;
    std::atomic<bool> abandoned{false};

    std::mutex mutex;
    bell ended;
    bool done = false;
    cache_hit hit;
    std::optional<error> failed;

    static void finish(const std::shared_ptr<store_job>& job) {
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

/// Waits for a job as long as the limit allows; what is late is abandoned. `who` is late, for the
/// error: "the file of answers".
inline task<result<void>> job_ended(std::shared_ptr<store_job> job, clock_handle time, limit until,
                                    std::string_view who) {
    struct leaving {
        const std::shared_ptr<store_job>& what;
        ~leaving() { what->abandoned = true; }
    };
    const leaving mark{job};
    std::unique_lock lock(job->mutex);
    while (!job->done) {
        const woke why = co_await wait(lock, job->ended, time, until);
        if (why == woke::by_bell) continue;
        lock.unlock();
        if (why == woke::by_close) co_return error(error_kind::closed, "the pipeline closed");
        co_return error(error_kind::timeout, std::string(who) + " took too long");
    }
    if (job->failed) co_return *job->failed;
    co_return result<void>();
}

/// Whether time passes by itself. In a simulation it does not, and no other thread may come in.
inline bool in_real_time(const clock_handle& time) {
    return dynamic_cast<const real_clock*>(&time.timers()) != nullptr;
}

}  // namespace llmkit::detail
