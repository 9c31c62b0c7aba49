// llmkit/core/wait.hpp: park a coroutine until it is woken, its limit passes, or it is cancelled.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/limit.hpp>

namespace llmkit {

/// Why a wait ended. A caller's cancellation is no answer but an exception.
enum class woke : std::uint8_t {
    by_bell,   ///< somebody rang: what was waited for is handed over
    by_limit,  ///< the limit passed
    by_close,  ///< the pipeline that the wait was done for was closed
};

namespace detail {
enum class wake_reason : std::uint8_t { none, bell, limit, close, cancel };

using wait_handler =
    typename asio::async_result<asio::use_awaitable_t<>, void(wake_reason)>::handler_type;

/// A parked coroutine that has been claimed: resumed by `fire`, exactly once.
class claimed_wait {
public:
    claimed_wait(wait_handler handler, wake_reason why) : handler_(std::move(handler)), why_(why) {}
    void operator()() {
        auto where = asio::get_associated_executor(handler_);
        asio::post(where, [handler = std::move(handler_), why = why_]() mutable { handler(why); });
    }
    executor where() const { return asio::get_associated_executor(handler_); }
    /// Resumes it inline: on its own executor only.
    void here() {
        wait_handler handler = std::move(handler_);
        handler(why_);
    }

private:
    wait_handler handler_;
    wake_reason why_;
};

/// One parked coroutine. Bell, limit and cancellation race for it; one atomic claim decides.
class wait_node final : public timer_node {
public:
    std::optional<claimed_wait> claim(wake_reason why) {
        if (claimed_.exchange(true, std::memory_order_acq_rel)) return std::nullopt;
        std::optional<claimed_wait> won(std::in_place, std::move(*handler_), why);
        handler_.reset();
        return won;
    }
    void store(wait_handler handler) { handler_.emplace(std::move(handler)); }

    wait_node* before = nullptr;  // neighbours in the bell, guarded by the bell's mutex
    wait_node* behind = nullptr;
    bool linked = false;

private:
    small_call expire(expiry why) override {
        auto won = claim(why == expiry::closed ? wake_reason::close : wake_reason::limit);
        return won ? small_call(std::move(*won)) : small_call();
    }

    std::atomic<bool> claimed_{false};
    std::optional<wait_handler> handler_;
};
}  // namespace detail

/// A waiter that `bell::ring_one` chose. Fire it after unlocking; it fires itself otherwise.
class [[nodiscard]] wakeup {
public:
    wakeup() = default;
    explicit wakeup(detail::claimed_wait chosen) : chosen_(std::move(chosen)) {}
    wakeup(wakeup&& other) noexcept : chosen_(std::move(other.chosen_)) { other.chosen_.reset(); }
    wakeup& operator=(wakeup&& other) noexcept {
        fire();
        if (other.chosen_) chosen_.emplace(std::move(*other.chosen_));
        other.chosen_.reset();
        return *this;
    }
    ~wakeup() { fire(); }

    /// True when somebody was waiting.
    explicit operator bool() const { return chosen_.has_value(); }
    /// Resumes the waiter on its own executor (posted, never inline). Not under a lock.
    void fire() {
        if (chosen_) fire_chosen();
    }

private:
    // Inlined behind the test, g++ 12 takes the empty optional for an uninitialised one.
    [[gnu::noinline]] void fire_chosen() {
        detail::claimed_wait chosen = std::move(*chosen_);
        chosen_.reset();
        chosen();
    }

    std::optional<detail::claimed_wait> chosen_;
};

/// Coroutines waiting for one thing, first come first served. Guarded by a mutex of its owner.
class bell {
public:
    bell() = default;
    bell(const bell&) = delete;
    bell& operator=(const bell&) = delete;

    bool empty() const { return !first_; }
    std::size_t size() const { return size_; }

    /// Chooses who has waited longest. Under the owner's mutex.
    wakeup ring_one() {
        auto won = ring_claim();
        return won ? wakeup(std::move(*won)) : wakeup();
    }
    /// The same, for `wakeups`.
    std::optional<detail::claimed_wait> ring_claim() {
        while (detail::wait_node* node = first_) {
            unlink(*node);
            if (auto won = node->claim(detail::wake_reason::bell)) return won;
        }
        return std::nullopt;
    }
    /// Chooses all. Under the owner's mutex.
    std::vector<wakeup> ring_all() {
        std::vector<wakeup> all;
        while (auto one = ring_one()) all.push_back(std::move(one));
        return all;
    }

    void link(detail::wait_node& node) {
        node.before = last_;
        (last_ ? last_->behind : first_) = &node;
        last_ = &node;
        node.linked = true;
        ++size_;
    }
    void unlink(detail::wait_node& node) {
        if (!node.linked) return;
        (node.before ? node.before->behind : first_) = node.behind;
        (node.behind ? node.behind->before : last_) = node.before;
        node.before = node.behind = nullptr;
        node.linked = false;
        --size_;
    }

private:
    detail::wait_node* first_ = nullptr;
    detail::wait_node* last_ = nullptr;
    std::size_t size_ = 0;
};

namespace detail {

/// Unlinks and disarms the node when its frame goes, whether it was resumed or destroyed.
class wait_guard {
public:
    wait_guard(wait_node& node, bell* where, std::mutex* mutex, timer_queue& timers)
        : node_(node), bell_(where), mutex_(mutex), timers_(timers) {}
    wait_guard(const wait_guard&) = delete;
    wait_guard& operator=(const wait_guard&) = delete;
    ~wait_guard() { release(); }

    /// Leaves the bell's mutex locked when there is one.
    std::unique_lock<std::mutex> release() {
        std::unique_lock<std::mutex> lock;
        if (released_) return lock;
        released_ = true;
        if (mutex_) {
            lock = std::unique_lock(*mutex_);
            bell_->unlink(node_);
        }
        timers_.disarm(node_);
        return lock;
    }

private:
    wait_node& node_;
    bell* bell_;
    std::mutex* mutex_;
    timer_queue& timers_;
    bool released_ = false;
};

/// Parks in `bell` (if any); `lock` is given up once the node can be found.
inline task<wake_reason> park(wait_node& parked, bell* in, std::unique_lock<std::mutex>* guarding,
                              timer_queue& queue, limit last) {
    return asio::async_initiate<const asio::use_awaitable_t<>&, void(wake_reason)>(
        [](wait_handler handler, wait_node* node, bell* where, std::unique_lock<std::mutex>* lock,
           timer_queue* timers, limit until) {
            // From the moment the node is armed another thread may resume and end its frame: only
            // locals of this function are touched after that.
            auto slot = asio::get_associated_cancellation_slot(handler);
            node->store(std::move(handler));
            if (slot.is_connected()) {
                slot.assign([node](asio::cancellation_type type) {
                    if (type == asio::cancellation_type::none) return;
                    if (auto won = node->claim(wake_reason::cancel)) (*won)();
                });
            }
            std::unique_lock<std::mutex> held;
            if (lock) held = std::move(*lock);
            if (where) where->link(*node);
            if (timers->arm(*node, until)) return;
            auto dropped = node->claim(wake_reason::none);  // unwound once the lock is free
            if (held.owns_lock()) held.unlock();
        },
        asio::use_awaitable, &parked, in, guarding, &queue, last);
}

/// One wait, in the frame of whoever waits: what `wait` does, without a coroutine of its own.
///
///     parking parked(lock, bell, timers);
///     const auto why = co_await parked.begin(until);
///     if (parked.end(why) != woke::by_bell) …
class parking {
public:
    parking(std::unique_lock<std::mutex>& lock, bell& where, timer_queue& timers)
        : lock_(lock), bell_(where), timers_(timers), guard_(node_, &where, lock.mutex(), timers) {}

    task<wake_reason> begin(limit until) { return park(node_, &bell_, &lock_, timers_, until); }
    /// Holds the lock again; throws on cancellation.
    woke end(wake_reason why) {
        lock_ = guard_.release();
        if (why == wake_reason::cancel) {
            lock_.unlock();
            throw_cancelled();
        }
        if (why == wake_reason::bell) return woke::by_bell;
        return why == wake_reason::close ? woke::by_close : woke::by_limit;
    }

private:
    std::unique_lock<std::mutex>& lock_;
    bell& bell_;
    timer_queue& timers_;
    wait_node node_;
    wait_guard guard_;
};

}  // namespace detail

/// Parks the calling coroutine in `where` until it is rung, `until` passes or it is cancelled.
///
///     std::unique_lock lock(core->mutex);
///     while (core->free == 0) {
///         auto why = co_await wait(lock, core->returned, clock, until);  // unlocks meanwhile
///         if (why != woke::by_bell) co_return error(error_kind::timeout, "no free slot");
///     }
///
/// `lock` guards `where` and must be held. It is given up while waiting and held again afterwards,
/// but not when the wait ends by cancellation, which throws `operation_aborted`. Whoever is handed
/// something by the bell owns it, also if a limit passed at the same moment. Mutex and bell must
/// live in a core that the waiting frame keeps alive. If the context goes down, the frame is
/// destroyed instead of resumed.
inline task<woke> wait(std::unique_lock<std::mutex>& lock, bell& where, clock_handle time,
                       limit until) {
    detail::parking parked(lock, where, time.timers());
    const auto why = co_await parked.begin(until);
    co_return parked.end(why);
}

/// Waits until `until` passes: `by_limit`, or `by_close` when its pipeline was closed before.
/// Cancellation throws. At most a few microseconds late plus the executor's own delay.
inline task<woke> sleep_until(clock_handle time, limit until) {
    detail::wait_node node;
    detail::wait_guard guard(node, nullptr, nullptr, time.timers());
    const auto why = co_await detail::park(node, nullptr, nullptr, time.timers(), until);
    guard.release();
    if (why == detail::wake_reason::cancel) throw_cancelled();
    co_return why == detail::wake_reason::close ? woke::by_close : woke::by_limit;
}

/// Waits for `span` of the clock's time.
inline task<woke> sleep_for(clock_handle time, duration span) {
    limit until;
    until.until = after(time.now(), span);
    return sleep_until(std::move(time), until);
}

/// A callback at a limit, for what has no coroutine to wake: `cut` is called by the clock, on the
/// thread that the clock runs on, unless the cutoff was destroyed before. It must be short, must
/// not throw, and may come while the destructor runs on another thread: let it hold what it
/// touches.
template <class Cut>
class cutoff final : private timer_node {
public:
    cutoff(clock_handle time, const limit& until, Cut cut)
        : time_(std::move(time)), cut_(std::move(cut)) {
        time_.timers().arm(*this, until);
    }
    ~cutoff() { time_.timers().disarm(*this); }

private:
    detail::small_call expire(expiry why) override {
        if (why == expiry::shutdown) return {};
        return detail::small_call([cut = cut_, why]() mutable { cut(why); });
    }

    clock_handle time_;
    Cut cut_;
};

}  // namespace llmkit
