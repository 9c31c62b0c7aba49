// llmkit/provider/openai_error.hpp: what an OpenAI-like server's error means for the caller.
#pragma once

#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/error.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/detail/openai_scan.hpp>
#include <llmkit/detail/retry_after.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

inline std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) c = to_lower(c);
    return lower;
}

/// Whether `text` holds one of the words. All in lower case.
template <class... Words>
bool mentions(std::string_view text, const Words&... words) {
    return ((text.find(std::string_view(words)) != text.npos) || ...);
}

/// What a status alone says. Not for 2xx.
constexpr error_kind kind_of_status(int status) {
    switch (status) {
        case 401:
            return error_kind::authentication;
        case 402:
            return error_kind::payment;
        case 403:
            return error_kind::permission;
        case 404:
        case 405:
        case 410:
            return error_kind::not_found;
        case 408:
            return error_kind::timeout;  // the server's own; asking again is fine
        case 409:
            return error_kind::conflict;
        case 413:
            return error_kind::too_large;
        case 429:
            return error_kind::rate_limited;
        case 503:
        case 529:
            return error_kind::overloaded;
        default:
            break;
    }
    if (status >= 500) return error_kind::server;
    return status >= 400 ? error_kind::invalid_request : error_kind::protocol;
}

/// What a code or a type says by its name, `unset` when the name is unknown. Names as OpenAI,
/// Azure, llama.cpp, vLLM, Groq, Together and OpenRouter spell them, in lower case.
inline error_kind kind_of_name(std::string_view name) {
    if (mentions(name, "context_length", "context_window", "exceed_context_size"))
        return error_kind::context_length;
    if (mentions(name, "content_filter", "content_policy", "responsibleai", "moderation"))
        return error_kind::content_policy;
    if (mentions(name, "insufficient_quota", "billing", "payment", "insufficient_credit",
                 "quota_exceeded"))
        return error_kind::payment;
    if (mentions(name, "rate_limit", "ratelimit", "too_many_requests", "toomanyrequests"))
        return error_kind::rate_limited;
    if (mentions(name, "overloaded", "unavailable", "slow_down", "no_capacity", "over_capacity"))
        return error_kind::overloaded;
    if (mentions(name, "api_key", "authentication", "unauthorized", "invalid_token",
                 "token_expired", "account_deactivated"))
        return error_kind::authentication;
    if (mentions(name, "permission", "forbidden", "unsupported_country", "access_denied",
                 "access_terminated"))
        return error_kind::permission;
    if (mentions(name, "not_found", "notfound", "unknown_model")) return error_kind::not_found;
    if (mentions(name, "too_large", "toolarge")) return error_kind::too_large;
    if (mentions(name, "timeout", "timed_out")) return error_kind::timeout;
    if (mentions(name, "conflict")) return error_kind::conflict;
    if (mentions(name, "server_error", "servererror", "internal", "api_error", "bad_gateway"))
        return error_kind::server;
    if (mentions(name, "invalid", "badrequest", "bad_request", "unsupported", "missing_"))
        return error_kind::invalid_request;
    return error_kind::unset;
}

/// Servers that have no code for it say it in words. `text` in lower case.
inline bool tells_of_context_length(std::string_view text) {
    return mentions(text, "maximum context length", "context length exceeded",
                    "exceeds the context", "exceed the context", "exceeds the available context",
                    "context window", "context size", "prompt is too long",
                    "maximum prompt length");
}

/// Which kind of failure a server describes. `status` is the answer's; of a 2xx, which carried the
/// error in its body, nothing is believed.
///
/// A few names are finer than any status and count first; then the status; then, for an error
/// inside a 2xx answer, the code and the type by name or by number. What nothing explains there is
/// the server's fault.
inline error_kind openai_error_kind(int status, const scanned_error& said) {
    const std::string code = lower_case(said.code);
    const std::string type = lower_case(said.type);
    const error_kind by_code = kind_of_name(code);
    const error_kind by_type = kind_of_name(type);
    const bool in_band = status < 300;
    const bool refused_as_such = in_band || status == 400 || status == 413 || status == 422 ||
                                 status == 500;  // the last: older llama.cpp
    for (const error_kind fine : {error_kind::context_length, error_kind::content_policy}) {
        if (refused_as_such && (by_code == fine || by_type == fine)) return fine;
    }
    if ((in_band || status == 429 || status == 403) &&
        (by_code == error_kind::payment || by_type == error_kind::payment))
        return error_kind::payment;
    if (refused_as_such && by_code != error_kind::rate_limited) {
        const std::string message = lower_case(said.message);
        if (tells_of_context_length(message)) return error_kind::context_length;
        if (mentions(message, "content management policy", "content policy"))
            return error_kind::content_policy;
    }
    if (!in_band) return kind_of_status(status);

    // A server's "invalid_request_error" beside the code "invalid_api_key": the code knows more.
    if (by_code != error_kind::unset) return by_code;
    int number = 0;
    std::from_chars(code.data(), code.data() + code.size(), number);
    if (number >= 400 && number < 600) return kind_of_status(number);
    return by_type == error_kind::unset ? error_kind::server : by_type;
}

/// Takes every secret out of a text that a server wrote: some quote the key they refuse.
inline void redact(std::string& text, std::string_view secret) {
    if (secret.size() < 4) return;
    for (std::size_t at = text.find(secret); at != text.npos; at = text.find(secret, at)) {
        text.replace(at, secret.size(), "[secret]");
    }
}

/// The error that a body describes: of a non-2xx answer, or inside a 2xx one.
inline error openai_error(int status, const scanned_error& said) {
    constexpr std::size_t longest_message = 2000;
    const error_kind kind = openai_error_kind(status, said);
    std::string message(utf8_prefix(said.message, longest_message));
    if (message.empty()) {
        message = status >= 300
                      ? fmt::format("the server answered HTTP {} without a reason", status)
                      : "the server sent an error without a reason";
    }
    std::string code(utf8_prefix(said.code.empty() ? said.type : said.code, 100));
    return error(kind, std::move(message)).with_status(status).with_code(std::move(code));
}
inline error openai_error(int status, std::string_view body) {
    return openai_error(status, scan_error(body));
}

/// Adds what the answer's header fields say: request id, when and whether to ask again.
inline error with_fields(error what, const headers& fields,
                         std::chrono::system_clock::time_point now) {
    const auto text = [&](std::string_view name) { return fields.get(name).value_or(""); };
    std::string_view id = text("x-request-id");
    if (id.empty()) id = text("apim-request-id");  // Azure
    if (!id.empty()) what = what.with_request_id(std::string(utf8_prefix(id, 200)));
    if (const auto wait = server_wait(text("retry-after-ms"), text("retry-after"), now)) {
        what = what.with_retry_after(std::chrono::duration_cast<duration>(*wait));
    }
    const std::string should = lower_case(text("x-should-retry"));
    if (should == "true") what = what.with_should_retry(true);
    if (should == "false") what = what.with_should_retry(false);
    return what;
}

}  // namespace llmkit::detail
