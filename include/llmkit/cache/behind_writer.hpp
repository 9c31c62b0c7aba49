// llmkit/cache/behind_writer.hpp: coroutines that write into slow levels behind the calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <llmkit/cache/write_behind.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/way_back.hpp>

namespace llmkit::detail {

/// Someone who waits for a moment at which nothing is to be written. He may be in another context
/// than who writes.
class quiet_moment {
public:
    explicit quiet_moment(std::shared_ptr<way_back> home) : home_(std::move(home)) {}

    static void came(const std::shared_ptr<quiet_moment>& to) {
        to->home_->post([to] {
            std::vector<wakeup> woken;
            const std::lock_guard lock(to->mutex_);
            to->here_ = true;
            woken = to->bell_.ring_all();
        });
    }
    /// False when the limit came first.
    static task<bool> wait_for(std::shared_ptr<quiet_moment> self, clock_handle time, limit until) {
        std::unique_lock lock(self->mutex_);
        while (!self->here_) {
            if (co_await wait(lock, self->bell_, time, until) != woke::by_bell) break;
        }
        co_return self->here_;
    }

private:
    const std::shared_ptr<way_back> home_;
    std::mutex mutex_;
    bell bell_;
    bool here_ = false;
};

/// A bounded queue, and as many coroutines at work on it as it is allowed. They run beside the
/// callers on the context of whoever put something, and end when nothing is left; if that context
/// goes down first, what was not yet taken waits for the next who puts something. Thread-safe.
class behind_writer : public std::enable_shared_from_this<behind_writer> {
public:
    virtual ~behind_writer() = default;

    void set(write_behind_policy policy) {
        const std::lock_guard lock(mutex_);
        queue_.set(policy);
    }
    void add(pending_write what, const clock_handle& time) {
        {
            pending_writes::entries gone;
            const std::lock_guard lock(mutex_);
            if (closed_) {
                ++refused_;
                return;
            }
            queue_.add(std::move(what), gone);
        }
        start(time);
    }
    /// The entry that waits under a key, and for which levels; null when there is none.
    pending_write waiting(const key128& key) const {
        const std::lock_guard lock(mutex_);
        const pending_write* found = queue_.find(key);
        return found ? *found : pending_write();
    }
    void forget(const key128& key) {
        pending_writes::entries gone;
        const std::lock_guard lock(mutex_);
        queue_.forget(key, gone);
    }
    void read(std::size_t& waiting, std::size_t& bytes, std::uint64_t& dropped) const {
        const std::lock_guard lock(mutex_);
        waiting = queue_.waiting();
        bytes = queue_.bytes();
        dropped = queue_.dropped() + refused_;
    }

    /// Ends when nothing is to be written; false when the limit came first.
    static task<bool> written(std::shared_ptr<behind_writer> self, limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const auto quiet = std::make_shared<quiet_moment>(way_back::into(time));
        {
            const std::lock_guard lock(self->mutex_);
            if (self->queue_.idle()) co_return true;
            self->waiters_.push_back(quiet);
        }
        self->start(time);
        co_return co_await quiet_moment::wait_for(quiet, time, until);
    }
    /// The same, and whatever is not written by then is dropped. Nothing is taken any more.
    static task<bool> close(std::shared_ptr<behind_writer> self, limit until) {
        self->refuse();
        const bool all = co_await written(self, until);
        pending_writes::entries gone;
        const std::lock_guard lock(self->mutex_);
        self->queue_.drop_all(gone);
        co_return all;
    }

protected:
    /// Writes one entry, wherever it belongs. Throws only when cancelled.
    virtual task<void> write(pending_write what, clock_handle time) = 0;

private:
    /// One of those at work; what it was writing is given up when its frame is destroyed.
    class worker {
    public:
        explicit worker(std::shared_ptr<behind_writer> in) : in_(std::move(in)) {}
        worker(worker&&) noexcept = default;
        worker& operator=(worker&&) = delete;
        ~worker() {
            if (!in_) return;
            done();
            const std::lock_guard lock(in_->mutex_);
            --in_->workers_;
        }
        /// The next to be written; false when there is none, and then this one has left.
        bool take(pending_write& into) {
            std::shared_ptr<behind_writer> leaving;
            {
                const std::lock_guard lock(in_->mutex_);
                if (auto next = in_->queue_.take()) {
                    into = std::move(*next);
                    key_ = into.key;
                    return busy_ = true;
                }
                // Under the same lock, so that what is put from now on finds that nobody is here.
                --in_->workers_;
                leaving.swap(in_);
            }
            leaving->tell_if_idle();
            return false;
        }
        void done() {
            if (!std::exchange(busy_, false)) return;
            {
                pending_writes::entries gone;
                const std::lock_guard lock(in_->mutex_);
                in_->queue_.done(key_, gone);
            }
            in_->tell_if_idle();
        }
        behind_writer& owner() const { return *in_; }

    private:
        std::shared_ptr<behind_writer> in_;
        key128 key_;
        bool busy_ = false;
    };

    void tell_if_idle() {
        std::vector<std::shared_ptr<quiet_moment>> waiters;
        {
            const std::lock_guard lock(mutex_);
            if (queue_.idle()) waiters.swap(waiters_);
        }
        for (const auto& each : waiters) quiet_moment::came(each);
    }
    void refuse() {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    void start(const clock_handle& time) {
        {
            const std::lock_guard lock(mutex_);
            const std::size_t most = std::max<std::size_t>(queue_.policy().writers, 1);
            if (queue_.waiting() == 0 || workers_ >= most) return;
            ++workers_;
        }
        try {
            child<void> beside(time, work(worker(shared_from_this()), time));
            beside.detach();
        } catch (const asio::system_error&) {
            // The context is going down; the worker has left.
        }
    }
    static task<void> work(worker mine, clock_handle time) {
        pending_write next;
        while (mine.take(next)) {
            // Named, because what it stands on must outlive it.
            behind_writer& owner = mine.owner();
            co_await owner.write(std::move(next), time);
            mine.done();
        }
    }

    mutable std::mutex mutex_;
    pending_writes queue_;
    std::vector<std::shared_ptr<quiet_moment>> waiters_;
    std::size_t workers_ = 0;
    bool closed_ = false;
    std::uint64_t refused_ = 0;
};

}  // namespace llmkit::detail
