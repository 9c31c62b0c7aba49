// llmkit/detail/openai_chunks.hpp: read the chunks of one stream, most of which are nearly the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <llmkit/core/facts.hpp>
#include <llmkit/detail/json_string.hpp>
#include <llmkit/detail/openai_scan.hpp>

namespace llmkit::detail {

/// scan_openai_event for the events of one stream, several times as fast: the chunks of a stream
/// differ in little but their text.
///
///     openai_chunks chunks;
///     for (auto& data : events)
///         if (chunks.read(data, facts)) …
///
/// The last chunk that was scanned and had text is kept. Where the next one is the same up to the
/// text, the text is a JSON string, and what stands behind is the same again, the next one is
/// well-formed JSON and says the same but for its text. OpenAI's `obfuscation` may differ as well.
/// Anything else is scanned. Not thread-safe.
class openai_chunks {
public:
    bool read(std::string_view data, event_facts& facts) {
        if (matches(data, facts)) return true;
        facts = {};
        if (is_openai_end(data)) return facts.last = true;
        openai_scanner scan(data, facts);
        if (!scan.run()) {
            facts = {};
            return false;
        }
        if (facts.text_size != 0 && data.size() <= longest_kept) keep(data, facts, scan.padding());
        return true;
    }

private:
    static constexpr std::size_t longest_kept = 4096;

    void keep(std::string_view data, const event_facts& facts, std::string_view padding) {
        known_ = data;
        facts_ = facts;
        text_end_ = facts.text_at + facts.text_size;
        padding_ = 0;
        if (padding.data() == nullptr) return;
        const auto at = static_cast<std::size_t>(padding.data() - data.data());
        if (at < text_end_) return;
        padding_ = at;
        padding_end_ = padding_ + padding.size();
    }

    bool matches(std::string_view data, event_facts& facts) const {
        const char* const known = known_.data();
        const char* const end = data.data() + data.size();
        const std::size_t text_at = facts_.text_at;
        if (text_at == 0 || data.size() <= text_at ||
            std::memcmp(data.data(), known, text_at) != 0) {
            return false;
        }
        bool escaped = false;
        const char* const text = data.data() + text_at;
        const char* p = scan_json_string(text, end, escaped);
        if (p == nullptr || p == text) return false;  // without text a chunk says something else
        const auto size = static_cast<std::uint32_t>(p - text);
        const auto same = [&](std::size_t from, std::size_t to) {
            const bool fits = static_cast<std::size_t>(end - p) >= to - from;
            if (!fits || std::memcmp(p, known + from, to - from) != 0) return false;
            p += to - from;
            return true;
        };
        if (padding_ != 0) {
            if (!same(text_end_, padding_)) return false;
            const std::size_t behind = known_.size() - padding_end_;
            if (static_cast<std::size_t>(end - p) < behind) return false;
            bool non_ascii = false;
            const char* const close = end - behind;
            if (find_json_special(p, close, non_ascii) != close || non_ascii) return false;
            p = close;
            if (!same(padding_end_, known_.size())) return false;
        } else if (!same(text_end_, known_.size())) {
            return false;
        }
        if (p != end) return false;
        facts = facts_;
        facts.text_size = size;
        facts.text_escaped = escaped;
        return true;
    }

    std::string known_;  // the last chunk with text
    event_facts facts_;  // and what it says; text_at is 0 as long as there is none
    std::size_t text_end_ = 0;
    std::size_t padding_ = 0;  // where its padding stands behind the text, else 0
    std::size_t padding_end_ = 0;
};

}  // namespace llmkit::detail
