// llmkit/layer/stream.hpp: fewer, larger events, and word of how far an answer is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/core/compose.hpp>
#include <llmkit/detail/coalescing_stream.hpp>

namespace llmkit {

/// How `stream` shapes streamed answers. Unary ones pass unchanged.
struct stream_policy {
    /// Text that comes faster than this is put together: a caller who always waits for the next
    /// event gets at most one text event in each such span, none later than it. 0: only what has
    /// already arrived, so nothing waits.
    duration within{};
    std::size_t max_events = 32;   ///< put together at most; 0 or 1: none
    std::size_t max_bytes = 4096;  ///< of text in one event; the event that passes it still joins
};
static_assert(std::is_trivially_destructible_v<stream_policy>);  // safe in co_await on g++ 12

/// How far one streamed answer is.
struct stream_progress {
    std::uint64_t events = 0;        ///< handed to the caller
    std::uint64_t bytes = 0;         ///< of them
    duration elapsed{};              ///< since the call began
    std::optional<outcome> ended{};  ///< how it ended, in the last report only
};
static_assert(std::is_trivially_destructible_v<stream_progress>);

/// Receives progress. Runs where the stream's reader runs; should be quick and must not throw.
using progress_sink = std::function<void(const stream_progress&)>;

namespace detail {

class progress_tap final : public stream_tap {
public:
    progress_tap(std::shared_ptr<const progress_sink> sink, clock_handle time, time_point began)
        : sink_(std::move(sink)), time_(std::move(time)), began_(began) {}
    void on_event(const event& passing) override {
        if (passing.facts().injected) return;
        ++so_far_.events;
        so_far_.bytes += passing.data().size();
        tell();
    }
    void on_end(outcome how, const error*) override {
        so_far_.ended = how;
        tell();
    }

private:
    void tell() {
        so_far_.elapsed = time_.now() - began_;
        (*sink_)(so_far_);
    }
    std::shared_ptr<const progress_sink> sink_;
    clock_handle time_;
    time_point began_;
    stream_progress so_far_;
};
}  // namespace detail

/// The service that `stream` makes.
template <service Next>
class streaming {
public:
    streaming(Next next, const stream_policy& policy, std::shared_ptr<const progress_sink> sink)
        : next_(std::move(next)), policy_(policy), sink_(std::move(sink)) {}

    task<result<response>> operator()(request ask) {
        if (!ask.options().streamed) return next_(std::move(ask));
        return shape(std::move(ask));
    }
    clock_handle clock() const { return next_.clock(); }
    std::string origin() const { return origin_of(next_); }

private:
    task<result<response>> shape(request ask) {
        const time_point began = clock().now();
        auto answer = co_await next_(ask);
        if (!answer) co_return answer;
        if (policy_.max_events > 1 && !answer->events().single()) {
            detail::coalescing_rule rule;
            rule.within = policy_.within;
            rule.max_events = policy_.max_events;
            rule.max_bytes = policy_.max_bytes;
            auto joining = std::make_unique<detail::coalescing_stream>(
                clock(), ask, std::move(answer->events()), rule);
            answer->events() = event_stream(std::move(joining));
        }
        if (sink_) answer->events().attach(detail::progress_tap(sink_, clock(), began));
        // A layer further out that asked for usage still has to see it.
        if (!ask.options().metered) answer->events().hide_injected();
        co_return answer;
    }

    Next next_;
    stream_policy policy_;
    std::shared_ptr<const progress_sink> sink_;
};

/// The layer that `stream` gives.
class stream_layer : public layer_tag {
public:
    explicit stream_layer(const stream_policy& policy) : policy_(policy) {}

    /// Reports each event of a streamed answer and its end.
    stream_layer on_progress(progress_sink sink) const {
        stream_layer telling = *this;
        telling.sink_ = std::make_shared<const progress_sink>(std::move(sink));
        return telling;
    }
    template <service Next>
    auto operator()(Next next) const {
        return streaming<Next>(std::move(next), policy_, sink_);
    }

private:
    stream_policy policy_;
    std::shared_ptr<const progress_sink> sink_;
};

/// Shapes streamed answers for their readers. Streaming works without it.
///
///     auto client = llmkit::pipeline(provider) | llmkit::stream({.within = 50ms});
///     auto counted = llmkit::pipeline(provider)
///                  | llmkit::stream().on_progress([](const llmkit::stream_progress& p) {
///                        fmt::print("\r{} events, {} bytes", p.events, p.bytes);
///                    });
///
/// Text events that differ in their text alone are joined into one, byte for byte what one larger
/// event of the provider would be; tool calls, usage, finish reasons and whatever llmkit does not
/// know pass as they came, and order is kept. The first text event is never held up. Events that a
/// layer further in had injected for metering end here.
inline stream_layer stream(stream_policy policy = stream_policy()) { return stream_layer(policy); }

}  // namespace llmkit
