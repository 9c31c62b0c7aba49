// llmkit/provider/openai_dialect.hpp: how OpenAI's chunks and bodies become each other, and text.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/dialect.hpp>
#include <llmkit/detail/openai_scan.hpp>
#include <llmkit/provider/openai_fold.hpp>
#include <llmkit/provider/openai_read.hpp>
#include <llmkit/provider/openai_unfold.hpp>

namespace llmkit {

namespace detail {

class openai_dialect_type final : public dialect {
public:
    std::string_view name() const override { return "openai"; }

    result<event> fold(std::span<const event> events) const override {
        joined_answer whole;
        for (const event& one : events) {
            if (one.facts().last && one.data().find('{') == one.data().npos) continue;  // [DONE]
            if (!whole.read(one.data())) return error(error_kind::protocol, "a chunk is no JSON");
        }
        if (!whole.any()) return error(error_kind::truncated, "the stream held no answer");
        std::string body = whole.body();
        event_facts facts;
        scan_openai_body(body, facts);
        return event(bytes(std::move(body)), facts);
    }

    result<std::vector<event>> unfold(const event& body) const override {
        std::string first, last;
        if (!openai_unfolder(body.data()).run(first, last)) {
            return error(error_kind::protocol, "the body is no chat completion");
        }
        std::vector<event> events;
        events.reserve(3);
        for (std::string* chunk : {&first, &last}) {
            event_facts facts;
            scan_openai_event(*chunk, facts);
            events.emplace_back(bytes(std::move(*chunk)), facts);
        }
        event_facts done;
        done.last = true;
        events.emplace_back(bytes::literal("[DONE]"), done);
        return events;
    }

    bool read_delta(const event& from, chat_delta& into) const override {
        event_facts found;
        const bool unread = from.facts().text_size == 0 && from.facts() == event_facts();
        if (unread) scan_openai_event(from.data(), found);
        const event_facts& facts = unread ? found : from.facts();
        into.clear();
        if (facts.text_size != 0 &&
            std::size_t{facts.text_at} + facts.text_size <= from.data().size()) {
            json_string{from.data().substr(facts.text_at, facts.text_size), facts.text_escaped}
                .append_to(into.mutable_text());
        }
        if (facts.tool_call) read_call_pieces(from.data(), into.mutable_tool_calls());
        into.set_finish(facts.finish);
        into.set_usage(facts.usage);
        return !into.text().empty() || !into.tool_calls().empty() ||
               facts.finish != finish_reason::none || facts.usage.known;
    }

    result<completion> read_completion(const event& body) const override {
        completion read;
        if (!openai_body_reader(body.data(), body.facts()).run(read)) {
            return error(error_kind::protocol, "the answer is no chat completion");
        }
        return read;
    }

    result<embeddings> read_embeddings(const event& body) const override {
        embeddings read;
        if (!read_vectors(body.data(), read)) {
            return error(error_kind::protocol, "the answer holds no embeddings");
        }
        return read;
    }
};
}  // namespace detail

/// The dialect of the chat completions API: OpenAI, Azure, llama.cpp, vLLM, Ollama and others.
///
///     auto body = llmkit::openai_dialect().fold(chunks);       // as a unary call would have got
///
/// `unfold` gives a chunk with the whole message, a chunk with the finish reason and the usage (in
/// one, as llama.cpp does it: nobody meets a chunk without choices who did not ask for one), and
/// `[DONE]`. Fields that llmkit does not know are kept both ways. Folding joins what OpenAI's own
/// clients join; of unknown values outside a message the last counts. Stateless, lives for ever.
inline const dialect& openai_dialect() {
    static const detail::openai_dialect_type spoken;
    return spoken;
}
namespace detail {
inline const known_dialect openai_is_known(openai_dialect());
}

}  // namespace llmkit
