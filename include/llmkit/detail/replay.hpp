// llmkit/detail/replay.hpp: gives a kept answer again, in the shape that its caller wants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <llmkit/core/dialect.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit::detail {

/// Who sees the events that carry nothing but usage.
enum class usage_events : std::uint8_t {
    hidden,      ///< nobody asked
    for_layer,   ///< an outer layer, which hides them itself
    for_caller,  ///< the caller: they are his, not injected
};

/// A kept stream, event by event, without a wait.
class replayed_stream final : public stream_source {
public:
    /// `owner` keeps `events` alive.
    replayed_stream(std::shared_ptr<const void> owner, std::span<const event> events,
                    usage_events usage)
        : owner_(std::move(owner)), events_(events), usage_(usage) {}

    task<stream_item> next() override {
        stream_item item;
        try_next(item);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        while (at_ < events_.size()) {
            const event& kept = events_[at_++];
            if (kept.facts().injected && usage_ == usage_events::hidden) continue;
            into = kept;
            if (kept.facts().injected && usage_ == usage_events::for_caller) {
                event_facts facts = kept.facts();
                facts.injected = false;
                into->set_facts(facts);
            }
            return true;
        }
        into = stream_item();
        return true;
    }
    bool ready() const override { return true; }

private:
    std::shared_ptr<const void> owner_;
    std::span<const event> events_;
    std::size_t at_ = 0;
    usage_events usage_;
};

/// What was kept, and as what.
struct kept_answer {
    std::shared_ptr<const void> owner;  ///< keeps `events` alive
    std::span<const event> events;
    bool streamed;
    const dialect* speaks;
};

/// The kept answer as a stream or as one whole body; an error when it cannot be given so.
inline result<event_stream> replay(const kept_answer& kept, bool streamed, usage_events usage) {
    const auto unfit = [] {
        return error(error_kind::protocol, "the kept answer cannot be given in this shape");
    };
    if (kept.events.empty()) return unfit();
    if (kept.streamed == streamed) {
        if (!streamed) return event_stream(kept.events.front());
        return event_stream(std::make_unique<replayed_stream>(kept.owner, kept.events, usage));
    }
    if (!kept.speaks) return unfit();
    if (!streamed) {
        auto body = kept.speaks->fold(kept.events);
        if (!body) return body.error();
        event_facts facts = body->facts();
        facts.last = true;
        body->set_facts(facts);
        return event_stream(std::move(*body));
    }
    auto events = kept.speaks->unfold(kept.events.front());
    if (!events) return events.error();
    if (events->empty()) return unfit();
    auto owned = std::make_shared<const std::vector<event>>(std::move(*events));
    return event_stream(std::make_unique<replayed_stream>(owned, *owned, usage));
}

}  // namespace llmkit::detail
