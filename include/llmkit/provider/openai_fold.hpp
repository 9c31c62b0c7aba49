// llmkit/provider/openai_fold.hpp: join the chunks of a chat completion into one body.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/detail/json_scan.hpp>
#include <llmkit/detail/json_write.hpp>
#include <llmkit/provider/joined_object.hpp>

namespace llmkit::detail {

/// The whole answer being put together: chat completions, and the older completions.
///
///     joined_answer whole;
///     for (auto& chunk : chunks) if (!whole.read(chunk)) …   // malformed
///     std::string body = whole.body();
class joined_answer {
public:
    /// Takes a chunk's JSON in. False, and nothing taken, when it is malformed.
    bool read(std::string_view chunk) {
        if (!json_scanner(chunk).finish()) return false;
        json_scanner from(chunk);
        return from.members([&](json_string key) {
            if (key == "choices") {
                from.elements([&] { read_choice(from); });
            } else if (key == "object") {
                json_string kind;
                if (from.read(kind) && kind == "text_completion") plain_ = true;
            } else if (key == "id" || key == "created" || key == "model") {
                members_.keep_first(key, from);
            } else {
                members_.keep_last(key, from);
            }
        });
    }
    /// False when no chunk had a choice.
    bool any() const { return !choices_.empty(); }

    std::string body() const {
        std::string out =
            plain_ ? R"({"object":"text_completion")" : R"({"object":"chat.completion")";
        out += ",\"choices\":[";
        for (const auto& [index, one] : choices_) {
            if (out.back() == '}') out += ',';
            one.write(out, index);
        }
        out += ']';
        members_.write_members(out, true);
        out += '}';
        return out;
    }

private:
    struct choice {
        joined_object message, logprobs, rest;

        void read(json_scanner& from) {
            from.members([&](json_string key) {
                if (key == "index") return;
                if (key == "delta" || key == "message") {
                    message.join(from);
                } else if (key == "logprobs") {
                    logprobs.join(from);
                } else if (key == "text") {
                    rest.join_member(key, from);
                } else {
                    rest.keep_last(key, from);
                }
            });
        }
        void write(std::string& out, std::int64_t index) const {
            out += "{\"index\":";
            write_json(out, index);
            if (!rest.has("text")) {
                out += ",\"message\":{";
                if (!message.has("role")) out += "\"role\":\"assistant\",";
                if (!message.has("content")) out += "\"content\":null";
                message.write_members(out, !message.has("content"));
                out += '}';
            }
            if (!logprobs.empty()) {
                out += ",\"logprobs\":{";
                logprobs.write_members(out, false);
                out += '}';
            }
            rest.write_members(out, true);
            if (!rest.has("finish_reason")) out += ",\"finish_reason\":null";
            out += '}';
        }
    };

    void read_choice(json_scanner& from) {
        std::string_view raw;
        if (!from.read_raw(raw)) return;
        std::int64_t index = 0;
        json_scanner look(raw);
        look.members([&](json_string key) {
            if (key == "index") look.read(index);
        });
        auto place = std::find_if(choices_.begin(), choices_.end(),
                                  [&](auto& one) { return one.first >= index; });
        if (place == choices_.end() || place->first != index)
            place = choices_.insert(place, {index, choice()});
        json_scanner piece(raw);
        place->second.read(piece);
    }

    bool plain_ = false;
    joined_object members_;
    std::vector<std::pair<std::int64_t, choice>> choices_;
};

}  // namespace llmkit::detail
