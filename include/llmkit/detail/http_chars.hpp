// llmkit/detail/http_chars.hpp: which characters HTTP allows where (RFC 9110 §5.5, §5.6).
#pragma once

#include <array>
#include <bit>
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

/// A byte's high bit is set where one of eight bytes is no ASCII letter, digit or '-'; exact, as
/// nothing carries from one byte into the next.
constexpr std::uint64_t not_word_character(std::uint64_t word) {
    constexpr std::uint64_t ones = 0x0101010101010101u;
    constexpr std::uint64_t low7 = 0x7f7f7f7f7f7f7f7fu;
    const std::uint64_t low = word & low7;
    const std::uint64_t folded = low | (ones * 0x20);
    const std::uint64_t letter = (folded + ones * (0x80 - 'a')) & ~(folded + ones * (0x7f - 'z'));
    const std::uint64_t digit = (low + ones * (0x80 - '0')) & ~(low + ones * (0x7f - '9'));
    const std::uint64_t dash = ~((low ^ (ones * '-')) + low7);
    return (~(letter | digit | dash) | word) & ~low7;
}

/// How many bytes at the front may stand in a token.
constexpr std::size_t token_size(std::string_view text) {
    std::size_t size = 0;
    if (!std::is_constant_evaluated() && std::endian::native == std::endian::little) {
        // Eight bytes at a time while they are what nearly every header's name is made of.
        while (size + 8 <= text.size()) {
            std::uint64_t word = 0;
            std::memcpy(&word, text.data() + size, 8);
            const std::uint64_t other = not_word_character(word);
            if (other != 0) {
                size += static_cast<std::size_t>(std::countr_zero(other)) / 8;
                break;
            }
            size += 8;
        }
    }
    while (size < text.size() && token_table[static_cast<unsigned char>(text[size])]) ++size;
    return size;
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

/// Whether one of eight bytes is a control other than a tab. Exact: the high bits are masked off
/// first, so that nothing carries from one byte into the next.
constexpr bool word_has_control(std::uint64_t word) {
    constexpr std::uint64_t ones = 0x0101010101010101u;
    constexpr std::uint64_t low7 = 0x7f7f7f7f7f7f7f7fu;
    const std::uint64_t low = word & low7;
    const std::uint64_t visible = low + ones * (0x80 - 0x20);
    const std::uint64_t not_tab = (low ^ (ones * 0x09)) + low7;
    const std::uint64_t not_delete = (low ^ low7) + low7;
    return (((~visible & not_tab) | ~not_delete) & ~word & ~low7) != 0;
}

/// Whether any byte is a control other than a tab: such text must not stand in a header.
inline bool has_control(std::string_view text) {
    const auto word_at = [&](std::size_t at) {
        std::uint64_t word;
        std::memcpy(&word, text.data() + at, 8);
        return word;
    };
    const auto half_at = [&](std::size_t at) {
        std::uint32_t half;
        std::memcpy(&half, text.data() + at, 4);
        return std::uint64_t{half};
    };
    // The last step overlaps the one before it, which is cheaper than to go byte by byte.
    const std::size_t size = text.size();
    if (size >= 8) {
        for (std::size_t at = 0; at + 8 < size; at += 8)
            if (word_has_control(word_at(at))) return true;
        return word_has_control(word_at(size - 8));
    }
    if (size >= 4) return word_has_control(half_at(0) << 32 | half_at(size - 4));
    for (const char c : text)
        if (is_control(c)) return true;
    return false;
}

/// Equal but for the case of ASCII letters.
constexpr bool same_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
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
