// llmkit/core/timer_queue.hpp: one heap of everything that waits on a clock.
#pragma once

#include <cstdint>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include <llmkit/core/limit.hpp>
#include <llmkit/detail/small_call.hpp>

namespace llmkit {

/// Why a timer ended: its time came, its pipeline was closed, or its clock is going down.
enum class expiry : std::uint8_t { limit, closed, shutdown };

/// Something that waits: lives in the waiting frame, linked into the clock's queue.
class timer_node {
public:
    timer_node() = default;
    timer_node(const timer_node&) = delete;
    timer_node& operator=(const timer_node&) = delete;

protected:
    ~timer_node() = default;

    /// Called once, under the queue's lock and already unlinked. Returns what is to be done after
    /// unlocking; on `shutdown` that is only destroyed, never called.
    virtual detail::small_call expire(expiry why) = 0;

private:
    friend class timer_queue;
    static constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

    limit limit_;
    std::size_t place_ = nowhere;
};

/// The timers of one clock: arming and dropping cost a few dozen nanoseconds and no system call.
///
/// Thread-safe. A node without limit is kept as well, so that shutting down finds every waiter.
class timer_queue {
public:
    virtual ~timer_queue() = default;

    /// Links `node`. False when the clock has gone down: the wait must not begin.
    bool arm(timer_node& node, const limit& until) {
        std::lock_guard lock(mutex_);
        if (down_) return false;
        node.limit_ = until;
        const time_point at = until.effective();
        if (at == time_point::max()) {
            node.place_ = parked_.size() | parked_bit;
            parked_.push_back(&node);
            return true;
        }
        push(node, at);
        if (at < wakeup_) rearm(at);
        return true;
    }

    /// Unlinks `node` if it still is linked. Afterwards its `expire` does not run any more.
    void disarm(timer_node& node) {
        std::lock_guard lock(mutex_);
        unlink(node);
    }

    /// Ends the waits that are done for the pipeline `scope`, whatever their limits.
    void close(const void* scope) {
        std::vector<timer_node*> found;
        std::vector<detail::small_call> calls;
        {
            std::lock_guard lock(mutex_);
            const auto look = [&](timer_node* node) {
                if (node->limit_.owner && node->limit_.owner->belongs_to(scope)) {
                    found.push_back(node);
                }
            };
            for (auto& waiting : heap_) look(waiting.node);
            for (auto* node : parked_) look(node);
            for (auto* node : found) {
                unlink(*node);
                calls.push_back(node->expire(expiry::closed));
            }
        }
        for (auto& call : calls) call();
    }

    std::size_t size() const {
        std::lock_guard lock(mutex_);
        return heap_.size() + parked_.size();
    }

protected:
    /// Asks the clock to call `run_due` at `at`, the earliest limit. Called under the lock.
    virtual void wake_at(time_point at) = 0;

    /// Ends every wait that is due and calls `wake_at` for the next; returns how many ended.
    std::size_t run_due(time_point now) {
        std::vector<detail::small_call> calls;
        {
            std::lock_guard lock(mutex_);
            calls.swap(spare_);
            wakeup_ = time_point::max();
            while (!heap_.empty() && heap_.front().at <= now) {
                timer_node& node = *heap_.front().node;
                remove(0);
                // A joined call's limit may have moved while it ran.
                if (const time_point at = node.limit_.effective(); at > now) {
                    push(node, at);
                    continue;
                }
                calls.push_back(node.expire(expiry::limit));
            }
            if (!heap_.empty()) rearm(heap_.front().at);
        }
        for (auto& call : calls) call();
        const std::size_t ended = calls.size();
        calls.clear();
        std::lock_guard lock(mutex_);
        if (spare_.capacity() < calls.capacity() && calls.capacity() <= 4096) spare_.swap(calls);
        return ended;
    }

    /// The earliest limit, or `time_point::max()`.
    time_point next() const {
        std::lock_guard lock(mutex_);
        return heap_.empty() ? time_point::max() : heap_.front().at;
    }

    /// Unwinds all waiters: their handlers are destroyed, not called. For a context's shutdown.
    void shut_down() {
        for (;;) {
            detail::small_call dropped;
            std::lock_guard lock(mutex_);
            down_ = true;
            timer_node* node = nullptr;
            if (!parked_.empty()) node = parked_.back();
            if (!node && !heap_.empty()) node = heap_.back().node;
            if (!node) return;
            unlink(*node);
            dropped = node->expire(expiry::shutdown);
        }
    }

private:
    struct entry {
        time_point at;
        std::uint64_t order;  // equal times expire in the order in which they were armed
        timer_node* node;
        bool before(const entry& other) const {
            return at != other.at ? at < other.at : order < other.order;
        }
    };
    static constexpr std::size_t parked_bit = std::size_t{1} << 62;
    static constexpr std::size_t arity = 4;

    void rearm(time_point at) {
        wakeup_ = at;
        wake_at(at);
    }
    void push(timer_node& node, time_point at) {
        heap_.push_back(entry{at, order_++, &node});
        rise(heap_.size() - 1);
    }
    void unlink(timer_node& node) {
        const std::size_t place = std::exchange(node.place_, timer_node::nowhere);
        if (place == timer_node::nowhere) return;
        if (place & parked_bit) {
            const std::size_t index = place & ~parked_bit;
            parked_[index] = parked_.back();
            parked_[index]->place_ = place;
            parked_.pop_back();
            if (index == parked_.size()) node.place_ = timer_node::nowhere;
            return;
        }
        node.place_ = place;
        remove(place);
    }
    void remove(std::size_t index) {
        heap_[index].node->place_ = timer_node::nowhere;
        const entry last = heap_.back();
        heap_.pop_back();
        if (index == heap_.size()) return;
        heap_[index] = last;
        last.node->place_ = index;
        if (!sink(index)) rise(index);
    }
    void rise(std::size_t index) {
        const entry moving = heap_[index];
        while (index > 0) {
            const std::size_t parent = (index - 1) / arity;
            if (!moving.before(heap_[parent])) break;
            put(index, heap_[parent]);
            index = parent;
        }
        put(index, moving);
    }
    bool sink(std::size_t index) {
        const entry moving = heap_[index];
        const std::size_t start = index;
        for (;;) {
            std::size_t child = index * arity + 1;
            if (child >= heap_.size()) break;
            const std::size_t end = std::min(child + arity, heap_.size());
            std::size_t least = child;
            while (++child < end) {
                if (heap_[child].before(heap_[least])) least = child;
            }
            if (!heap_[least].before(moving)) break;
            put(index, heap_[least]);
            index = least;
        }
        put(index, moving);
        return index != start;
    }
    void put(std::size_t index, const entry& what) {
        heap_[index] = what;
        what.node->place_ = index;
    }

    mutable std::mutex mutex_;
    std::vector<entry> heap_;
    std::vector<timer_node*> parked_;
    std::vector<detail::small_call> spare_;
    std::uint64_t order_ = 0;
    time_point wakeup_ = time_point::max();
    bool down_ = false;
};

}  // namespace llmkit
