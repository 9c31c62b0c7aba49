// llmkit/cache/postgres_job.hpp: what is to be done in the database, and who waits for his turn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include <llmkit/cache/entry.hpp>
#include <llmkit/cache/store_job.hpp>

namespace llmkit::detail {

enum class postgres_deed : std::uint8_t { find, put, erase, touch, expire, evict };

/// One statement, and the coroutine that waits for it, if any.
struct postgres_job final : store_job {
    postgres_job(postgres_deed what, key128 which, time_point now)
        : store_job(which), deed(what), at(now) {}

    /// What this takes of the bound on what waits to be written.
    std::size_t size() const { return entry ? sizeof(*this) + entry->weight() : 0; }
    /// Whether it is to be left undone: nobody waits for what it finds, or it would come too late.
    /// A tag's generation that is put after somebody has erased it would undo that.
    bool idle() const { return abandoned && (deed == postgres_deed::find || is_tag_key(key)); }
    /// Whether it may be done twice. A second put might undo what was erased in between.
    bool repeatable() const { return deed != postgres_deed::put; }

    const postgres_deed deed;
    const time_point at;
    std::shared_ptr<const cache_entry> entry;
    std::size_t tries = 0;  ///< on connections that ended meanwhile
};

/// First come, first served; bounded in calls and in bytes. Guarded by its owner's mutex.
class postgres_queue {
public:
    using job_ptr = std::shared_ptr<postgres_job>;

    postgres_queue(std::size_t most, std::size_t most_bytes)
        : most_(most), most_bytes_(most_bytes) {}

    std::size_t size() const { return jobs_.size(); }
    std::size_t bytes() const { return bytes_; }

    bool fits(const postgres_job& job) const {
        return jobs_.size() < most_ && bytes_ + job.size() <= most_bytes_;
    }
    void add(job_ptr job) {
        bytes_ += job->size();
        jobs_.push_back(std::move(job));
    }
    /// A job that was begun is the next one again.
    void put_back(job_ptr job) {
        bytes_ += job->size();
        jobs_.push_front(std::move(job));
    }
    /// The next ones for one of `users`: its share, at most `most`. Those whose caller has left are
    /// let go of, in `left`.
    std::vector<job_ptr> take(std::size_t users, std::size_t most, std::vector<job_ptr>& left) {
        std::vector<job_ptr> out;
        const std::size_t share = (jobs_.size() + users - 1) / users;
        const std::size_t count = std::min(share, most);
        while (out.size() < count && !jobs_.empty()) {
            job_ptr job = std::move(jobs_.front());
            jobs_.pop_front();
            bytes_ -= job->size();
            (job->idle() ? left : out).push_back(std::move(job));
        }
        return out;
    }
    std::vector<job_ptr> take_all() {
        bytes_ = 0;
        std::vector<job_ptr> out(jobs_.begin(), jobs_.end());
        jobs_.clear();
        return out;
    }

private:
    const std::size_t most_;
    const std::size_t most_bytes_;
    std::deque<job_ptr> jobs_;
    std::size_t bytes_ = 0;
};

}  // namespace llmkit::detail
