// llmkit/simulation/world.hpp: a world of its own, where time passes only when all have waited.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/detail/small_call.hpp>
#include <llmkit/detail/valued.hpp>

namespace llmkit::simulation {

/// An execution context with virtual time: handlers run one after the other on the thread that
/// calls `run`, and when none is ready the clock leaps to the next timer.
///
///     llmkit::simulation::world world;
///     auto client = pipeline(testing::scripted(world.get_executor(), …)) | retry();
///     auto answer = world.wait(client.chat(chat_request("m").user("Hi")));   // takes no real time
///     CHECK(world.elapsed() == 500ms);
///
/// The same program with the same seed does exactly the same again. Everything made from its
/// executor uses its clock. Not thread-safe. Destroying it unwinds what still waits.
class world : public asio::execution_context {
public:
    class executor_type;

    explicit world(std::uint64_t seed = 1);
    ~world() {
        down_ = true;
        shutdown();
        while (!ready_.empty()) {
            auto dropped = std::move(ready_.front());
            ready_.pop_front();
        }
        destroy();
    }

    executor_type get_executor() noexcept;
    clock_handle clock() const;
    time_point now() const noexcept;
    /// Virtual time since the world began.
    duration elapsed() const noexcept { return now() - began; }
    /// The world's only source of chance.
    std::mt19937_64& random() noexcept { return random_; }

    /// Runs until nothing can happen any more; returns how many handlers ran.
    std::size_t run() { return run_until(time_point::max()); }
    /// Runs what happens until then, and leaves the clock there.
    std::size_t run_for(duration span) { return run_until(after(now(), span)); }
    std::size_t run_until(time_point end);
    /// Runs what is ready now; no time passes.
    std::size_t poll();

    /// Runs the world until `work` has ended, and gives what it gave or throws what it threw.
    template <class T>
    T wait(task<T> work);

    static constexpr time_point began{std::chrono::hours(1)};

private:
    class virtual_clock;

    bool leap(time_point end);

    std::deque<detail::small_call> ready_;
    std::shared_ptr<virtual_clock> clock_;
    std::mt19937_64 random_;
    bool down_ = false;
};

/// Where handlers of a world run. Never inline: a post is a place at the end of the queue.
class world::executor_type {
public:
    explicit executor_type(world& where) noexcept : world_(&where) {}

    friend bool operator==(const executor_type&, const executor_type&) = default;

    world& query(asio::execution::context_t) const noexcept { return *world_; }
    static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
        return asio::execution::blocking.never;
    }
    template <class F>
    void execute(F&& handler) const {
        if (!world_->down_) world_->ready_.emplace_back(std::forward<F>(handler));
    }

private:
    world* world_;
};

class world::virtual_clock final : public clock_source {
public:
    virtual_clock(world& where, std::uint64_t seed) : world_(&where), seeds_(seed) {}

    time_point now() const noexcept override { return now_; }
    std::chrono::system_clock::time_point wall() const noexcept override {
        // 2026-01-01T00:00:00Z: any fixed day will do.
        return std::chrono::system_clock::time_point(std::chrono::seconds(1767225600)) +
               std::chrono::duration_cast<std::chrono::system_clock::duration>(now_ - began);
    }
    executor base() const override { return executor_type(*world_); }
    executor lane() override { return executor_type(*world_); }
    std::uint64_t seed() override { return seeds_(); }

    void set(time_point to) { now_ = to; }
    using timer_queue::next;
    using timer_queue::run_due;

private:
    void wake_at(time_point) override {}

    world* world_;
    std::mt19937_64 seeds_;
    time_point now_ = began;
};

inline world::world(std::uint64_t seed)
    : clock_(std::make_shared<virtual_clock>(*this, ~seed)), random_(seed) {
    asio::make_service<detail::clock_service>(*this, clock_);
}

inline world::executor_type world::get_executor() noexcept { return executor_type(*this); }
inline clock_handle world::clock() const { return clock_handle(clock_); }
inline time_point world::now() const noexcept { return clock_->now(); }

inline std::size_t world::poll() {
    std::size_t ran = 0;
    while (!ready_.empty()) {
        auto handler = std::move(ready_.front());
        ready_.pop_front();
        handler();
        ++ran;
    }
    return ran;
}

/// Moves the clock to the next timer that is due by `end`; false when there is none.
inline bool world::leap(time_point end) {
    const time_point next = clock_->next();
    if (next == time_point::max() || next > end) return false;
    if (next > clock_->now()) clock_->set(next);
    clock_->run_due(clock_->now());
    return true;
}

inline std::size_t world::run_until(time_point end) {
    std::size_t ran = 0;
    do {
        ran += poll();
    } while (leap(end));
    if (end != time_point::max() && clock_->now() < end) clock_->set(end);
    return ran;
}

template <class T>
T world::wait(task<T> work) {
    using value = detail::value_of<T>;
    bool ended = false;
    std::exception_ptr failed;
    std::optional<value> got;
    asio::co_spawn(executor(get_executor()), detail::valued(std::move(work)),
                   [&](std::exception_ptr failure, value result) {
                       failed = std::move(failure);
                       got = std::move(result);
                       ended = true;
                   });
    do {
        while (!ended && !ready_.empty()) {
            auto handler = std::move(ready_.front());
            ready_.pop_front();
            handler();
        }
    } while (!ended && leap(time_point::max()));
    if (!ended) {
        throw std::logic_error(
            "simulation: nothing can happen any more, but the task has not ended; it waits for "
            "something that nobody will do");
    }
    if (failed) std::rethrow_exception(failed);
    if constexpr (!std::is_void_v<T>) return std::move(*got);
}

}  // namespace llmkit::simulation
