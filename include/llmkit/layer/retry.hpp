// llmkit/layer/retry.hpp: ask again when a provider stumbles.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/compose.hpp>
#include <llmkit/core/timed_out.hpp>
#include <llmkit/detail/backoff_rule.hpp>
#include <llmkit/detail/random_source.hpp>
#include <llmkit/detail/retry_budget.hpp>
#include <llmkit/detail/retry_rule.hpp>

namespace llmkit {

/// How often and how patiently `retry` asks again.
struct retry_policy {
    std::size_t retries = 2;  ///< further attempts after the first; 0: none
    /// The pause before the first retry; it doubles with each, chance takes off up to a quarter.
    duration first_wait = std::chrono::milliseconds(500);
    duration longest_wait = std::chrono::seconds(8);  ///< where doubling ends
    /// A provider that asks for a longer pause than this is not waited for.
    duration longest_server_wait = std::chrono::seconds(60);
    /// Retries allowed for each call, on average over all calls through the layer, and a stock of
    /// them to begin with: upstream calls ≤ calls + burst + ratio × calls, always.
    double budget_ratio = 0.2;
    double budget_burst = 10;
};
static_assert(std::is_trivially_destructible_v<retry_policy>);  // safe in co_await on g++ 12

namespace detail {

/// What all calls through one retry layer share.
struct retry_state {
    retry_state(const retry_policy& how, std::uint64_t seed)
        : policy(how), budget(how.budget_ratio, how.budget_burst), random(seed) {
        pauses.first = how.first_wait;
        pauses.longest = how.longest_wait;
        pauses.patience = how.longest_server_wait;
    }
    retry_policy policy;
    backoff_rule pauses;
    retry_budget budget;
    random_source random;
};

/// One call's attempts: decides after each whether there is another, and when.
class retry_course {
public:
    /// Marks the request with what all its attempts share.
    retry_course(retry_state& shared, request& ask) : shared_(shared) {
        shared_.budget.call_started();
        call_options& options = ask.options();
        if (options.allowed_attempts == 0) {
            options.allowed_attempts = options.attempts.size() + 1 + shared_.policy.retries;
        }
        if (options.attempt_key == key128() && shared_.policy.retries > 0) {
            options.attempt_key = key128{shared_.random(), shared_.random()};
        }
    }

    /// The pause before the next attempt; nothing when `why` is final, then annotated.
    std::optional<duration> pause_after(error& why, request& ask, time_point now) {
        call_options& options = ask.options();
        // A foreign service may not keep the trail; then at least this layer's own count holds.
        if (why.attempts() > options.attempts.size()) options.attempts = why.came_by().attempts;
        if (!worth_another_try(why)) return std::nullopt;
        if (retries_ >= shared_.policy.retries ||
            options.attempts.size() >= options.allowed_attempts) {
            return used_up(why);
        }

        const time_point deadline = options.deadline.effective();
        if (deadline <= now) return std::nullopt;
        const auto step =
            shared_.pauses.after(retries_, why.retry_after(), now, deadline, shared_.random);
        if (step.give_up) return give_up(why, now, deadline);
        if (!shared_.budget.try_spend()) {
            return stop(why, "too many calls fail at present, the budget of retries is spent");
        }
        ++retries_;
        return step.pause;
    }

private:
    std::optional<duration> give_up(error& why, time_point now, time_point deadline) const {
        const duration asked = why.retry_after().value_or(duration::zero());
        const std::string left =
            asked > shared_.policy.longest_server_wait
                ? std::string("that is longer than longest_server_wait")
                : fmt::format("the call's deadline passes in {}", in_words(deadline - now));
        return stop(
            why, asked > duration::zero()
                     ? fmt::format("the provider asks for a pause of {}, {}", in_words(asked), left)
                     : left + ", before the next attempt");
    }
    static std::optional<duration> stop(error& why, const std::string& reason) {
        std::string advice = fmt::format("Not asked again: {}.", reason);
        if (!advises_this_layer(why)) advice += fmt::format(" {}", why.advice());
        why = why.with_advice(std::move(advice));
        return std::nullopt;
    }
    static std::optional<duration> used_up(error& why) {
        if (why.attempts() > 1 && advises_this_layer(why)) {
            why = why.with_advice("Try again later, or allow more retries.");
        }
        return std::nullopt;
    }
    // "Add retry()" is no help to somebody who has.
    static bool advises_this_layer(const error& why) {
        return why.advice().find("retry()") != std::string_view::npos;
    }

    retry_state& shared_;
    std::size_t retries_ = 0;
};

/// Looks at a stream's first events until one carries something, so that an error that came before
/// any content is found while asking again is still possible. Bounded: after eight events without
/// content the answer is passed on as it is.
inline task<const error*> early_failure(event_stream& events) {
    co_await events.peek();
    for (int looked = 1; looked < 8; ++looked) {
        const stream_item* newest = events.newest_peeked();
        if (!newest || !*newest || carries_something((*newest)->facts())) break;
        co_await events.peek_more();
    }
    const stream_item* newest = events.newest_peeked();
    co_return newest && newest->failed() ? &newest->error() : nullptr;
}

}  // namespace detail

/// The service that `retry` makes.
template <service Next>
class retrying {
public:
    retrying(Next next, const retry_policy& policy)
        : next_(std::move(next)),
          state_(std::make_shared<detail::retry_state>(policy, next_.clock().seed())) {}

    task<result<response>> operator()(request ask) {
        detail::retry_course course(*state_, ask);
        for (;;) {
            error failed;
            {
                auto answer = co_await next_(ask);
                if (answer) {
                    if (answer->events().single()) co_return answer;
                    const error* early = co_await detail::early_failure(answer->events());
                    if (!early) co_return answer;
                    failed = *early;
                    if (failed.attempts() < answer->head().came_by.attempts.size()) {
                        failed = failed.with_provenance(answer->head().came_by);
                    }
                } else {
                    failed = answer.error();
                }
            }  // what the failed attempt held is free while this waits
            const auto pause = course.pause_after(failed, ask, clock().now());
            if (!pause) co_return failed;
            const auto why = co_await sleep_until(clock(), ask.wait_limit(clock().now(), *pause));
            if (why == woke::by_close) {
                co_return closed_meanwhile().with_provenance(failed.came_by());
            }
        }
    }
    clock_handle clock() const { return next_.clock(); }
    std::string origin() const { return origin_of(next_); }

private:
    Next next_;
    std::shared_ptr<detail::retry_state> state_;
};

/// Asks again when an attempt failed in a way that may pass.
///
///     auto client = llmkit::pipeline(provider) | llmkit::retry();
///     auto stubborn = llmkit::pipeline(provider) | llmkit::retry({.retries = 5});
///
/// | asked again | not asked again |
/// |---|---|
/// | `conflict` 409, `rate_limited` 429, `overloaded` 503/529, `server` other 5xx | other 4xx |
/// | `timeout` (408, or a limit of one attempt), `connect`, `resolve` | `tls`, `configuration` |
/// | `connection_lost`, `truncated`, and errors inside a 200 answer, before any content | after it
/// | | whatever the provider marks `x-should-retry: true` | what it marks `false` |
///
/// `context_length`, `content_policy`, `too_large` and refusals by limits of our own are never sent
/// again unchanged, whatever the provider says. Waits min(first_wait·2ⁿ, longest_wait), less up to
/// a quarter by chance, and never less than the provider asked (`Retry-After`). A pause that would
/// reach the call's deadline is not begun: the call fails at once with the last error.
///
/// A stream is handed on with its first event that carries something; until then an error restarts
/// it, afterwards never. All attempts carry one idempotency key. Nested retries together make as
/// many attempts as the outermost allows. A call to which only a lower retry said no fails with its
/// last error, which lists all attempts (`came_by().attempts`).
///
/// The layer shares one budget among all its calls, so that an outage is not answered by several
/// times the load. Thread-safe.
inline auto retry(retry_policy policy = retry_policy()) {
    return make_layer(
        [policy](auto next) { return retrying<decltype(next)>(std::move(next), policy); });
}

}  // namespace llmkit
