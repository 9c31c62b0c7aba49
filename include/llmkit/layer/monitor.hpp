// llmkit/layer/monitor.hpp: how many calls, how fast, how dear, and what went wrong.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <llmkit/core/compose.hpp>
#include <llmkit/metrics/monitored_call.hpp>

namespace llmkit {

/// The service that `monitor` makes.
template <service Next>
class monitoring {
public:
    monitoring(Next next, std::shared_ptr<const detail::monitor_state> shared)
        : next_(std::move(next)), state_(std::move(shared)) {}

    task<result<response>> operator()(request ask) {
        detail::monitored_call call(state_, clock(), ask);
        const bool injecting = ask.options().streamed && !ask.options().metered;
        if (injecting) ask.options().metered = true;
        auto answer = co_await next_(std::move(ask));
        if (!answer) {
            call.failed(answer.error());
            co_return answer;
        }
        event_stream& events = answer->events();
        const stream_item* only = events.single() ? events.peeked() : nullptr;
        if (only && *only) {
            call.whole(**only, answer->head());
        } else {
            call.answered(answer->head());
            events.attach(std::move(call));
            if (injecting) events.hide_injected();
        }
        co_return answer;
    }
    clock_handle clock() const { return next_.clock(); }
    std::string origin() const { return origin_of(next_); }

private:
    Next next_;
    std::shared_ptr<const detail::monitor_state> state_;
};

/// The layer that `monitor` gives.
class monitor_layer : public layer_tag {
public:
    monitor_layer(metrics figures, price_table prices) {
        state_.figures = std::move(figures);
        state_.prices = std::move(prices);
    }

    /// One JSON line for each ended call:
    ///
    ///     monitor(figures).log_to([](std::string_view line) { fmt::print("{}\n", line); })
    ///     // {"time":"2026-01-01T00:00:00.512Z","operation":"chat/completions","model":"m",
    ///     //  "streamed":true,"outcome":"complete","latency_ms":512.0,"attempts":1,…}
    ///
    /// Never holds prompts, answers, keys, or a provider's own messages.
    monitor_layer log_to(call_log_sink sink) const {
        monitor_layer telling = *this;
        telling.state_.log = std::move(sink);
        return telling;
    }
    /// Where it counts.
    const metrics& figures() const { return state_.figures; }

    template <service Next>
    auto operator()(Next next) const {
        return monitoring<Next>(std::move(next),
                                std::make_shared<const detail::monitor_state>(state_));
    }

private:
    detail::monitor_state state_;
};

/// Counts what passes: calls, errors by kind, retries, cache hits by level, joined calls, tokens,
/// cost, calls in flight, latency, time to the first event and between events.
///
///     llmkit::metrics figures;
///     llmkit::price_table prices;
///     prices.add("gpt-4o-mini", {.input = 0.15, .output = 0.60});
///     auto client =
///         llmkit::pipeline(provider) | llmkit::retry() | llmkit::monitor(figures, prices);
///     …
///     fmt::print("{}", llmkit::to_table(figures.snapshot()));
///
/// Stands outermost, to see what callers see. Every call is counted once: complete, failed, cut
/// (failed after content had reached the caller) or abandoned (cancelled, or the stream dropped
/// before the model had said why it stopped). Streams are asked for their token usage; the extra
/// event this brings is hidden from callers who did not ask for it. Cost is known only for models
/// in the price table: an unknown one stays unknown. Delays nothing and adds no coroutine to
/// events.
inline monitor_layer monitor(metrics figures = metrics(), price_table prices = price_table()) {
    return monitor_layer(std::move(figures), std::move(prices));
}

}  // namespace llmkit
