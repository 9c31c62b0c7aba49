// llmkit/core/error_kind.hpp: the few ways in which a call can fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmkit {

/// What sort of failure it is, the same for every provider. Layers decide by this alone.
enum class error_kind : std::uint8_t {
    unset,            ///< a default-constructed result that nobody filled
    configuration,    ///< the program is set up wrongly: URL, key, a component that is missing
    invalid_request,  ///< 400, 422: the provider refuses this request as it stands
    authentication,   ///< 401: key missing or wrong
    payment,          ///< 402, exhausted quota: the account cannot pay
    permission,       ///< 403: the key may not do this
    not_found,        ///< 404: no such model or operation
    conflict,         ///< 409
    context_length,   ///< the prompt does not fit the model's window
    content_policy,   ///< the provider refuses the content
    rate_limited,     ///< 429: too many requests or tokens
    overloaded,       ///< 503, 529: the provider has no room
    server,           ///< other 5xx: the provider stumbled
    resolve,          ///< the host name has no address
    connect,          ///< nobody answers at the address
    tls,              ///< no trusted encrypted channel
    connection_lost,  ///< the connection ended before the answer did
    timeout,          ///< one of our own limits passed
    protocol,         ///< the answer is not what the protocol allows
    truncated,        ///< the answer stopped before it was complete
    too_large,        ///< a head, body or event over its limit
    not_cached,       ///< only_if_cached, and it is not
    refused,          ///< a limit of our own turned the call away (queue full, breaker open)
    too_slow,         ///< this reader fell too far behind the others
    closed,           ///< the pipeline was closed
    internal,         ///< a layer or callback of the program threw
};
inline constexpr std::size_t error_kind_count = static_cast<std::size_t>(error_kind::internal) + 1;

constexpr std::string_view to_string(error_kind kind) {
    constexpr std::string_view names[error_kind_count] = {
        "unset",        "configuration",   "invalid request", "authentication", "payment",
        "permission",   "not found",       "conflict",        "context length", "content policy",
        "rate limited", "overloaded",      "server error",    "resolve",        "connect",
        "tls",          "connection lost", "timeout",         "protocol",       "truncated",
        "too large",    "not cached",      "refused",         "too slow",       "closed",
        "internal",
    };
    const auto index = static_cast<std::size_t>(kind);
    return index < error_kind_count ? names[index] : "unknown";
}

/// What to do about it, in a sentence for the person who reads the log.
constexpr std::string_view advice(error_kind kind) {
    switch (kind) {
        case error_kind::unset:
            return "The result was never filled: this is a bug in a layer.";
        case error_kind::configuration:
            return "Mend the configuration and start again.";
        case error_kind::invalid_request:
            return "Mend the request: sent again it fails again.";
        case error_kind::authentication:
            return "Check the API key and where it is read from.";
        case error_kind::payment:
            return "Check the account's credit and quota.";
        case error_kind::permission:
            return "Check what this key and organisation may use.";
        case error_kind::not_found:
            return "Check the model's name and the base URL.";
        case error_kind::conflict:
            return "Try again; add retry() to do so by itself.";
        case error_kind::context_length:
            return "Shorten the prompt or choose a model with a larger window.";
        case error_kind::content_policy:
            return "Change the prompt: sent again it fails again.";
        case error_kind::rate_limited:
            return "Send less at once, or add retry() to wait.";
        case error_kind::overloaded:
            return "Try again later; add retry() to do so by itself.";
        case error_kind::server:
            return "Try again; add retry() to do so by itself.";
        case error_kind::resolve:
            return "Check the host in the base URL and the machine's DNS.";
        case error_kind::connect:
            return "Check that the server runs and that the port is right.";
        case error_kind::tls:
            return "Check the certificate, the host name and the trusted CAs.";
        case error_kind::connection_lost:
            return "Try again; add retry() to do so by itself.";
        case error_kind::timeout:
            return "Raise the limit, or ask for a shorter answer.";
        case error_kind::protocol:
            return "Check that the base URL is that of an LLM API.";
        case error_kind::truncated:
            return "Ask again: what arrived is not the whole answer.";
        case error_kind::too_large:
            return "Raise the size limit if answers may be this large.";
        case error_kind::not_cached:
            return "Call without only_if_cached to ask the provider.";
        case error_kind::refused:
            return "Send less at once or raise the limit.";
        case error_kind::too_slow:
            return "Read the stream faster or raise the replay limit.";
        case error_kind::closed:
            return "Make a new pipeline, or close this one later.";
        case error_kind::internal:
            return "Look at the message: code of this program threw.";
    }
    return "";
}

}  // namespace llmkit
