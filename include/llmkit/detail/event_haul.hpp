// llmkit/detail/event_haul.hpp: the events of a stream that are pulled in one go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/core/event_stream.hpp>
#include <llmkit/detail/event_log.hpp>

namespace llmkit::detail {

/// Takes what a stream has at hand, up to `most` events and `bytes` of them; the event that passes
/// the bytes still counts. Nothing (`most` 0) where nobody wants any.
class event_haul {
public:
    event_haul() = default;
    event_haul(std::size_t most, std::size_t bytes) : most_(most), bytes_(bytes) {}

    bool wanted() const { return most_ > 0; }
    /// Neither an event nor the end.
    bool empty() const { return events_.empty() && !ended_; }
    /// The stream has more to give than this takes, or nothing ever.
    bool full() const { return ended_ || events_.size() >= most_ || bytes_ == 0; }
    bool ended() const { return ended_; }
    std::optional<error>& failure() { return failure_; }
    std::vector<event>& events() { return events_; }

    void take_at_hand(event_stream& from) {
        stream_item item;
        events_.reserve(std::min(most_, most_reserved));
        while (!full() && from.try_next(item)) add(std::move(item), from.ended());
    }
    /// `last`: nothing follows.
    void add(stream_item item, bool last) {
        ended_ = last || !item;
        if (item.failed()) failure_ = item.error();
        if (!item) return;
        bytes_ -= std::min(bytes_, kept_bytes(*item));
        events_.push_back(std::move(*item));
    }
    void fail(const std::exception& thrown) {
        ended_ = true;
        failure_ = error(error_kind::internal, thrown.what());
    }

private:
    static constexpr std::size_t most_reserved = 16;

    std::vector<event> events_;
    std::size_t most_ = 0;
    std::size_t bytes_ = 0;
    bool ended_ = false;
    std::optional<error> failure_;
};

}  // namespace llmkit::detail
