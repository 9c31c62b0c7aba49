// llmkit/cache/sqlite_store.hpp: the threads that read and write a file of answers for others.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/sqlite_answers.hpp>
#include <llmkit/cache/sqlite_batch.hpp>
#include <llmkit/cache/sqlite_job.hpp>
#include <llmkit/cache/sqlite_pending.hpp>
#include <llmkit/cache/sqlite_policy.hpp>
#include <llmkit/detail/quiet_thread.hpp>

namespace llmkit::detail {

/// What all handles of one cache share. Its threads hold it, so that a disk that hangs holds up
/// nobody: neither a call, nor the last handle, nor the end of the program.
class sqlite_store : public std::enable_shared_from_this<sqlite_store> {
public:
    using job_ptr = std::shared_ptr<sqlite_job>;
    using entry_ptr = std::shared_ptr<const cache_entry>;
    static constexpr std::string_view level = "sqlite";

    sqlite_store(std::string path, sqlite_policy policy, entry_codec codec)
        : path_(std::move(path)), policy_(policy), codec_(std::move(codec)) {}

    /// Opens the file and starts the threads.
    void start() {
        open();
        bool started = true;
        const std::lock_guard lock(mutex_);
        for (std::size_t i = 0; i < std::max<std::size_t>(policy_.readers, 1) && started; ++i)
            started = begin(&sqlite_store::read);
        const bool may_be_written = problem_ || access_ == sqlite_access::write;
        if (may_be_written && started) started = begin(&sqlite_store::write);
        if (started) return;
        problem_ = error(error_kind::internal, "no thread could be started for " + path_);
        stopping_ = true;
    }

    /// Ends the threads once all is written; waits for that, but not longer than `at_most`.
    void stop(duration at_most) {
        close();
        std::unique_lock lock(mutex_);
        ended_.wait_for(lock, at_most, [&] { return threads_ == 0; });
    }
    void close() {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        for (auto* waiting : {&to_read_, &to_write_, &flushed_}) waiting->notify_all();
    }

    std::optional<error> problem() const {
        const std::lock_guard lock(mutex_);
        return problem_;
    }
    sqlite_stats stats() const {
        const std::lock_guard lock(mutex_);
        sqlite_stats now = counts_;
        now.pending_bytes = pending_.bytes();
        return now;
    }
    duration close_limit() const { return policy_.close_limit; }

    /// True when the job has ended by what is known without a look at the file. `real`: time
    /// passes by itself.
    bool ask(sqlite_job& job, bool real) {
        std::unique_lock lock(mutex_);
        open_if_due(lock, job.at.now, real);
        if (refused(job)) return true;
        const sqlite_change* change = pending_.find(job.key);
        if (!change) return false;
        if (change->entry && usable(*change->entry, change->at.wall, job.at)) {
            job.hit = cache_hit(change->entry, level);
        }
        count(job.hit);
        return job.done = true;
    }
    /// Leaves a job to the readers.
    void queue(const job_ptr& job) {
        const std::lock_guard lock(mutex_);
        if (refused(*job)) return;
        if (reads_.size() >= policy_.max_waiting) {
            job->failed = error(error_kind::refused, "too many reads of " + path_ + " wait");
            job->done = true;
            return;
        }
        reads_.push_back(job);
        to_read_.notify_one();
    }

    void put(key128 key, entry_ptr entry, file_time now, bool real) {
        entry_ptr old;  // let go of after unlocking
        const std::size_t size = sqlite_pending::size_of(entry);
        std::unique_lock lock(mutex_);
        open_if_due(lock, now.now, real);
        if (problem_ || stopping_) return;
        if (access_ != sqlite_access::write || size > policy_.max_bytes / 8 ||
            pending_.bytes() + size > policy_.max_pending_bytes) {
            ++counts_.dropped;
            return;
        }
        old = pending_.add(key, std::move(entry), now);
        to_write_.notify_one();
    }
    /// Takes an entry out, if `job.key` is to be erased, and ends the job when all is written.
    void flush(const job_ptr& job, bool erasing) {
        entry_ptr old;  // let go of after unlocking
        const std::lock_guard lock(mutex_);
        if (refused(*job)) return;
        if (access_ != sqlite_access::write) {
            if (erasing) job->failed = error(error_kind::configuration, path_ + " is read-only");
            job->done = true;
            return;
        }
        if (erasing) old = pending_.add(job->key, nullptr, job->at);
        flushes_.push_back(job);
        to_write_.notify_one();
    }

    /// Does a job on the calling thread: for virtual time, in which nothing takes any.
    void look_up_here(sqlite_job& job) {
        const std::lock_guard lock(here_mutex_);
        look_up(here_, job);
        job.done = true;
    }
    /// Blocks until the writer has ended the job.
    void await_here(sqlite_job& job) {
        std::unique_lock lock(mutex_);
        flushed_.wait(lock, [&] {
            const std::lock_guard seen(job.mutex);
            return job.done;
        });
    }

private:
    // A reader's connection, and which file it leads to.
    struct seat {
        sqlite_reader reader;
        std::uint64_t generation = 0;
    };

    static constexpr std::int64_t touch_every_ms = 5 * 60 * 1000;
    static constexpr std::size_t most_touches = 4096;

    bool begin(void (sqlite_store::*work)()) {
        if (!start_quiet_thread([self = shared_from_this(), work] { (*self.*work)(); }))
            return false;
        ++threads_;
        return true;
    }
    void end_thread() {
        --threads_;
        ended_.notify_all();
    }

    // Not under the mutex; by whoever starts, then by the writer.
    void open() {
        sqlite_opener opener(path_);
        auto opened = opener.open();
        const std::lock_guard lock(mutex_);
        ++generation_;
        damaged_ = opening_ = false;
        if (!opened) {
            problem_ = opened.error();
            return;
        }
        problem_.reset();
        access_ = opened->access;
        identity_ = opened->identity;
        if (opened->moved_aside) ++counts_.recovered;
        if (access_ != sqlite_access::write) return;
        writer_ = sqlite_writer(std::move(opened->connection));
        counts_.bytes = writer_.bytes();
    }

    // The next four: under the mutex. The first has the writer open what could not be opened, and
    // waits for it only where no time passes.
    void open_if_due(std::unique_lock<std::mutex>& lock, time_point now, bool real) {
        if (!problem_ || stopping_ || now < next_opening_) return;
        next_opening_ = after(now, policy_.reopen_after);
        opening_ = true;
        to_write_.notify_one();
        if (!real) flushed_.wait(lock, [&] { return !opening_ || stopping_; });
    }
    bool refused(sqlite_job& job) const {
        if (problem_) job.failed = *problem_;
        if (stopping_ && !problem_) job.failed = error(error_kind::closed, path_ + " is closed");
        return job.done = problem_ || stopping_;
    }
    void count(const cache_hit& hit) { ++(hit ? counts_.hits : counts_.misses); }
    bool usable(const cache_entry& entry, std::int64_t written, const file_time& at) const {
        return at.now < entry.keep_until && at.now < after(at.moment_of(written), policy_.max_age);
    }

    void read() {
        seat mine;
        std::unique_lock lock(mutex_);
        for (;;) {
            to_read_.wait(lock, [&] { return stopping_ || !reads_.empty(); });
            if (reads_.empty()) break;
            const job_ptr job = std::move(reads_.front());
            reads_.pop_front();
            lock.unlock();
            if (!job->abandoned) {
                look_up(mine, *job);
                sqlite_job::finish(job);
            }
            lock.lock();
        }
        lock.unlock();
        mine = seat();  // closed before the last handle goes on
        lock.lock();
        end_thread();
    }

    /// Sets `hit` or `failed`.
    void look_up(seat& mine, sqlite_job& job) {
        std::uint64_t generation = 0;
        sqlite_access how;
        {
            const std::lock_guard lock(mutex_);
            if (problem_) {
                job.failed = *problem_;
                return;
            }
            generation = generation_;
            how = access_;
        }
        int code = SQLITE_OK;
        if (!mine.reader || mine.generation != generation) {
            mine = seat();
            code = mine.reader.open(path_, how);
            mine.generation = generation;
        }
        sqlite_row row;
        if (code == SQLITE_OK) code = mine.reader.find(job.key, row);
        entry_ptr entry;
        if (code == SQLITE_ROW) {
            entry = codec_.decode(std::move(row.entry), job.at.moment_of(row.written));
        }
        const std::string why =
            code == SQLITE_ROW || code == SQLITE_DONE ? std::string() : mine.reader.message();
        if (!why.empty()) mine = seat();
        const std::lock_guard lock(mutex_);
        if (!why.empty()) {
            ++counts_.failures;
            if (sqlite_damaged(code) && generation == generation_) damaged_ = true;
            to_write_.notify_one();
            job.failed =
                error(error_kind::internal, "reading " + path_ + " failed: " + why)
                    .with_advice("Check the disk; the cache is made anew if it is damaged.");
            return;
        }
        if (code == SQLITE_ROW && !entry) ++counts_.unreadable;
        if (entry && usable(*entry, row.written, job.at)) job.hit = cache_hit(entry, level);
        count(job.hit);
        if (job.hit && job.at.wall - row.used > touch_every_ms && touches_.size() < most_touches)
            touches_[job.key] = job.at.wall;
    }

    void write() {
        std::unique_lock lock(mutex_);
        for (;;) {
            to_write_.wait(lock, [&] {
                return stopping_ || damaged_ || opening_ || !pending_.empty() || !flushes_.empty();
            });
            const bool nothing = pending_.empty() && flushes_.empty() && touches_.empty();
            if (stopping_ && nothing) break;
            const auto& batch = pending_.begin();
            const std::vector<job_ptr> waiting = std::exchange(flushes_, {});
            const auto touches = std::exchange(touches_, {});
            const bool broken = damaged_, closed = opening_;
            lock.unlock();
            if (broken) {
                begin_anew();
            } else if (closed) {
                open();
            }
            const bool fine = writer_ && write_batch(batch, touches);
            lock.lock();
            auto written = pending_.end();
            for (const job_ptr& job : waiting) {
                if (!fine)
                    job->failed = error(error_kind::internal, "writing " + path_ + " failed");
            }
            lock.unlock();
            written.clear();
            for (const job_ptr& job : waiting) sqlite_job::finish(job);
            lock.lock();
            flushed_.notify_all();
        }
        lock.unlock();
        writer_ = sqlite_writer();
        lock.lock();
        end_thread();
    }

    // Only the writer's thread from here on.
    void begin_anew() {
        std::pair<std::uint64_t, std::uint64_t> which;
        {
            const std::lock_guard lock(mutex_);
            which = identity_;
            ++counts_.recovered;
        }
        writer_ = sqlite_writer();
        sqlite_opener(path_).move_aside(which);
        open();
    }

    bool write_batch(const sqlite_pending::changes& batch, const sqlite_touches& touches) {
        sqlite_stats made;
        const bool fine = write_answers(writer_, codec_, policy_, batch, touches, made);
        const std::uint64_t bytes = writer_.bytes();
        const std::lock_guard lock(mutex_);
        counts_.bytes = bytes;
        counts_.evictions += made.evictions;
        counts_.dropped += made.dropped;
        if (fine) {
            counts_.writes += made.writes;
            counts_.expirations += made.expirations;
        } else {
            ++counts_.failures;
            if (sqlite_damaged(writer_.code())) damaged_ = true;
        }
        return fine;
    }

    const std::string path_;
    const sqlite_policy policy_;
    const entry_codec codec_;

    mutable std::mutex mutex_;
    std::condition_variable to_read_, to_write_, ended_, flushed_;
    std::optional<error> problem_;
    time_point next_opening_ = time_point::min();
    bool opening_ = false;
    sqlite_access access_ = sqlite_access::write;
    std::pair<std::uint64_t, std::uint64_t> identity_;
    std::uint64_t generation_ = 0;  // another file is another one
    bool damaged_ = false;
    bool stopping_ = false;
    std::size_t threads_ = 0;
    std::deque<job_ptr> reads_;
    sqlite_pending pending_;
    std::vector<job_ptr> flushes_;
    sqlite_touches touches_;
    sqlite_stats counts_;

    sqlite_writer writer_;
    std::mutex here_mutex_;
    seat here_;
};

}  // namespace llmkit::detail
