// llmkit/detail/retry_rule.hpp: which failures may pass when the same request is sent again.
#pragma once

#include <llmkit/core/error.hpp>
#include <llmkit/core/facts.hpp>

namespace llmkit::detail {

/// How a kind of error is treated when the provider itself says nothing.
enum class retry_verdict {
    yes,    ///< unless the provider says no
    no,     ///< unless the provider says yes
    never,  ///< whatever it says: unchanged it fails again, or it was never sent
};

constexpr retry_verdict verdict_on(error_kind kind) {
    switch (kind) {
        case error_kind::conflict:
        case error_kind::rate_limited:
        case error_kind::overloaded:
        case error_kind::server:
        case error_kind::resolve:
        case error_kind::connect:
        case error_kind::connection_lost:
        case error_kind::timeout:
        case error_kind::truncated:
            return retry_verdict::yes;
        case error_kind::invalid_request:
        case error_kind::authentication:
        case error_kind::payment:
        case error_kind::permission:
        case error_kind::not_found:
        case error_kind::protocol:
            return retry_verdict::no;
        case error_kind::unset:
        case error_kind::configuration:
        case error_kind::context_length:
        case error_kind::content_policy:
        case error_kind::tls:
        case error_kind::too_large:
        case error_kind::not_cached:
        case error_kind::refused:
        case error_kind::too_slow:
        case error_kind::closed:
        case error_kind::internal:
            break;
    }
    return retry_verdict::never;
}

/// The table above with the provider's own word (`x-should-retry`).
inline bool worth_another_try(const error& why) {
    const retry_verdict verdict = verdict_on(why.kind());
    if (verdict == retry_verdict::never) return false;
    return why.should_retry().value_or(verdict == retry_verdict::yes);
}

/// Whether an event carries what a caller would miss: from here on nothing may silently restart.
constexpr bool carries_something(const event_facts& facts) {
    return facts.content || facts.tool_call || facts.last || facts.usage.known ||
           facts.finish != finish_reason::none;
}

}  // namespace llmkit::detail
