// llmkit/provider/openai_read.hpp: text, tool calls and vectors out of OpenAI's JSON, for people.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/chat.hpp>
#include <llmkit/detail/json_scan.hpp>
#include <llmkit/detail/openai_scan.hpp>

namespace llmkit::detail {

/// The text of the value before which the scanner stands, empty when it is no string. Of members
/// of one name the last one counts.
inline void read_text(json_scanner& scan, std::string& to) {
    json_string value;
    to.clear();
    if (scan.read(value)) value.append_to(to);
}

/// One tool call, or a piece of one, before which the scanner stands.
inline void read_call(json_scanner& scan, tool_call& call) {
    scan.members([&](json_string key) {
        std::int64_t index = 0;
        if (key == "index") {
            if (scan.read(index) && index >= 0) call.index = static_cast<std::size_t>(index);
        } else if (key == "id") {
            read_text(scan, call.id);
        } else if (key == "function" || key == "custom") {
            scan.members([&](json_string inner) {
                if (inner == "name") read_text(scan, call.name);
                if (inner == "arguments" || inner == "input") read_text(scan, call.arguments);
            });
        }
    });
}

/// The tool calls of an array, numbered in order where they have no index of their own.
inline void read_calls(json_scanner& scan, std::vector<tool_call>& calls) {
    calls.clear();
    scan.elements([&] {
        tool_call& call = calls.emplace_back();
        call.index = calls.size() - 1;
        read_call(scan, call);
    });
}

/// The pieces of tool calls in a chunk's first choice.
inline void read_call_pieces(std::string_view chunk, std::vector<tool_call>& calls) {
    json_scanner scan(chunk);
    scan.members([&](json_string key) {
        if (!(key == "choices")) return;
        scan.elements([&] {
            std::int64_t index = 0;
            std::vector<tool_call> found;
            scan.members([&](json_string member) {
                if (member == "index") {
                    scan.read(index);
                } else if (member == "delta") {
                    scan.members([&](json_string field) {
                        if (field == "tool_calls") read_calls(scan, found);
                    });
                }
            });
            if (index == 0 && calls.empty()) calls = std::move(found);
        });
    });
    if (!scan.finish()) calls.clear();
}

/// Reads a whole chat completion: its first choice.
class openai_body_reader {
public:
    /// `facts` are what scan_openai_body noticed. Where they say neither why the model stopped nor
    /// what it used, the body is scanned now.
    openai_body_reader(std::string_view body, const event_facts& facts)
        : body_(body), facts_(facts), scan_(body) {}

    /// False when the body is malformed or has no choice; `into` is then of no use.
    bool run(completion& into) {
        const bool told = facts_.usage.known || facts_.finish != finish_reason::none;
        if (!told && !scan_openai_body(body_, facts_)) return false;
        into.set_finish(facts_.finish);
        into.set_usage(facts_.usage);
        if (facts_.plain && std::size_t{facts_.text_at} + facts_.text_size <= body_.size()) {
            plain(into);
            return true;
        }
        bool any = false;
        scan_.members([&](json_string key) {
            json_string text;
            if (key == "choices") {
                scan_.elements([&] {
                    if (!std::exchange(any, true)) choice(into);
                });
            } else if (key == "model") {
                if (scan_.read(text)) into.set_model(text.str());
            } else if (key == "id") {
                if (scan_.read(text)) into.set_id(text.str());
            }
        });
        return scan_.finish() && any;
    }

private:
    /// The answer was scanned and is well-formed, the place of its text is known.
    void plain(completion& into) {
        json_string{body_.substr(facts_.text_at, facts_.text_size), facts_.text_escaped}.append_to(
            into.mutable_text());
        int missing = 2;
        scan_.members([&](json_string key) {
            json_string text;
            if (key == "model") {
                if (scan_.read(text)) into.set_model(text.str());
                --missing;
            } else if (key == "id") {
                if (scan_.read(text)) into.set_id(text.str());
                --missing;
            }
            if (missing == 0) scan_.stop();
        });
    }
    void choice(completion& into) {
        scan_.members([&](json_string key) {
            if (key == "message") {
                message(into);
            } else if (key == "text" && scan_.kind() == json_kind::string) {
                read_text(scan_, into.mutable_text());
            }
        });
    }
    void message(completion& into) {
        scan_.members([&](json_string key) {
            if (key == "content") {
                content(into.mutable_text());
            } else if (key == "refusal") {
                read_text(scan_, into.mutable_refusal());
            } else if (key == "tool_calls") {
                read_calls(scan_, into.mutable_tool_calls());
            }
        });
    }
    /// A string, or a list of parts of which the texts count.
    void content(std::string& out) {
        json_string text;
        read_text(scan_, out);
        scan_.elements([&] {
            scan_.members([&](json_string key) {
                if (key == "text" && scan_.read(text)) text.append_to(out);
            });
        });
    }

    std::string_view body_;
    event_facts facts_;
    json_scanner scan_;
};

/// Base64 (RFC 4648 §4) of little-endian floats, as `encoding_format: base64` sends them.
inline bool read_packed_floats(std::string_view text, std::vector<float>& out) {
    while (text.ends_with('=')) text.remove_suffix(1);
    out.reserve(text.size() * 3 / 16);
    std::uint32_t bits = 0;
    int held = 0;
    std::uint32_t word = 0;
    int filled = 0;
    for (const char c : text) {
        std::uint32_t six = 0;
        if (c >= 'A' && c <= 'Z') {
            six = static_cast<std::uint32_t>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            six = static_cast<std::uint32_t>(c - 'a') + 26;
        } else if (c >= '0' && c <= '9') {
            six = static_cast<std::uint32_t>(c - '0') + 52;
        } else if (c == '+' || c == '/') {
            six = c == '+' ? 62 : 63;
        } else {
            return false;
        }
        bits = (bits << 6U | six) & 0xFFFFU;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        word |= (bits >> held & 0xFFU) << (8 * filled);
        if (++filled == 4) {
            out.push_back(std::bit_cast<float>(word));
            word = 0;
            filled = 0;
        }
    }
    return filled == 0;
}

/// Reads an embeddings answer, the vectors in the order of their inputs.
inline bool read_vectors(std::string_view body, embeddings& into) {
    event_facts facts;
    if (!scan_openai_body(body, facts)) return false;
    std::vector<std::pair<std::int64_t, std::vector<float>>> found;
    bool fine = true;
    bool any = false;
    json_scanner scan(body);
    const auto one = [&] {
        auto& [index, vector] = found.emplace_back();
        index = static_cast<std::int64_t>(found.size()) - 1;
        bool here = false;
        scan.members([&](json_string key) {
            json_string packed;
            if (key == "index") {
                scan.read(index);
            } else if (key == "embedding" && scan.read(packed)) {
                here = read_packed_floats(packed.escaped ? packed.str() : packed.raw, vector);
            } else if (key == "embedding") {
                here = scan.elements([&] {
                    double number = 0;
                    fine = scan.read(number) && fine;
                    vector.push_back(static_cast<float>(number));
                });
            }
        });
        fine = fine && here;
    };
    scan.members([&](json_string key) {
        json_string text;
        if (key == "data") {
            any = scan.elements(one);
        } else if (key == "model" && scan.read(text)) {
            into.model = text.str();
        }
    });
    if (!fine || !any) return false;
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    for (auto& [index, vector] : found) into.vectors.push_back(std::move(vector));
    into.usage = facts.usage;
    return true;
}

}  // namespace llmkit::detail
