// llmkit/detail/json_tokens.hpp: the grammar of JSON, as steps from a place in a text to the next.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <llmkit/detail/json_string.hpp>

namespace llmkit::detail {

/// Deeper nesting counts as malformed.
inline constexpr std::size_t max_json_depth = 256;

constexpr bool is_json_digit(char c) { return c >= '0' && c <= '9'; }

// Each takes a place in a text that ends at `end` and gives the place behind what stands there, or
// null when that is malformed. A place is passed and returned, and not kept in an object, so that
// the compiler keeps it in a register.

[[gnu::always_inline]] inline const char* past_space(const char* p, const char* end) {
    while (p != end && static_cast<unsigned char>(*p) <= ' ' &&
           (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        ++p;
    return p;
}

inline const char* past_digits(const char* p, const char* end) {
    if (p == end || !is_json_digit(*p)) return nullptr;
    while (p != end && is_json_digit(*p)) ++p;
    return p;
}

/// Needs a digit or a minus at `p`.
inline const char* past_number(const char* p, const char* end) {
    if (*p == '-') ++p;
    if (p != end && *p == '0') {
        ++p;
        if (p != end && is_json_digit(*p)) return nullptr;
    } else {
        p = past_digits(p, end);
    }
    if (p != nullptr && p != end && *p == '.') p = past_digits(p + 1, end);
    if (p != nullptr && p != end && (*p == 'e' || *p == 'E')) {
        ++p;
        if (p != end && (*p == '+' || *p == '-')) ++p;
        p = past_digits(p, end);
    }
    return p;
}

inline const char* past_word(const char* p, const char* end, std::string_view word) {
    const bool here = std::string_view(p, static_cast<std::size_t>(end - p)).starts_with(word);
    return here ? p + word.size() : nullptr;
}

/// Past `true`, `false` or `null`.
inline const char* past_constant(const char* p, const char* end) {
    if (*p == 't') return past_word(p, end, "true");
    if (*p == 'f') return past_word(p, end, "false");
    return past_word(p, end, "null");
}

/// Past a value that is neither an object nor an array.
inline const char* past_scalar(const char* p, const char* end) {
    if (p == end) return nullptr;
    if (*p == '"') {
        bool escaped = false;
        const char* const close = scan_json_string(p + 1, end, escaped);
        return close == nullptr ? nullptr : close + 1;
    }
    if (*p == '-' || is_json_digit(*p)) return past_number(p, end);
    return past_constant(p, end);
}

/// Past a member's name, its colon and the space around.
inline const char* past_key(const char* p, const char* end, json_string& name) {
    if (p == end || *p != '"') return nullptr;
    const char* const close = scan_json_string(p + 1, end, name.escaped);
    if (close == nullptr) return nullptr;
    name.raw = {p + 1, static_cast<std::size_t>(close - p - 1)};
    p = past_space(close + 1, end);
    return p != end && *p == ':' ? past_space(p + 1, end) : nullptr;
}

/// Past an object or array of at most `levels` (max_json_depth or less), without recursion: one bit
/// a level tells which of the two it is.
inline const char* past_nested(const char* p, const char* end, std::size_t levels) {
    std::array<std::uint64_t, max_json_depth / 64> objects{};
    json_string key;
    std::size_t level = 0;
    bool object = false;
    const auto look_up = [&] {
        const std::size_t top = level - 1;
        object = level != 0 && ((objects[top / 64] >> (top % 64)) & 1U) != 0;
    };
    for (;;) {
        bool value_ended = true;
        if (p != end && (*p == '{' || *p == '[')) {
            if (level == levels) return nullptr;
            object = *p == '{';
            const std::uint64_t bit = std::uint64_t{1} << (level % 64);
            std::uint64_t& word = objects[level / 64];
            word = object ? word | bit : word & ~bit;
            ++level;
            p = past_space(p + 1, end);
            if (p != end && *p == (object ? '}' : ']')) {
                ++p;
                --level;
                look_up();
            } else {
                value_ended = false;
                if (object) p = past_key(p, end, key);
            }
        } else {
            p = past_scalar(p, end);
        }
        if (p == nullptr) return nullptr;
        while (value_ended) {
            if (level == 0) return p;
            p = past_space(p, end);
            if (p == end) return nullptr;
            if (*p == ',') {
                p = past_space(p + 1, end);
                if (object) p = past_key(p, end, key);
                if (p == nullptr) return nullptr;
                value_ended = false;
            } else if (*p == (object ? '}' : ']')) {
                ++p;
                --level;
                look_up();
            } else {
                return nullptr;
            }
        }
    }
}

/// Past any value, in which at most `levels` may be nested.
inline const char* past_value(const char* p, const char* end, std::size_t levels) {
    const bool nested = p != end && (*p == '{' || *p == '[');
    return nested ? past_nested(p, end, levels) : past_scalar(p, end);
}

}  // namespace llmkit::detail
