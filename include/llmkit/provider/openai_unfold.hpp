// llmkit/provider/openai_unfold.hpp: write a whole answer as the chunks of a stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <llmkit/detail/json_scan.hpp>
#include <llmkit/detail/json_write.hpp>

namespace llmkit::detail {

/// Turns a chat completion's body into two chunks: one with the messages, one with the finish
/// reasons and everything that is only known at the end.
class openai_unfolder {
public:
    explicit openai_unfolder(std::string_view body) : body_(body) {}

    /// False when the body is no well-formed answer with choices.
    bool run(std::string& first, std::string& last) {
        if (!json_scanner(body_).finish()) return false;
        json_scanner scan(body_);
        std::string identity, rest;  // members in every chunk; in the last one
        bool any = false;
        scan.members([&](json_string key) {
            std::string_view raw;
            if (key == "choices") {
                any = scan.elements([&] { choice(scan); });
            } else if (key == "object") {
                json_string kind;
                if (scan.read(kind) && kind == "text_completion") object_ = "text_completion";
            } else if (scan.read_raw(raw)) {
                const bool everywhere = key == "id" || key == "created" || key == "model" ||
                                        key == "system_fingerprint" || key == "service_tier";
                add_member(everywhere ? identity : rest, key, raw);
            }
        });
        if (!any || messages_.empty()) return false;
        const std::string head = "{\"object\":\"" + std::string(object_) + '"' + identity;
        first = head + ",\"choices\":[" + messages_ + "]}";
        last = head + ",\"choices\":[" + endings_ + ']' + rest + '}';
        return true;
    }

private:
    static void add_member(std::string& out, json_string key, std::string_view raw) {
        out.append(",\"").append(key.raw).append("\":").append(raw);
    }

    void choice(json_scanner& scan) {
        std::int64_t index = count_++;
        std::string message, ending;
        scan.members([&](json_string key) {
            std::string_view raw;
            if (key == "index") {
                scan.read(index);
            } else if (key == "message") {
                message += ",\"delta\":{";
                delta(scan, message);
                message += '}';
            } else if (scan.read_raw(raw)) {
                const bool said = key == "text" || key == "logprobs";
                add_member(said ? message : ending, key, raw);
            }
        });
        const bool chat = object_ == "chat.completion.chunk";
        begin(messages_, index);
        messages_.append(message).append(",\"finish_reason\":null}");
        begin(endings_, index);
        endings_.append(chat ? ",\"delta\":{}" : ",\"text\":\"\"").append(ending).append("}");
    }
    static void begin(std::string& out, std::int64_t index) {
        out += out.empty() ? "{\"index\":" : ",{\"index\":";
        write_json(out, index);
    }

    void delta(json_scanner& scan, std::string& out) {
        const std::size_t start = out.size();
        scan.members([&](json_string key) {
            std::string_view raw;
            if (out.size() != start) out += ',';
            out.append("\"").append(key.raw).append("\":");
            if (key == "tool_calls" && scan.kind() == json_kind::array) {
                out += '[';
                std::int64_t at = 0;
                scan.elements([&] { call(scan, out, at++); });
                out += ']';
            } else if (scan.read_raw(raw)) {
                out += raw;
            }
        });
    }
    /// A tool call with its index, which only chunks have.
    static void call(json_scanner& scan, std::string& out, std::int64_t at) {
        out += at == 0 ? "{\"index\":" : ",{\"index\":";
        write_json(out, at);
        scan.members([&](json_string key) {
            std::string_view raw;
            if (!(key == "index") && scan.read_raw(raw)) add_member(out, key, raw);
        });
        out += '}';
    }

    std::string_view body_;
    std::string_view object_ = "chat.completion.chunk";
    std::int64_t count_ = 0;
    std::string messages_, endings_;
};

}  // namespace llmkit::detail
