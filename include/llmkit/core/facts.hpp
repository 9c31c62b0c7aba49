// llmkit/core/facts.hpp: what a provider noticed about one event, so that no layer parses JSON.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace llmkit {

/// Why a model stopped. `none` while it goes on.
enum class finish_reason : std::uint8_t { none, stop, length, tool_calls, content_filter, other };

/// The provider's word for a finish reason, as OpenAI spells it: "stop", "length", …
constexpr std::string_view to_string(finish_reason reason) {
    switch (reason) {
        case finish_reason::none:
            return "none";
        case finish_reason::stop:
            return "stop";
        case finish_reason::length:
            return "length";
        case finish_reason::tool_calls:
            return "tool_calls";
        case finish_reason::content_filter:
            return "content_filter";
        case finish_reason::other:
            return "other";
    }
    return "other";
}

/// Tokens of one call as the provider counted them. `cached_input` is part of `input`, `reasoning`
/// is part of `output`. All zero and `known == false` when the provider said nothing.
struct token_usage {
    std::int64_t input = 0;
    std::int64_t output = 0;
    std::int64_t cached_input = 0;
    std::int64_t reasoning = 0;
    bool known = false;

    constexpr std::int64_t total() const { return input + output; }
    friend constexpr bool operator==(const token_usage&, const token_usage&) = default;
};

/// What the provider noticed while it scanned an event. Layers read these, never the JSON.
///
/// `text_at`/`text_size` give the place of the first choice's text inside the event's bytes, still
/// JSON-escaped when `text_escaped`; both are 0 when there is none.
struct event_facts {
    bool content = false;    ///< carries text or a refusal that a user would see
    bool tool_call = false;  ///< carries (a piece of) a tool call
    bool last = false;       ///< nothing follows: `[DONE]`, `message_stop`, a whole unary body
    bool injected = false;   ///< exists only because a layer asked for it (metering)
    bool error = false;      ///< an error that came inside a 200 answer
    finish_reason finish = finish_reason::none;
    bool text_escaped = false;
    bool plain = false;  ///< a whole answer of which a reader wants no more than that text
    std::uint32_t text_at = 0;
    std::uint32_t text_size = 0;
    token_usage usage;

    friend constexpr bool operator==(const event_facts&, const event_facts&) = default;
};
static_assert(std::is_trivially_copyable_v<event_facts>);

}  // namespace llmkit
