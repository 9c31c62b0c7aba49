// llmkit/batch/map.hpp: many calls at once, but not too many, with their results in order.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/chat.hpp>
#include <llmkit/core/chat_request.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

struct batch_policy {
    /// Calls under way at the same time, at least 1.
    std::size_t concurrency = 16;
    /// The first item that fails ends the rest.
    bool stop_on_error = false;
};
// So that map(client, asks, {.concurrency = 4}) is safe inside a co_await expression on g++ 12.
static_assert(std::is_trivially_destructible_v<batch_policy>);

/// How far a batch has come.
struct batch_progress {
    std::size_t done = 0;    ///< items that have ended, well or not
    std::size_t failed = 0;  ///< of these, how many in an error
    std::size_t total = 0;
};
static_assert(std::is_trivially_destructible_v<batch_progress>);

namespace detail {

struct no_progress {
    void operator()(const batch_progress&) const {}
};

template <class>
inline constexpr bool is_result_task = false;
template <class T>
inline constexpr bool is_result_task<task<result<T>>> = true;

/// The `result<T>` of a function that returns `task<result<T>>`.
template <class F, class Item>
using batch_result = typename std::invoke_result_t<F&, Item>::value_type;

/// What the workers of one batch share. Each worker takes the next item until there is none, so
/// that a million items cost as many coroutines as run at the same time.
template <class Item, class F, class Progress>
class batch_run : public std::enable_shared_from_this<batch_run<Item, F, Progress>> {
public:
    using result_type = batch_result<F, Item>;

    batch_run(std::vector<Item> items, F work, batch_policy policy, Progress tell)
        : items_(std::move(items)),
          work_(std::move(work)),
          tell_(std::move(tell)),
          policy_(policy) {
        results_.reserve(items_.size());
        // Not default-constructed: an empty `result<void>` would be a success.
        for (std::size_t i = 0; i < items_.size(); ++i) results_.emplace_back(error());
    }

    /// Runs all items. Does not return, also when cancelled, before every worker has ended: what
    /// they refer to is the caller's.
    static task<std::vector<result_type>> run(std::shared_ptr<batch_run> self) {
        const clock_handle time(co_await asio::this_coro::executor);
        std::exception_ptr failed;
        self->start_workers(time);
        try {
            co_await join(self, time);
        } catch (...) {
            failed = std::current_exception();
        }
        if (failed) {
            self->stop();
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            co_await join(self, time);
            co_await asio::this_coro::reset_cancellation_state(
                asio::enable_terminal_cancellation());
            std::rethrow_exception(failed);
        }
        co_return std::move(self->results_);
    }

private:
    void start_workers(const clock_handle& time) {
        const std::size_t wanted = std::max<std::size_t>(policy_.concurrency, 1);
        const std::size_t count = std::min(wanted, items_.size());
        running_ = count;
        for (std::size_t i = 0; i < count; ++i) {
            child<void> started(time, worker(this->shared_from_this()));
            const std::lock_guard lock(mutex_);
            // Otherwise `started` is cancelled right here.
            if (!stopped_) workers_.push_back(std::move(started));
        }
    }
    static task<void> join(std::shared_ptr<batch_run> self, clock_handle time) {
        std::unique_lock lock(self->mutex_);
        while (self->running_ > 0) co_await wait(lock, self->ended_, time, limit());
    }

    /// Says that a worker has ended, however it did.
    class worker_turn {
    public:
        explicit worker_turn(std::shared_ptr<batch_run> of) : of_(std::move(of)) {}
        worker_turn(worker_turn&&) noexcept = default;
        worker_turn& operator=(worker_turn&&) = delete;
        ~worker_turn() {
            if (of_) of_->one_ended();
        }

    private:
        std::shared_ptr<batch_run> of_;
    };

    static task<void> worker(std::shared_ptr<batch_run> self) {
        return work_on(self.get(), worker_turn(self));
    }
    static task<void> work_on(batch_run* self, worker_turn) {
        while (const auto index = self->next()) {
            auto got = co_await one(self, *index);
            self->done(*index, std::move(got));
        }
    }
    static task<result_type> one(batch_run* self, std::size_t index) {
        std::optional<std::string> thrown;
        try {
            auto got = co_await self->work_(std::move(self->items_[index]));
            co_return got;
        } catch (const std::exception& failure) {
            thrown = failure.what();
        }
        // `work` may throw `operation_aborted` for reasons of its own; only ours ends the worker.
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
        co_return error(error_kind::internal, *thrown);
    }

    std::optional<std::size_t> next() {
        const std::lock_guard lock(mutex_);
        if (stopped_ || next_ == items_.size()) return std::nullopt;
        return next_++;
    }
    void done(std::size_t index, result_type got) {
        const bool failed = !got;
        results_[index] = std::move(got);
        if (failed && policy_.stop_on_error) stop_after(index);
        // One at a time and in the order of the counts, for whoever draws a bar.
        const std::lock_guard lock(progress_mutex_);
        ++progress_.done;
        if (failed) ++progress_.failed;
        progress_.total = items_.size();
        tell_(std::as_const(progress_));
    }
    void stop_after(std::size_t index) {
        {
            const std::lock_guard lock(mutex_);
            if (stopped_) return;
            failed_ = index;
        }
        stop();
    }
    void stop() {
        std::vector<child<void>> cancelled;  // by letting go of them, without the lock
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        cancelled.swap(workers_);
    }
    void one_ended() {
        std::vector<wakeup> woken;
        {
            const std::lock_guard lock(mutex_);
            if (--running_ > 0) return;
            if (failed_) say_stopped();
            woken = ended_.ring_all();
        }
    }
    void say_stopped() {
        const error stopped(error_kind::refused,
                            fmt::format("not finished, because item {} failed and the batch was "
                                        "to stop at the first failure",
                                        *failed_));
        for (auto& one : results_) {
            if (!one && one.error().kind() == error_kind::unset) one = stopped;
        }
    }

    std::vector<Item> items_;
    F work_;
    Progress tell_;
    const batch_policy policy_;
    std::vector<result_type> results_;

    std::mutex mutex_;
    bell ended_;
    std::vector<child<void>> workers_;
    std::size_t next_ = 0;
    std::size_t running_ = 0;
    bool stopped_ = false;
    std::optional<std::size_t> failed_;

    std::mutex progress_mutex_;
    batch_progress progress_;
};

/// The chat calls of a client as a function of a request.
template <class Client>
class chat_caller {
public:
    explicit chat_caller(Client client) : client_(std::move(client)) {}
    task<result<completion>> operator()(chat_request ask) const {
        return client_.chat(std::move(ask));
    }

private:
    Client client_;
};

template <class Range>
auto to_items(Range&& from) {
    std::vector<std::ranges::range_value_t<Range>> items;
    if constexpr (std::ranges::sized_range<Range>) items.reserve(std::ranges::size(from));
    for (auto&& one : from) {
        if constexpr (std::is_lvalue_reference_v<Range>) {
            items.push_back(one);
        } else {
            items.push_back(std::move(one));
        }
    }
    return items;
}

}  // namespace detail

namespace batch {

/// Calls `work` with each item, at most `policy.concurrency` at the same time, and gives the
/// results in the order of the items.
///
///     auto sizes = co_await llmkit::batch::map(files, measure, {.concurrency = 8});
///     for (auto& size : sizes) if (!size) fmt::print("{}\n", size.error());
///
/// `work(item)` returns `task<result<T>>`; what it throws becomes an error of kind `internal`.
/// `tell` is called with a `batch_progress` after each item, never twice at once. Cancelling the
/// map cancels what runs and returns when all of it has ended. On a context with several threads
/// `work` runs on several of them. On g++ 12 give a `work` or `tell` that captures by value a name
/// first; a temporary lambda inside a co_await expression is destroyed twice.
template <std::ranges::input_range Items, class F, class Progress = detail::no_progress>
    requires std::invocable<F&, std::ranges::range_value_t<Items>> &&
             (detail::is_result_task<std::invoke_result_t<F&, std::ranges::range_value_t<Items>>>)
auto map(Items&& items, F work, batch_policy policy = {}, Progress tell = {}) {
    using item = std::ranges::range_value_t<Items>;
    using run = detail::batch_run<item, F, Progress>;
    return run::run(std::make_shared<run>(detail::to_items(std::forward<Items>(items)),
                                          std::move(work), policy, std::move(tell)));
}

/// Asks all `asks` of `client` and gives the answers in their order.
///
///     std::vector<llmkit::chat_request> asks = …;
///     auto answers = co_await llmkit::batch::map(client, std::move(asks), {.concurrency = 64});
///     for (auto& answer : answers) if (answer) fmt::print("{}\n", answer->text());
///
/// `client` is a pipeline or another handle with `chat`.
template <class Client, std::ranges::input_range Asks, class Progress = detail::no_progress>
    requires std::same_as<std::ranges::range_value_t<Asks>, chat_request> &&
             requires(const Client& client, chat_request ask) { client.chat(std::move(ask)); }
auto map(Client client, Asks&& asks, batch_policy policy = {}, Progress tell = {}) {
    return map(std::forward<Asks>(asks), detail::chat_caller<Client>(std::move(client)), policy,
               std::move(tell));
}

}  // namespace batch
}  // namespace llmkit
