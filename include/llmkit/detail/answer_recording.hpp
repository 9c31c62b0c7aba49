// llmkit/detail/answer_recording.hpp: what passed by of an answer, and whether it may be kept.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/event.hpp>
#include <llmkit/core/facts.hpp>

namespace llmkit::detail {

/// Collects an answer's events up to `max_bytes` and judges them at the end.
///
/// An answer is kept when the provider said all it had to say: it stopped, called tools, or reached
/// the length that the request allowed (the same request would be cut there again). One that a
/// content filter touched, that carries an error, that ends for an unknown reason, or that has
/// content but no reason for its end, is not.
class answer_recording {
public:
    explicit answer_recording(std::size_t max_bytes) : room_(max_bytes) {}

    void add(const event& one) {
        if (hopeless_) return;
        const event_facts& facts = one.facts();
        const std::size_t size = one.data().size() + one.name().size() + sizeof(event);
        switch (facts.finish) {
            case finish_reason::none:
                break;
            case finish_reason::stop:
            case finish_reason::length:
            case finish_reason::tool_calls:
                finished_ = true;
                break;
            case finish_reason::content_filter:
            case finish_reason::other:
                hopeless_ = true;
        }
        if (facts.error || size > room_) hopeless_ = true;
        if (hopeless_) return events_ = std::vector<event>(), void();
        room_ -= size;
        if (facts.content || facts.tool_call) said_ = true;
        if (facts.usage.known) usage_ = facts.usage;
        events_.push_back(one);
        // Usage alone in an event is for those who asked for it, whoever did this time.
        const bool only_usage = facts.usage.known && !facts.content && !facts.tool_call &&
                                !facts.last && facts.finish == finish_reason::none;
        if (only_usage && !facts.injected) {
            event_facts marked = facts;
            marked.injected = true;
            events_.back().set_facts(marked);
        }
    }
    /// Gives up and frees what there is.
    void drop() {
        hopeless_ = true;
        events_ = std::vector<event>();
    }

    /// Once the provider has ended the answer: whether it may be kept.
    bool worth_keeping(bool streamed) const {
        if (hopeless_ || events_.empty()) return false;
        if (!streamed && events_.size() != 1) return false;
        return finished_ || (!streamed && !said_);  // vectors and the like have no such reason
    }

    const token_usage& usage() const { return usage_; }

    /// The events, their text copied into one buffer: as they came, each may hold on to a piece of
    /// a network buffer that is much larger. Once.
    std::vector<event> compact() {
        std::size_t sum = 0;
        for (const event& one : events_) sum += one.data().size() + one.name().size();
        std::string text;
        text.reserve(sum);
        for (const event& one : events_) text.append(one.data()).append(one.name());
        const bytes all(std::move(text));
        std::size_t at = 0;
        const auto next = [&](std::size_t size) {
            const std::size_t from = std::exchange(at, at + size);
            return size == 0 ? bytes() : all.slice(from, size);
        };
        for (event& one : events_) {
            bytes data = next(one.data().size());
            one.move_to(std::move(data), next(one.name().size()));
        }
        events_.shrink_to_fit();
        return std::move(events_);
    }

private:
    std::vector<event> events_;
    std::size_t room_;
    token_usage usage_;
    bool finished_ = false;
    bool said_ = false;
    bool hopeless_ = false;
};

}  // namespace llmkit::detail
