// llmkit/detail/question.hpp: when two calls ask the same, so that one answer may serve both.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <llmkit/core/key.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/detail/json_edit.hpp>

namespace llmkit::detail {

/// Changes when keys or entries change their meaning, so that old ones are never found again.
inline constexpr std::uint64_t answer_schema = 1;

/// Operations that only answer. Any other may create something, so that asking once instead of
/// twice is not the same. The last part of a path counts where no other API uses the name.
inline bool only_answers(std::string_view operation) {
    static constexpr std::array<std::string_view, 6> whole{
        "chat/completions", "completions", "embeddings", "messages", "moderations", "rerank"};
    if (std::find(whole.begin(), whole.end(), operation) != whole.end()) return true;
    return operation.ends_with("/chat/completions") || operation.ends_with("/completions") ||
           operation.ends_with("/embeddings");
}

/// Whether this call may be answered by what another one brought: its caller allows it, did not
/// name it by an idempotency key of his own, and it only asks.
inline bool shareable(const request& ask) {
    const call_options& options = ask.options();
    return options.cache != cache_mode::bypass && options.idempotency_key().empty() &&
           !ask.body().empty() && only_answers(ask.operation());
}

/// Which parts of a call belong to its question beside operation, tenant and upstream.
struct question_rules {
    key_fields fields = key_fields::meaning;
    bool headers = true;  ///< extra headers may change the answer, or whose account pays
};

inline key128 headers_key(const request& ask, question_rules rules) {
    if (!rules.headers || ask.options().headers().empty()) return key128();
    key_builder key;
    for (const auto& [name, value] : ask.options().headers()) key.add(name).add(value);
    return key.finish();
}

/// The key that cache and dedup file a question under. `origin` is the upstream's name.
inline key128 question_key(const request& ask, std::string_view origin, question_rules rules) {
    return key_builder()
        .add(answer_schema)
        .add(std::string_view(ask.options().tenant()))
        .add(origin)
        .add(std::string_view(ask.operation()))
        .add(headers_key(ask, rules))
        .add(ask.content_key(rules.fields))
        .finish();
}

/// Whether two calls to one upstream really ask the same, also when their keys were made to clash.
inline bool same_question(const request& a, const request& b, question_rules rules) {
    return a.operation() == b.operation() && a.options().tenant() == b.options().tenant() &&
           (!rules.headers || a.options().headers() == b.options().headers()) &&
           a.canonical(rules.fields) == b.canonical(rules.fields);
}

/// The text of the body's `stream_options`, empty when there are none.
inline std::string_view stream_options_of(const request& ask) {
    // Few bodies have it; a search is quicker than a scan of the JSON.
    if (ask.body().find("\"stream_options\"") == std::string_view::npos) return {};
    return find_member(ask.body(), "stream_options").value_or(std::string_view());
}
/// Whether the caller himself wants usage in his stream.
inline bool wants_usage(const request& ask) {
    const std::string_view options = stream_options_of(ask);
    return !options.empty() && find_member(options, "include_usage") == "true";
}

/// Whether the model is asked to answer the same each time: temperature 0, or no sampling at all.
inline bool deterministic(const request& ask) {
    if (ask.operation().ends_with("embeddings") || ask.operation() == "moderations" ||
        ask.operation() == "rerank") {
        return true;
    }
    // The canonical form spells every zero "0".
    return find_member(ask.canonical(), "temperature") == "0";
}

}  // namespace llmkit::detail
