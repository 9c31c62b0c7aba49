// llmkit/detail/replay.hpp: gives a kept answer again, in the shape that its caller wants.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <llmkit/core/dialect.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/cadence.hpp>
#include <llmkit/detail/replayed_stream.hpp>

namespace llmkit::detail {

/// What was kept, and as what.
struct kept_answer {
    std::shared_ptr<const void> owner;  ///< keeps `events` alive
    std::span<const event> events;
    bool streamed;
    const dialect* speaks;
};

/// The kept answer as a stream or as one whole body; an error when it cannot be given so. A stream
/// that was kept as one comes at once, or as `pace` says.
inline result<event_stream> replay(const kept_answer& kept, bool streamed, usage_events usage,
                                   std::optional<cadence> pace = {}) {
    const auto unfit = [] {
        return error(error_kind::protocol, "the kept answer cannot be given in this shape");
    };
    if (kept.events.empty()) return unfit();
    if (kept.streamed == streamed) {
        if (!streamed) return event_stream(kept.events.front());
        replayed_stream events(kept.owner, kept.events, usage);
        if (!pace || pace->pauses.size() != kept.events.size()) {
            return event_stream(std::make_unique<replayed_stream>(std::move(events)));
        }
        return event_stream(std::make_unique<paced_stream>(std::move(events), std::move(*pace)));
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
