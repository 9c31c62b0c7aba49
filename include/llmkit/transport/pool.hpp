// llmkit/transport/pool.hpp: open connections, kept for the next call to the same origin.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/scope.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/policy.hpp>
#include <llmkit/transport/pool_figures.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

/// Bounds how many connections there are and lends them, first come first served. A place that
/// becomes free is handed over to whoever has waited longest and may use it, so that nobody who
/// comes later overtakes. Whatever ends a wait (limit, cancellation, closing) frees its place in
/// the queue at once. Thread-safe.
///
/// `Connection` has `bool quiet(duration)`: whether it may still be used after so long without a
/// call.
template <class Connection>
class pool final : public droppable, public std::enable_shared_from_this<pool<Connection>> {
    struct waiter;
    struct host {
        const std::string* origin = nullptr;
        std::size_t open = 0;
        struct kept {
            std::unique_ptr<Connection> what;
            time_point since;
        };
        std::deque<kept> idle;  // the one used last at the back
        std::list<waiter*> waiting;
        std::size_t callers = 0;  // frames that refer to this
    };

public:
    /// A place in the pool, with a connection or for one. Letting go of it closes the connection
    /// and gives the place to the next.
    class lease {
    public:
        lease() = default;
        lease(std::shared_ptr<pool> from, host* at, std::unique_ptr<Connection> with)
            : from_(std::move(from)), at_(at), with_(std::move(with)) {}
        lease(lease&&) noexcept = default;
        lease& operator=(lease&& other) noexcept {
            if (this == &other) return *this;
            end(false);
            from_ = std::move(other.from_);
            at_ = other.at_;
            with_ = std::move(other.with_);
            return *this;
        }
        ~lease() { end(false); }

        explicit operator bool() const { return from_ != nullptr; }
        /// The connection; null for a place that is still empty.
        Connection* connection() const { return with_.get(); }
        void fill(std::unique_ptr<Connection> fresh) { with_ = std::move(fresh); }
        const std::shared_ptr<pool>& from() const { return from_; }
        /// Gives the connection back for others to use.
        void keep() { end(true); }

    private:
        void end(bool reusable) {
            if (auto from = std::exchange(from_, nullptr))
                from->give_back(*at_, std::move(with_), reusable);
        }
        std::shared_ptr<pool> from_;
        host* at_ = nullptr;
        std::unique_ptr<Connection> with_;
    };

    pool(std::shared_ptr<socket_registry> in, clock_handle time, const http_policy& policy)
        : registry_(std::move(in)), time_(std::move(time)), policy_(policy), background_(time_) {
        policy_.max_connections = std::max<std::size_t>(policy_.max_connections, 1);
        policy_.max_per_host = std::max<std::size_t>(policy_.max_per_host, 1);
        registry_->add(*this);
    }
    pool(const pool&) = delete;
    pool& operator=(const pool&) = delete;
    ~pool() { registry_->remove(*this); }

    /// A place for a call to `origin`, with an idle connection when there is one and `fresh` does
    /// not forbid it. Errors: refused (the queue is full), timeout, closed.
    static task<result<lease>> acquire(std::shared_ptr<pool> self, std::string origin, limit until,
                                       bool fresh) {
        closing dropped;
        std::unique_lock lock(self->mutex_);
        if (self->down_) co_return error(error_kind::closed, "the io_context has ended");
        const time_point since = self->time_.now();
        self->sweep(since, dropped);
        host& at = self->host_of(origin);
        if (taking found = self->take_now(at, since, fresh, dropped); found.what) {
            lock.unlock();
            self->look_over(found);
            co_return std::move(found.what);
        }
        if (self->waiting_ >= self->policy_.max_queued) {
            const std::size_t queued = self->waiting_;
            self->forget_if_empty(at);
            lock.unlock();
            co_return error(error_kind::refused,
                            fmt::format("{} calls already wait for a connection", queued))
                .with_advice(
                    "Send less at once, or raise http_policy::max_connections or "
                    "max_queued.");
        }
        waiter me(self, at, fresh);
        until = until.earliest(after(since, self->policy_.queue));
        woke why = woke::by_bell;
        while (!me.granted && why == woke::by_bell)
            why = co_await wait(lock, me.ring, self->time_, until);
        self->wait_time_ += self->time_.now() - since;
        if (me.granted) {
            lease found(self, &at, me.take());
            lock.unlock();
            if (found.connection()) ++self->reused_;
            co_return found;
        }
        const std::size_t open = self->open_;
        lock.unlock();
        if (why == woke::by_close) co_return error(error_kind::closed, "the pipeline was closed");
        co_return error(error_kind::timeout,
                        fmt::format("no connection became free in time, {} are in use", open))
            .with_code("queue_limit")
            .with_advice("Raise http_policy::max_connections or the limit, or send less at once.");
    }

    /// The same without waiting: null when nothing is free. Knows what time it is.
    static lease acquire_now(const std::shared_ptr<pool>& self, const std::string& origin,
                             time_point now, bool fresh) {
        closing dropped;
        taking found;
        {
            std::lock_guard lock(self->mutex_);
            if (self->down_) return {};
            self->sweep(now, dropped);
            host& at = self->host_of(origin);
            found = self->take_now(at, now, fresh, dropped);
            if (!found.what) self->forget_if_empty(at);
        }
        self->look_over(found);
        return std::move(found.what);
    }
    static lease acquire_now(const std::shared_ptr<pool>& self, const std::string& origin) {
        return acquire_now(self, origin, self->time_.now(), false);
    }

    /// Work on lent connections that no call waits for; ends with the transport.
    scope& background() { return background_; }

    pool_figures figures() const {
        std::lock_guard lock(mutex_);
        pool_figures now;
        now.open = open_;
        now.idle = idle_;
        now.waiting = waiting_;
        now.reused = reused_;
        now.closed_idle = closed_idle_;
        now.waited = next_order_;
        now.wait_time = wait_time_;
        return now;
    }

    void drop() noexcept override {
        std::lock_guard lock(mutex_);
        down_ = true;
    }

private:
    using closing = std::vector<std::unique_ptr<Connection>>;  // destroyed without the lock

    /// A call in the queue; lives in its frame. Under the mutex, but for its ends.
    struct waiter {
        waiter(std::shared_ptr<pool> from, host& to, bool needs_fresh)
            : in(std::move(from)), at(to), fresh(needs_fresh), order(in->next_order_++) {
            place = at.waiting.insert(at.waiting.end(), this);
            ++at.callers;
            ++in->waiting_;
        }
        waiter(const waiter&) = delete;
        waiter& operator=(const waiter&) = delete;
        ~waiter() {
            // Handed over, but the frame ended before it could take it.
            if (granted) in->give_back(at, std::move(with), true);
            std::lock_guard lock(in->mutex_);
            if (queued) leave();
            --at.callers;
            in->forget_if_empty(at);
        }
        std::unique_ptr<Connection> take() {
            granted = false;
            return std::move(with);
        }
        void leave() {
            at.waiting.erase(place);
            --in->waiting_;
            queued = false;
        }

        std::shared_ptr<pool> in;
        host& at;
        bell ring;
        typename std::list<waiter*>::iterator place;
        const bool fresh;
        bool queued = true;
        bool granted = false;
        std::unique_ptr<Connection> with;
        const std::uint64_t order;
    };

    host& host_of(const std::string& origin) {
        const auto it = hosts_.try_emplace(origin).first;
        it->second.origin = &it->first;
        return it->second;
    }
    void forget_if_empty(host& at) {
        if (at.open == 0 && at.callers == 0) hosts_.erase(hosts_.find(*at.origin));
    }
    struct taking {
        lease what;
        duration idle{};  // for so long
    };
    // An idle connection, or a place for one; null when there is neither.
    taking take_now(host& at, time_point now, bool fresh, closing& dropped) {
        taking found;
        if (!fresh && !at.idle.empty()) {
            auto& last = at.idle.back();
            found.idle = now - last.since;
            found.what = lease(this->shared_from_this(), &at, std::move(last.what));
            at.idle.pop_back();
            --idle_;
        } else if (make_room(at, dropped)) {
            ++at.open;
            ++open_;
            found.what = lease(this->shared_from_this(), &at, nullptr);
        }
        return found;
    }
    // May make a system call, so not under the lock. What is of no use leaves an empty place.
    void look_over(taking& found) {
        Connection* const with = found.what.connection();
        if (!with) return;
        if (with->quiet(found.idle)) {
            ++reused_;
        } else {
            found.what.fill(nullptr);
            ++closed_idle_;
        }
    }

    // Whether one more may be opened to `at`, if need be by closing one that is idle.
    bool make_room(host& at, closing& dropped) {
        ++at.callers;  // or closing its last idle connection would forget it
        const bool made = at.open >= policy_.max_per_host
                              ? close_oldest(&at, dropped)
                              : open_ < policy_.max_connections || close_oldest(nullptr, dropped);
        --at.callers;
        return made;
    }
    bool close_oldest(host* only, closing& dropped) {
        host* oldest = only && !only->idle.empty() ? only : nullptr;
        if (!only) {
            for (auto& [origin, one] : hosts_) {
                if (one.idle.empty()) continue;
                if (!oldest || one.idle.front().since < oldest->idle.front().since) oldest = &one;
            }
        }
        if (!oldest) return false;
        close_front(*oldest, dropped);
        if (!only) forget_if_empty(*oldest);
        return true;
    }
    void close_front(host& at, closing& dropped) {
        ++closed_idle_;
        dropped.push_back(std::move(at.idle.front().what));
        at.idle.pop_front();
        --idle_;
        --at.open;
        --open_;
    }

    // Closes what has been idle too long, at most once in a tenth of the time.
    void sweep(time_point now, closing& dropped) {
        if (idle_ == 0 || now < next_sweep_) return;
        next_sweep_ = after(now, policy_.idle_timeout / 10);
        for (auto it = hosts_.begin(); it != hosts_.end();) {
            host& at = it->second;
            while (!at.idle.empty() && after(at.idle.front().since, policy_.idle_timeout) <= now)
                close_front(at, dropped);
            it = at.open == 0 && at.callers == 0 ? hosts_.erase(it) : std::next(it);
        }
    }

    void give_back(host& at, std::unique_ptr<Connection> what, bool reusable) {
        closing dropped;
        wakeup woken;
        std::lock_guard lock(mutex_);
        if (what && !(reusable && !down_)) dropped.push_back(std::move(what));
        while (waiter* next = down_ ? nullptr : longest_waiting(at)) {
            next->leave();
            woken = next->ring.ring_one();
            if (!woken) continue;  // its limit or its cancellation was quicker
            hand_over(at, *next, std::move(what), dropped);
            return;
        }
        if (what && idle_ < policy_.max_idle) {
            const time_point now = time_.now();
            at.idle.push_back({std::move(what), now});
            ++idle_;
            sweep(now, dropped);
            return;
        }
        if (what) dropped.push_back(std::move(what));
        --at.open;
        --open_;
        forget_if_empty(at);
    }
    void hand_over(host& from, waiter& to, std::unique_ptr<Connection> what, closing& dropped) {
        to.granted = true;
        if (&to.at == &from && !to.fresh) {
            to.with = std::move(what);
            return;
        }
        if (what) dropped.push_back(std::move(what));
        ++to.at.open;
        --from.open;
        forget_if_empty(from);
    }
    waiter* longest_waiting(host& freed) {
        if (waiting_ == 0) return nullptr;
        waiter* first = nullptr;
        for (auto& [origin, at] : hosts_) {
            if (at.waiting.empty()) continue;
            if (&at != &freed && at.open >= policy_.max_per_host) continue;
            if (!first || at.waiting.front()->order < first->order) first = at.waiting.front();
        }
        return first;
    }

    std::shared_ptr<socket_registry> registry_;
    clock_handle time_;
    http_policy policy_;
    mutable std::mutex mutex_;
    std::unordered_map<std::string, host> hosts_;
    std::size_t open_ = 0;
    std::size_t idle_ = 0;
    std::size_t waiting_ = 0;
    std::uint64_t next_order_ = 0;
    time_point next_sweep_ = time_point::min();
    duration wait_time_{};
    std::atomic<std::uint64_t> reused_{0};
    std::atomic<std::uint64_t> closed_idle_{0};
    bool down_ = false;
    scope background_;
};

}  // namespace llmkit::detail
