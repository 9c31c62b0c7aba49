// llmkit/detail/replayed_stream.hpp: a kept stream, event by event, without a wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include <llmkit/core/event_stream.hpp>

namespace llmkit::detail {

/// Who sees the events that carry nothing but usage.
enum class usage_events : std::uint8_t {
    hidden,      ///< nobody asked
    for_layer,   ///< an outer layer, which hides them itself
    for_caller,  ///< the caller: they are his, not injected
};

/// A kept stream as its reader is to see it.
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
        const std::size_t one = upcoming();
        if (one == events_.size()) {
            into = stream_item();
            return true;
        }
        into = events_[one];
        if (into->facts().injected && usage_ == usage_events::for_caller) {
            event_facts facts = into->facts();
            facts.injected = false;
            into->set_facts(facts);
        }
        ++at_;
        return true;
    }
    bool ready() const override { return true; }

    /// The number of the next event that the reader sees; how many there are when there is none.
    std::size_t upcoming() {
        while (at_ < events_.size() && usage_ == usage_events::hidden &&
               events_[at_].facts().injected) {
            ++at_;
        }
        return at_;
    }
    /// Before this event the reader has seen all that he was to see.
    std::size_t at() const { return at_; }

private:
    std::shared_ptr<const void> owner_;
    std::span<const event> events_;
    std::size_t at_ = 0;
    usage_events usage_;
};

}  // namespace llmkit::detail
