// llmkit/testing/openai_replies.hpp: ready-made answers as an OpenAI server writes them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/core/facts.hpp>
#include <llmkit/core/provenance.hpp>
#include <llmkit/detail/json_write.hpp>
#include <llmkit/testing/server_reply.hpp>

namespace llmkit {

namespace detail {

inline std::string openai_start(std::string_view object, std::string_view model) {
    std::string json = R"({"id":"chatcmpl-test","object":)";
    write_json(json, object);
    json += R"(,"created":1700000000,"model":)";
    write_json(json, model);
    return json;
}
inline void write_usage(std::string& json, const token_usage& usage) {
    json += R"("usage":{"prompt_tokens":)";
    write_json(json, usage.input);
    json += R"(,"completion_tokens":)";
    write_json(json, usage.output);
    json += R"(,"total_tokens":)";
    write_json(json, usage.total());
    json += "}";
}
}  // namespace detail

namespace testing {

/// The body of a whole chat answer: one choice with this text, finish reason "stop", usage.
inline std::string openai_body(std::string_view text, const token_usage& usage,
                               std::string_view model = "test-model") {
    std::string json = detail::openai_start("chat.completion", model);
    json += R"(,"choices":[{"index":0,"message":{"role":"assistant","content":)";
    detail::write_json(json, text);
    json += R"(},"finish_reason":"stop"}],)";
    detail::write_usage(json, usage);
    json += "}";
    return json;
}
/// The data of one event of a streamed answer: a piece of text. The first one carries the role.
inline std::string openai_chunk(std::string_view text, bool first = false,
                                std::string_view model = "test-model") {
    std::string json = detail::openai_start("chat.completion.chunk", model);
    json += R"(,"choices":[{"index":0,"delta":{)";
    if (first) json += R"("role":"assistant",)";
    json += R"("content":)";
    detail::write_json(json, text);
    json += R"(},"finish_reason":null}]})";
    return json;
}
/// The data of the event with the finish reason.
inline std::string openai_finish(std::string_view reason = "stop",
                                 std::string_view model = "test-model") {
    std::string json = detail::openai_start("chat.completion.chunk", model);
    json += R"(,"choices":[{"index":0,"delta":{},"finish_reason":)";
    detail::write_json(json, reason);
    json += "}]}";
    return json;
}
/// The data of the event with the usage, which has no choices.
inline std::string openai_usage(const token_usage& usage, std::string_view model = "test-model") {
    std::string json = detail::openai_start("chat.completion.chunk", model);
    json += R"(,"choices":[],)";
    detail::write_usage(json, usage);
    json += "}";
    return json;
}
/// The body, or the event's data, of an error.
inline std::string openai_error_body(std::string_view message, std::string_view type,
                                     std::string_view code = "") {
    std::string json = R"({"error":{"message":)";
    detail::write_json(json, message);
    json += R"(,"type":)";
    detail::write_json(json, type);
    json += R"(,"param":null,"code":)";
    if (code.empty()) {
        json += "null";
    } else {
        detail::write_json(json, code);
    }
    json += "}}";
    return json;
}

/// Tokens as these replies count them when nobody says otherwise: 10 in, 5 out.
inline token_usage test_usage() {
    token_usage usage;
    usage.input = 10;
    usage.output = 5;
    usage.known = true;
    return usage;
}

/// A whole answer.
///
///     llmkit::testing::http_server server([](const auto&) { return openai_reply("Hello"); });
inline server_reply openai_reply(std::string_view text, const token_usage& usage = test_usage()) {
    return server_reply().header("Content-Type", "application/json").body(openai_body(text, usage));
}

/// A streamed answer: the pieces with a pause before each, the finish reason, usage, `[DONE]`.
///
///     return openai_stream({"Hel", "lo"}, 20ms);
inline server_reply openai_stream(const std::vector<std::string>& pieces,
                                  duration before_each = duration::zero(),
                                  const std::optional<token_usage>& usage = test_usage()) {
    server_reply reply;
    bool first = true;
    for (const auto& piece : pieces) {
        if (before_each > duration::zero()) reply.pause(before_each);
        reply.event(openai_chunk(piece, first));
        first = false;
    }
    reply.event(openai_finish());
    if (usage) reply.event(openai_usage(*usage));
    return reply.event("[DONE]");
}

/// An error with its status, such as 429 with "rate_limit_error"; add `Retry-After` by hand:
///
///     return openai_error(429, "slow down", "rate_limit_error", "", "1");
inline server_reply openai_error(int status, std::string_view message,
                                 std::string_view type = "server_error", std::string_view code = "",
                                 std::string_view retry_after = "") {
    server_reply reply(status);
    reply.header("Content-Type", "application/json");
    if (!retry_after.empty()) reply.header("Retry-After", retry_after);
    return reply.body(openai_error_body(message, type, code));
}

}  // namespace testing

}  // namespace llmkit
