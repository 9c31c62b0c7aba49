// llmkit/detail/join_texts.hpp: several small text events as one that says the same.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/event.hpp>

namespace llmkit::detail {

/// Whether an event is nothing but text for the caller.
constexpr bool only_text(const event_facts& facts) {
    return facts.content && facts.text_size > 0 && !facts.tool_call && !facts.last &&
           !facts.injected && !facts.error && !facts.usage.known &&
           facts.finish == finish_reason::none;
}

/// An event's bytes without its text: what stands before and behind.
struct event_frame {
    explicit event_frame(const event& of)
        : before(of.data().substr(0, of.facts().text_at)),
          behind(of.data().substr(of.facts().text_at + std::size_t{of.facts().text_size})) {}
    std::string_view before;
    std::string_view behind;

    friend bool operator==(const event_frame&, const event_frame&) = default;
};

/// True when the two differ in their text alone, byte by byte: so they belong to one choice, and no
/// field that llmkit does not know gets lost.
inline bool same_but_text(const event& a, const event& b) {
    return only_text(a.facts()) && only_text(b.facts()) && a.name() == b.name() &&
           event_frame(a) == event_frame(b);
}

/// One event with the texts of all, in the frame they share. Texts that are JSON-escaped stay so:
/// escaped pieces put together are an escaped whole. Precondition: not empty, all `same_but_text`.
inline event join_texts(std::span<const event> pieces) {
    const event& first = pieces.front();
    if (pieces.size() == 1) return first;
    event_facts facts = first.facts();
    std::size_t text = 0;
    for (const event& one : pieces) {
        text += one.facts().text_size;
        facts.text_escaped = facts.text_escaped || one.facts().text_escaped;
    }
    const event_frame frame(first);
    std::string whole;
    whole.reserve(frame.before.size() + text + frame.behind.size());
    whole += frame.before;
    for (const event& one : pieces) {
        whole += one.data().substr(one.facts().text_at, one.facts().text_size);
    }
    whole += frame.behind;
    facts.text_size = static_cast<std::uint32_t>(text);
    return event(bytes(std::move(whole)), facts, first.shared_name());
}

}  // namespace llmkit::detail
