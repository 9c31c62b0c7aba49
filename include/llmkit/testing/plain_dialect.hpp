// llmkit/testing/plain_dialect.hpp: the simplest API there is: an answer's bytes are its text.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/core/dialect.hpp>

namespace llmkit::testing {

/// What `scripted` speaks. An event's bytes are text; everything else is in its facts. A stream is
/// text events, an empty one with the finish reason, and an empty last one; its body is the texts
/// put together.
class plain_dialect final : public dialect {
public:
    std::string_view name() const override { return "plain"; }

    result<event> fold(std::span<const event> events) const override {
        std::string text;
        event_facts facts;
        for (const event& one : events) {
            text += one.data();
            if (one.facts().finish != finish_reason::none) facts.finish = one.facts().finish;
            if (one.facts().usage.known) facts.usage = one.facts().usage;
            facts.tool_call = facts.tool_call || one.facts().tool_call;
        }
        if (events.empty() || !events.back().facts().last) {
            return error(error_kind::truncated, "these events are not a whole answer");
        }
        return body(std::move(text), facts);
    }
    result<std::vector<event>> unfold(const event& body) const override {
        std::vector<event> events;
        if (!body.data().empty()) events.push_back(delta(std::string(body.data())));
        event_facts end;
        end.finish = body.facts().finish;
        end.usage = body.facts().usage;
        events.push_back(event(bytes(), end));
        events.push_back(last());
        return events;
    }
    bool read_delta(const event& from, chat_delta& into) const override {
        const event_facts& facts = from.facts();
        if (!facts.content && facts.finish == finish_reason::none && !facts.usage.known) {
            return false;
        }
        into.mutable_text() = from.data();
        into.set_finish(facts.finish);
        into.set_usage(facts.usage);
        return true;
    }
    result<completion> read_completion(const event& body) const override {
        completion read;
        read.mutable_text() = body.data();
        read.set_finish(body.facts().finish);
        read.set_usage(body.facts().usage);
        return read;
    }
    result<embeddings> read_embeddings(const event&) const override {
        return error(error_kind::configuration, "the plain dialect has no embeddings");
    }

    /// A text event of a stream.
    static event delta(std::string text) {
        event_facts facts;
        facts.content = !text.empty();
        facts.text_size = static_cast<std::uint32_t>(text.size());
        return event(bytes(std::move(text)), facts);
    }
    /// The event that ends a stream.
    static event last() {
        event_facts facts;
        facts.last = true;
        return event(bytes(), facts);
    }
    /// A whole unary answer.
    static event body(std::string text, event_facts facts = event_facts()) {
        facts.content = !text.empty();
        facts.text_size = static_cast<std::uint32_t>(text.size());
        facts.last = true;
        if (facts.finish == finish_reason::none) facts.finish = finish_reason::stop;
        return event(bytes(std::move(text)), facts);
    }
};

/// The one there is.
inline const plain_dialect& speaks_plain() {
    static const plain_dialect one;
    return one;
}
inline const known_dialect plain_is_known(speaks_plain());

}  // namespace llmkit::testing
