// llmkit/layer/timeout.hpp: no call lasts longer than you allow.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/core/compose.hpp>
#include <llmkit/detail/cut_off.hpp>

namespace llmkit {

/// The limits of `timeout`; what is left at `duration::max()` sets none.
struct timeout_policy {
    duration total = duration::max();                  ///< the whole call, to its last event
    duration first_event = duration::max();            ///< from sending to the first event
    duration idle = duration::max();                   ///< between two events of a stream
    duration connect = duration::max();                ///< to a connected socket, TLS included
    duration stream_total = std::chrono::minutes(10);  ///< like total, for streamed calls only
};
static_assert(std::is_trivially_destructible_v<timeout_policy>);  // safe in co_await on g++ 12

namespace detail {

/// Moves each of the request's limits to the earlier of its own and the policy's.
inline void shorten_limits(request& ask, const timeout_policy& policy, time_point now) {
    call_options& options = ask.options();
    const duration whole =
        options.streamed ? std::min(policy.total, policy.stream_total) : policy.total;
    if (whole != duration::max()) options.shorten(after(now, whole));
    options.first_event = std::min(options.first_event, policy.first_event);
    options.idle = std::min(options.idle, policy.idle);
    options.connect = std::min(options.connect, policy.connect);
}
}  // namespace detail

/// The service that `timeout` makes: adds no coroutine to the call.
template <service Next>
class timing_out {
public:
    timing_out(Next next, const timeout_policy& policy) : next_(std::move(next)), policy_(policy) {}

    task<result<response>> operator()(request ask) {
        detail::shorten_limits(ask, policy_, clock().now());
        return next_(std::move(ask));
    }
    clock_handle clock() const { return next_.clock(); }
    std::string origin() const { return origin_of(next_); }

private:
    Next next_;
    timeout_policy policy_;
};

/// The service that `timeout(…).enforce()` makes.
template <service Next>
class enforcing {
public:
    enforcing(Next next, const timeout_policy& policy)
        : next_(std::make_shared<Next>(std::move(next))), policy_(policy) {}

    task<result<response>> operator()(request ask) {
        const time_point sent = clock().now();
        detail::shorten_limits(ask, policy_, sent);
        return call(next_, std::move(ask), sent);
    }
    clock_handle clock() const { return next_->clock(); }
    std::string origin() const { return origin_of(*next_); }

private:
    // A foreign call may outlive its caller until it notices its cancellation; so may the service.
    static task<result<response>> run(std::shared_ptr<Next> next, request ask) {
        co_return co_await (*next)(std::move(ask));
    }
    static task<result<response>> call(std::shared_ptr<Next> next, request ask, time_point sent) {
        const clock_handle time = next->clock();
        const duration span = ask.options().first_event;
        // What a shared call's deadline points to may go before the foreign call does.
        request below = ask;
        const limit& own = ask.options().deadline;
        if (own.extended || own.provisional) below.options().deadline = limit();
        auto answer =
            co_await detail::cut_off(time, ask, sent, after(sent, span), span, "first event",
                                     run(std::move(next), std::move(below)));
        if (!answer || answer->events().single()) co_return answer;
        auto limited = std::make_unique<detail::enforced_stream>(time, std::move(ask), sent,
                                                                 std::move(answer->events()));
        answer->events() = event_stream(std::move(limited));
        co_return answer;
    }

    std::shared_ptr<Next> next_;
    timeout_policy policy_;
};

/// The layer that `timeout` gives.
class timeout_layer : public layer_tag {
public:
    explicit timeout_layer(const timeout_policy& policy) : policy_(policy) {}

    template <service Next>
    auto operator()(Next next) const {
        return timing_out<Next>(std::move(next), policy_);
    }

    /// The same limits for a service that does not honour them itself: its calls run beside the
    /// caller and are cut off. Costs a child coroutine (core/child.hpp) a call, and one for each
    /// event that is not at hand.
    ///
    ///     auto client = llmkit::pipeline(somebody_elses_service) | llmkit::timeout(30s).enforce();
    auto enforce() const {
        return make_layer([policy = policy_](auto next) {
            return enforcing<decltype(next)>(std::move(next), policy);
        });
    }

private:
    timeout_policy policy_;
};

/// Limits how long a call may take.
///
///     auto client = llmkit::pipeline(provider) | llmkit::timeout(30s);
///     auto patient = llmkit::pipeline(provider)
///                  | llmkit::timeout({.first_event = 5s, .idle = 20s})   // for each attempt
///                  | llmkit::retry()
///                  | llmkit::timeout({.total = 60s});                    // for the whole call
///
/// Inside a retry the limits are those of one attempt, outside it those of the whole call, pauses
/// included. Limits only shorten: of the request's own, this layer's and those further in the
/// earliest holds. The total runs also while nobody reads, and ends a stream that trickles; `idle`
/// counts only while somebody waits for an event.
///
/// A limit that passes is an error of kind `timeout`, which says what did not come in which time;
/// the caller's own cancellation stays an exception. The limits travel in the request and are
/// honoured where a call waits, so the layer itself costs next to nothing.
inline timeout_layer timeout(timeout_policy policy = timeout_policy()) {
    return timeout_layer(policy);
}
/// The whole call within `total`, streamed or not.
inline timeout_layer timeout(duration total) {
    timeout_policy policy;
    policy.total = total;
    return timeout_layer(policy);
}

}  // namespace llmkit
