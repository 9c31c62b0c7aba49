// llmkit/cache/postgres_desk.hpp: where jobs for PostgreSQL are left, and where they end.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/cache/postgres_job.hpp>
#include <llmkit/cache/postgres_policy.hpp>
#include <llmkit/core/error.hpp>

namespace llmkit::detail {

/// What callers see of a store, and share with its thread: the queue, what is wrong, the figures.
class postgres_desk {
public:
    using job_ptr = std::shared_ptr<postgres_job>;

    std::optional<error> problem() const {
        const std::lock_guard lock(mutex_);
        return problem_;
    }
    postgres_stats stats() const {
        const std::lock_guard lock(mutex_);
        postgres_stats now = counts_;
        now.open = open_;
        now.waiting = queue_.size();
        now.pending_bytes = queue_.bytes();
        return now;
    }
    /// Blocks until the job has ended.
    void await_here(postgres_job& job) {
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] {
            const std::lock_guard seen(job.mutex);
            return job.done;
        });
    }

protected:
    explicit postgres_desk(const postgres_policy& policy)
        : queue_(policy.max_waiting, policy.max_pending_bytes) {}
    ~postgres_desk() = default;

    /// Why a job is not taken. Under the mutex.
    std::optional<error> refusal(const postgres_job& job) const {
        if (stopping_) return error(error_kind::closed, "the cache in PostgreSQL is closed");
        if (problem_) return problem_;
        if (queue_.fits(job)) return std::nullopt;
        return error(error_kind::refused, "too much waits for PostgreSQL");
    }
    /// Under the mutex.
    bool connected() const { return open_ > 0; }
    /// Adds something that nobody waits for, if there is room.
    void add_work(postgres_deed deed, key128 key, time_point now) {
        auto job = std::make_shared<postgres_job>(deed, key, now);
        const std::lock_guard lock(mutex_);
        if (!stopping_ && queue_.fits(*job)) queue_.add(std::move(job));
    }
    void finish(const job_ptr& job) {
        store_job::finish(job);
        const std::lock_guard lock(mutex_);
        done_.notify_all();
    }
    void finish(const std::vector<job_ptr>& jobs, const error& why) {
        for (const job_ptr& job : jobs) {
            job->failed = why;
            finish(job);
        }
    }
    void fail_all(const error& why) {
        std::vector<job_ptr> all;
        {
            const std::lock_guard lock(mutex_);
            all = queue_.take_all();
        }
        finish(all, why);
    }

    mutable std::mutex mutex_;
    std::condition_variable done_;
    std::optional<error> problem_;
    postgres_queue queue_;
    std::size_t open_ = 0;  ///< connections
    bool stopping_ = false;
    postgres_stats counts_;
};

}  // namespace llmkit::detail
