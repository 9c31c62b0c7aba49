// llmkit/detail/http_chars.hpp: which characters HTTP allows where (RFC 9110 §5.5, §5.6).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace llmkit::detail {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// 0 to 15, or -1 when `c` is no hexadecimal digit.
constexpr int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    const char low = to_lower(c);
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

inline constexpr std::array<bool, 256> token_table = [] {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("!#$%&'*+-.^_`|~"))
        table[static_cast<unsigned char>(c)] = true;
    for (int c = 0; c < 128; ++c)
        if (is_alpha(static_cast<char>(c)) || is_digit(static_cast<char>(c)))
            table[static_cast<std::size_t>(c)] = true;
    return table;
}();

// What follows looks at eight bytes at a time. It is exact: high bits are masked off before anything
// is added, so that nothing carries from one byte into the next.

inline constexpr std::uint64_t word_ones = 0x0101010101010101u;
inline constexpr std::uint64_t word_low7 = 0x7f7f7f7f7f7f7f7fu;

inline std::uint64_t word_at(const char* text) {
    std::uint64_t word;
    std::memcpy(&word, text, 8);
    return word;
}
inline std::uint64_t half_word_at(const char* text) {
    std::uint32_t half;
    std::memcpy(&half, text, 4);
    return half;
}

/// A byte's high bit is set where one of eight bytes is an ASCII letter.
constexpr std::uint64_t word_letters(std::uint64_t word) {
    const std::uint64_t folded = (word & word_low7) | (word_ones * 0x20);
    const std::uint64_t from_a = folded + word_ones * (0x80 - 'a');
    const std::uint64_t after_z = folded + word_ones * (0x7f - 'z');
    return from_a & ~after_z & ~word & ~word_low7;
}

/// A byte's high bit is set where one of eight bytes is a control other than a tab.
constexpr std::uint64_t word_controls(std::uint64_t word) {
    const std::uint64_t low = word & word_low7;
    const std::uint64_t visible = low + word_ones * (0x80 - 0x20);
    const std::uint64_t not_tab = (low ^ (word_ones * 0x09)) + word_low7;
    const std::uint64_t not_delete = (low ^ word_low7) + word_low7;
    return ((~visible & not_tab) | ~not_delete) & ~word & ~word_low7;
}

/// Whether two times eight bytes differ in more than the case of ASCII letters.
constexpr bool words_differ(std::uint64_t a, std::uint64_t b) {
    return ((a ^ b) & ~(word_letters(a) >> 2)) != 0;
}

/// How many bytes at the front may stand in a token. Names are short: one byte after the other is as
/// quick as eight at once.
constexpr std::size_t token_size(std::string_view text) {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const char* at = begin;
    while (at != end && token_table[static_cast<unsigned char>(*at)]) ++at;
    return static_cast<std::size_t>(at - begin);
}

/// A token of RFC 9110 §5.6.2: header names, methods. Never empty.
constexpr bool is_token(std::string_view text) {
    return !text.empty() && token_size(text) == text.size();
}

/// A control character other than a tab, DEL included. Bytes from 0x80 on are not controls.
constexpr bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\t') || byte == 0x7f;
}

/// Whether any byte is a control other than a tab: such text must not stand in a header.
inline bool has_control(std::string_view text) {
    // The last step overlaps the one before it, which is cheaper than to go byte by byte.
    const char* const from = text.data();
    const std::size_t size = text.size();
    if (size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8)
            if (word_controls(word_at(from + at)) != 0) return true;
        return word_controls(word_at(from + size - 8)) != 0;
    }
    if (size >= 4)
        return word_controls(half_word_at(from) << 32 | half_word_at(from + size - 4)) != 0;
    for (const char c : text)
        if (is_control(c)) return true;
    return false;
}

/// Whether every byte is a visible ASCII character, so neither blank nor control.
inline bool only_visible(std::string_view text) {
    const auto visible = [](std::uint64_t word) {
        const std::uint64_t low = word & word_low7;
        const std::uint64_t printed = low + word_ones * (0x80 - 0x21);
        return ((~printed | (low + word_ones) | word) & ~word_low7) == 0;
    };
    const std::size_t size = text.size();
    if (size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8)
            if (!visible(word_at(text.data() + at))) return false;
        return visible(word_at(text.data() + size - 8));
    }
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte >= 0x7f) return false;
    }
    return true;
}

/// Equal but for the case of ASCII letters.
constexpr bool same_ignoring_case(std::string_view a, std::string_view b) {
    const std::size_t size = a.size();
    if (size != b.size()) return false;
    if (!std::is_constant_evaluated() && size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8)
            if (words_differ(word_at(a.data() + at), word_at(b.data() + at))) return false;
        return !words_differ(word_at(a.data() + size - 8), word_at(b.data() + size - 8));
    }
    for (std::size_t i = 0; i < size; ++i)
        if (a[i] != b[i] && to_lower(a[i]) != to_lower(b[i])) return false;
    return true;
}

/// Without the spaces and tabs at both ends (OWS, RFC 9110 §5.6.3).
constexpr std::string_view trim_blanks(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// Calls `use(element)` for each non-empty element of a comma-separated list; stops when `use`
/// returns false. Quoted strings are not understood: only for lists of tokens and numbers.
template <class Use>
constexpr bool each_in_list(std::string_view list, Use use) {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view element = trim_blanks(list.substr(0, comma));
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
        if (!element.empty() && !use(element)) return false;
    }
    return true;
}

}  // namespace llmkit::detail
