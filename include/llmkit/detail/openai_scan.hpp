// llmkit/detail/openai_scan.hpp: what an answer in OpenAI's dialect says, read in one pass.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/facts.hpp>
#include <llmkit/detail/json_scan.hpp>

namespace llmkit::detail {

/// Reads one answer or one chunk of the chat completions API, as OpenAI, Azure, llama.cpp, vLLM and
/// others spell it. Used by scan_openai_event and scan_openai_body.
class openai_scanner {
public:
    openai_scanner(std::string_view json, event_facts& facts)
        : begin_(json.data()), scan_(json), facts_(facts) {}

    /// The model that the answer names.
    json_string model() const { return model_; }
    /// The value of `obfuscation`, random letters with which OpenAI evens out the sizes of chunks.
    std::string_view padding() const { return padding_; }

    bool run() {
        scan_.members([&](json_string key) {
            if (key == "choices") {
                scan_.elements([&] { choice(); });
            } else if (key == "id") {
                ++ids_;
            } else if (key == "usage") {
                usage();
            } else if (key == "error") {
                if (!scan_.read_null()) facts_.error = true;
            } else if (key == "object") {
                json_string kind;
                if (scan_.read(kind) && kind == "error") facts_.error = true;  // older vLLM
            } else if (key == "model") {
                model_ = {};
                scan_.read(model_);
                ++models_;
            } else if (key == "obfuscation") {
                json_string letters;
                if (scan_.read(letters)) padding_ = letters.raw;
            }
        });
        facts_.plain = facts_.text_size != 0 && !facts_.tool_call && choices_ == 1 && texts_ == 1 &&
                       ids_ <= 1 && models_ <= 1;
        return scan_.finish();
    }

private:
    void choice() {
        text_ = {};
        ++choices_;
        std::int64_t index = 0;
        scan_.members([&](json_string key) {
            if (key == "message") {
                message();
            } else if (key == "delta") {
                message();
                texts_ += 2;
            } else if (key == "finish_reason") {
                finish();
            } else if (key == "index") {
                scan_.read(index);
            } else if (key == "text") {
                spoken(&text_);  // the older completions API
                texts_ += 2;
            }
        });
        if (index != 0 || text_.empty() || facts_.text_size != 0) return;
        facts_.text_at = static_cast<std::uint32_t>(text_.raw.data() - begin_);
        facts_.text_size = static_cast<std::uint32_t>(text_.raw.size());
        facts_.text_escaped = text_.escaped;
    }

    void message() {
        scan_.members([&](json_string key) {
            if (key == "content") {
                spoken(&text_);
                ++texts_;
            } else if (key == "refusal") {
                if (!scan_.read_null()) ++texts_;
                spoken(nullptr);
            } else if (key == "reasoning_content" || key == "reasoning") {
                spoken(nullptr);
            } else if (key == "tool_calls") {
                scan_.elements([&] { facts_.tool_call = true; });
            } else if (key == "function_call") {
                if (scan_.kind() == json_kind::object) facts_.tool_call = true;
            }
        });
    }

    /// Something that a user would see: a string, or a list of parts.
    void spoken(json_string* text) {
        json_string read;
        if (scan_.read(read)) {
            if (read.empty()) return;
            facts_.content = true;
            if (text != nullptr) *text = read;
        } else {
            scan_.elements([&] { facts_.content = true; });
        }
    }

    void finish() {
        json_string word;
        if (!scan_.read(word) || facts_.finish != finish_reason::none) return;
        if (word == "stop") {
            facts_.finish = finish_reason::stop;
        } else if (word == "length") {
            facts_.finish = finish_reason::length;
        } else if (word == "tool_calls" || word == "function_call") {
            facts_.finish = finish_reason::tool_calls;
        } else if (word == "content_filter") {
            facts_.finish = finish_reason::content_filter;
        } else if (!word.empty()) {
            facts_.finish = finish_reason::other;
        }
    }

    void usage() {
        token_usage& usage = facts_.usage;
        const auto count = [&](std::int64_t& to) {
            std::int64_t tokens = 0;
            if (scan_.read(tokens) && tokens >= 0) {
                to = tokens;
                usage.known = true;
            }
        };
        const auto detail = [&](std::string_view name, std::int64_t& to) {
            scan_.members([&](json_string key) {
                if (key == name) count(to);
            });
        };
        scan_.members([&](json_string key) {
            if (key == "prompt_tokens") {
                count(usage.input);
            } else if (key == "completion_tokens") {
                count(usage.output);
            } else if (key == "prompt_tokens_details") {
                detail("cached_tokens", usage.cached_input);
            } else if (key == "completion_tokens_details") {
                detail("reasoning_tokens", usage.reasoning);
            }
        });
    }

    const char* begin_;
    json_scanner scan_;
    event_facts& facts_;
    json_string text_;  // of the choice that is being read
    json_string model_;
    std::string_view padding_;
    // For `plain`: there is one choice, which says one thing, and nothing is there twice.
    int choices_ = 0;
    int texts_ = 0;
    int ids_ = 0;
    int models_ = 0;
};

/// Whether an event's data is `[DONE]`.
inline bool is_openai_end(std::string_view data) {
    while (data.ends_with(' ')) data.remove_suffix(1);
    while (data.starts_with(' ')) data.remove_prefix(1);
    return data == "[DONE]";
}

/// What one server-sent event's data says. `facts.text_at` counts from the start of `data`.
///
/// Sets content (text, a refusal or reasoning, of any choice), tool_call, finish (the first reason
/// of any choice), usage, error, and last for `[DONE]`. False when the data is malformed; then
/// `facts` is empty. JSON that is no object says nothing, and is no error.
inline bool scan_openai_event(std::string_view data, event_facts& facts) {
    facts = {};
    if (is_openai_end(data)) return facts.last = true;
    if (openai_scanner(data, facts).run()) return true;
    facts = {};
    return false;
}

/// What a whole unary answer says (chat, completions, embeddings). As scan_openai_event, and `last`
/// is set. `model` becomes the one that it names.
inline bool scan_openai_body(std::string_view body, event_facts& facts, json_string& model) {
    facts = {};
    openai_scanner scan(body, facts);
    const bool fine = scan.run();
    if (!fine) facts = {};
    model = fine ? scan.model() : json_string();
    facts.last = fine;
    return fine;
}
inline bool scan_openai_body(std::string_view body, event_facts& facts) {
    json_string model;
    return scan_openai_body(body, facts, model);
}

/// What an error body says; what it does not say is empty.
struct scanned_error {
    std::string message;
    std::string type;
    std::string code;  ///< a number is given as its digits
    std::string param;
};

/// Reads an error body: `{"error":{…}}` (OpenAI, Azure, llama.cpp), `{"error":"text"}`,
/// `{"message":…}`, `{"detail":…}`. Of any other text, a proxy's page for one, the message is the
/// start: at most 500 bytes, never half a character.
inline scanned_error scan_error(std::string_view body) {
    constexpr std::size_t longest_plain_text = 500;
    scanned_error error;
    json_scanner scan(body);
    const auto text = [&](std::string& to) {
        json_string value;
        std::string_view raw;
        to.clear();
        if (scan.read(value)) {
            value.append_to(to);
        } else if (!scan.read_null() && scan.read_raw(raw)) {
            to = raw;
        }
    };
    const auto field = [&](const json_string& key, scanned_error& into) {
        if (key == "message") text(into.message);
        if (key == "type") text(into.type);
        if (key == "code") text(into.code);
        if (key == "param") text(into.param);
    };
    scanned_error outer;
    scan.members([&](json_string key) {
        if (key == "error") {
            if (scan.members([&](json_string inner) { field(inner, error); })) return;
            text(error.message);
        } else if (key == "detail") {
            text(outer.message);
        } else {
            field(key, outer);
        }
    });
    const bool fine = scan.finish();
    if (fine && error.message.empty() && error.type.empty() && error.code.empty())
        error = std::move(outer);
    if (fine && !(error.message.empty() && error.type.empty() && error.code.empty())) return error;
    error = {};
    const std::string_view spaces = " \t\r\n";
    body.remove_prefix(std::min(body.find_first_not_of(spaces), body.size()));
    const std::string_view start = utf8_prefix(body, longest_plain_text);
    error.message = start.substr(0, start.find_last_not_of(spaces) + 1);
    return error;
}

/// The text of a top-level string member; empty when there is none or the text is malformed.
inline std::string scan_text_member(std::string_view json, std::string_view name) {
    json_string text;
    json_scanner scan(json);
    scan.members([&](json_string key) {
        if (key == name) scan.read(text);
    });
    return scan.finish() ? text.str() : std::string();
}

/// The model that an answer names, or that a request asks for.
inline std::string scan_model(std::string_view json) { return scan_text_member(json, "model"); }

/// The id of an answer.
inline std::string scan_id(std::string_view json) { return scan_text_member(json, "id"); }

}  // namespace llmkit::detail
