// llmkit/core/wakeups.hpp: many waiters resumed together, for less than one by one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <iterator>
#include <utility>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit {

namespace detail {

/// Resumes a few waiters of one executor, in their order. What one throws goes through, and the
/// others are resumed all the same.
class wake_round {
public:
    wake_round(executor where, std::vector<claimed_wait> some)
        : where_(std::move(where)), waiters_(std::move(some)) {}
    wake_round(wake_round&&) noexcept = default;
    wake_round& operator=(wake_round&&) = delete;

    void operator()() {
        while (next_ < waiters_.size()) {
            const rest_later guard(*this);
            waiters_[next_++].here();
        }
    }

private:
    class rest_later {
    public:
        explicit rest_later(wake_round& of) : of_(of), before_(std::uncaught_exceptions()) {}
        rest_later(const rest_later&) = delete;
        rest_later& operator=(const rest_later&) = delete;
        ~rest_later() {
            if (std::uncaught_exceptions() == before_) return;
            const executor where = of_.where_;
            asio::post(where, std::move(of_));
        }

    private:
        wake_round& of_;
        const int before_;
    };

    executor where_;
    std::vector<claimed_wait> waiters_;
    std::size_t next_ = 0;
};

}  // namespace detail

/// Waiters that a bell chose, to be resumed at once: each on its own executor, those of one executor
/// in their order and up to 16 by one handler, so that several threads still have their share. Fires
/// itself when it goes; not under a lock.
///
///     wakeups woken;
///     std::lock_guard lock(mutex);      // goes first
///     …
///     woken.ring_all(news);
class [[nodiscard]] wakeups {
public:
    wakeups() = default;
    wakeups(const wakeups&) = delete;
    wakeups& operator=(const wakeups&) = delete;
    ~wakeups() { fire(); }

    bool empty() const { return chosen_.empty(); }
    /// Chooses all who wait. Under the mutex of the bell's owner, like `ring_one`.
    void ring_all(bell& of) {
        chosen_.reserve(chosen_.size() + of.size());
        while (auto one = of.ring_claim()) chosen_.push_back(std::move(*one));
    }
    void ring_one(bell& of) {
        if (auto one = of.ring_claim()) chosen_.push_back(std::move(*one));
    }

    void fire() {
        auto some = std::exchange(chosen_, {});
        for (std::size_t from = 0; from < some.size();) {
            const executor where = some[from].where();
            std::size_t end = from + 1;
            const std::size_t most = std::min(some.size(), from + at_once);
            while (end < most && some[end].where() == where) ++end;
            if (end == from + 1) {
                some[from]();
            } else {
                const auto first = std::make_move_iterator(some.begin());
                const auto at = [&](std::size_t n) {
                    return first + static_cast<std::ptrdiff_t>(n);
                };
                std::vector<detail::claimed_wait> round(at(from), at(end));
                asio::post(where, detail::wake_round(where, std::move(round)));
            }
            from = end;
        }
    }

private:
    static constexpr std::size_t at_once = 16;

    std::vector<detail::claimed_wait> chosen_;
};

}  // namespace llmkit
