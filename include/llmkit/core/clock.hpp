// llmkit/core/clock.hpp: what time it is, and where children run; real or virtual.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>

#include <asio/thread_pool.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/timer_queue.hpp>

namespace llmkit {

/// Where time comes from. Implemented by the real clock below and by `simulation::world`.
class clock_source : public timer_queue {
public:
    virtual time_point now() const noexcept = 0;
    /// The same moment on the calendar, for dates in headers and logs.
    virtual std::chrono::system_clock::time_point wall() const noexcept = 0;
    /// The executor that this time passes on.
    virtual executor base() const = 0;
    /// A fresh place for one coroutine beside its starter: its handlers never run at once.
    virtual executor lane() = 0;
    /// A start for a generator of random numbers: from the operating system, or from a simulation's
    /// seed, so that jitter repeats as well.
    virtual std::uint64_t seed() {
        std::random_device device;
        return (std::uint64_t{device()} << 32) ^ device();
    }
    /// Called by the context that goes down, before its handlers are destroyed.
    virtual void stop() { shut_down(); }
};

namespace detail {

/// Limits end within this much of their time, without a system call for each.
inline constexpr duration timer_tick = std::chrono::milliseconds(10);

/// The steady clock, with one Asio timer for all limits of a context.
class real_clock final : public clock_source, public std::enable_shared_from_this<real_clock> {
public:
    real_clock(executor base, bool one_thread)
        : base_(base), timer_(std::in_place, base), one_thread_(one_thread) {}

    time_point now() const noexcept override { return std::chrono::steady_clock::now(); }
    std::chrono::system_clock::time_point wall() const noexcept override {
        return std::chrono::system_clock::now();
    }
    executor base() const override {
        std::lock_guard lock(timer_mutex_);
        if (!timer_) throw_cancelled();
        return base_;
    }
    executor lane() override {
        const executor where = base();
        if (one_thread_) return where;
        // A strand of the plain executor spares each of its steps a virtual call.
        if (auto* io = where.target<asio::io_context::executor_type>()) {
            return asio::make_strand(*io);
        }
        return asio::make_strand(where);
    }
    void stop() override {
        {
            std::lock_guard lock(timer_mutex_);
            timer_.reset();
            base_ = executor();
        }
        shut_down();
    }

private:
    // Armed at most a tick ahead: a later limit that is armed meanwhile costs nothing, and one that
    // is dropped costs one idle wake-up.
    void wake_at(time_point at) override {
        const time_point when = std::min(at, now() + timer_tick);
        std::lock_guard lock(timer_mutex_);
        if (!timer_ || when >= armed_) return;
        armed_ = when;
        timer_->expires_at(when);
        timer_->async_wait([self = weak_from_this()](const std::error_code& failed) {
            if (failed) return;
            if (auto clock = self.lock()) clock->woken();
        });
    }
    void woken() {
        {
            std::lock_guard lock(timer_mutex_);
            armed_ = time_point::max();
        }
        run_due(now());
    }

    mutable std::mutex timer_mutex_;
    executor base_;
    std::optional<asio::steady_timer> timer_;
    time_point armed_ = time_point::max();
    const bool one_thread_;
};

/// Keeps a context's one clock, so that whatever is built on that context shares it.
class clock_service final : public asio::execution_context::service {
public:
    using key_type = clock_service;
    inline static asio::execution_context::id id;

    explicit clock_service(asio::execution_context& context) : service(context) {}
    clock_service(asio::execution_context& context, std::shared_ptr<clock_source> source)
        : service(context), source_(std::move(source)) {}

    std::shared_ptr<clock_source> source(const executor& asking) {
        std::lock_guard lock(mutex_);
        if (!source_) source_ = std::make_shared<real_clock>(plain(asking), one_thread_);
        return source_;
    }
    void one_thread() {
        std::lock_guard lock(mutex_);
        one_thread_ = true;
    }

private:
    void shutdown() override {
        std::shared_ptr<clock_source> source;
        {
            std::lock_guard lock(mutex_);
            source = source_;
        }
        if (source) source->stop();
    }
    // Not a caller's strand: timers need none, and would keep it alive.
    static executor plain(const executor& asking) {
        if (auto io = inner<asio::io_context::executor_type>(asking)) return io;
        if (auto pool = inner<asio::thread_pool::executor_type>(asking)) return pool;
        if (auto* strand = asking.target<asio::strand<executor>>()) {
            return plain(strand->get_inner_executor());
        }
        return asking;
    }
    template <class Plain>
    static executor inner(const executor& asking) {
        if (auto* same = asking.target<Plain>()) return *same;
        if (auto* strand = asking.target<asio::strand<Plain>>())
            return strand->get_inner_executor();
        return {};
    }

    std::mutex mutex_;
    std::shared_ptr<clock_source> source_;
    bool one_thread_ = false;
};

}  // namespace detail

/// Promises that never more than one thread runs this context. Work beside a call then needs no
/// strand, which makes `dedup` and background work a little quicker.
///
///     asio::io_context context(1);
///     llmkit::one_thread(context);  // then clients, and one context.run()
///
/// Say it before anything of llmkit is made there: later it changes nothing. A promise that is
/// broken ends in data races. `run` and `background_loop` have said it for theirs.
inline void one_thread(asio::io_context& context) {
    asio::use_service<detail::clock_service>(context).one_thread();
}

/// A handle on a clock: cheap to copy, safe from any thread, harmless after its context is gone.
///
///     llmkit::clock_handle clock(co_await asio::this_coro::executor);
///     auto soon = clock.now() + 20ms;
///
/// All clocks made from executors of one context are the same clock. In a `simulation::world` it is
/// virtual. Every service has one, `clock()`, and a pipeline refuses to mix two.
class clock_handle {
public:
    explicit clock_handle(const executor& where)
        : source_(
              asio::use_service<detail::clock_service>(asio::query(where, asio::execution::context))
                  .source(where)) {}
    explicit clock_handle(std::shared_ptr<clock_source> source) : source_(std::move(source)) {}

    time_point now() const noexcept { return source_->now(); }
    std::chrono::system_clock::time_point wall() const noexcept { return source_->wall(); }
    executor base() const { return source_->base(); }
    executor lane() const { return source_->lane(); }
    /// For a layer's own generator, once when it wraps.
    std::uint64_t seed() const { return source_->seed(); }
    timer_queue& timers() const { return *source_; }

    friend bool operator==(const clock_handle&, const clock_handle&) = default;

private:
    std::shared_ptr<clock_source> source_;
};

}  // namespace llmkit
