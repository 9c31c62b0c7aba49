// llmkit/detail/json_write.hpp: write JSON text piece by piece, always valid.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include <llmkit/detail/json_string.hpp>

namespace llmkit::detail {

/// Appends `text` as a JSON string literal, quotes included.
///
///     std::string body = R"({"content":)";
///     write_json(body, "say \"hi\"\n");  // "say \"hi\"\n"
///
/// Escapes what RFC 8259 needs and nothing else. Each byte that is not part of well-formed UTF-8
/// becomes U+FFFD, so that the body is valid whatever a user pasted into it.
inline void write_json(std::string& out, std::string_view text) {
    static constexpr std::string_view hex = "0123456789abcdef";
    out += '"';
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p != end) {
        bool non_ascii = false;
        const char* const stop = find_json_special(p, end, non_ascii);
        std::string_view plain(p, static_cast<std::size_t>(stop - p));
        if (!non_ascii || valid_utf8(plain)) {
            out.append(plain);
        } else {
            while (!plain.empty()) {
                const std::size_t length = utf8_length(plain);
                out.append(length == 0 ? replacement_character : plain.substr(0, length));
                plain.remove_prefix(length == 0 ? 1 : length);
            }
        }
        if (stop == end) break;
        p = stop + 1;
        switch (*stop) {
            case '"':
                out.append("\\\"");
                break;
            case '\\':
                out.append("\\\\");
                break;
            case '\b':
                out.append("\\b");
                break;
            case '\f':
                out.append("\\f");
                break;
            case '\n':
                out.append("\\n");
                break;
            case '\r':
                out.append("\\r");
                break;
            case '\t':
                out.append("\\t");
                break;
            default:
                out.append("\\u00");
                out += hex[static_cast<unsigned char>(*stop) >> 4U];
                out += hex[static_cast<unsigned char>(*stop) & 15U];
        }
    }
    out += '"';
}
inline void write_json(std::string& out, const char* text) {
    write_json(out, std::string_view(text));
}

inline void write_json(std::string& out, std::int64_t number) {
    char digits[24];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}
inline void write_json(std::string& out, int number) { write_json(out, std::int64_t{number}); }

/// Appends the shortest text that reads back as the same double; `null` for what JSON cannot say
/// (infinities, not-a-number).
inline void write_json(std::string& out, double number) {
    if (!std::isfinite(number)) {
        out.append("null");
        return;
    }
    char digits[32];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

inline void write_json(std::string& out, bool yes) { out.append(yes ? "true" : "false"); }

}  // namespace llmkit::detail
