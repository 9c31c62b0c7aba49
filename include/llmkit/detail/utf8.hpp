// llmkit/detail/utf8.hpp: tell well-formed UTF-8 from bytes that merely look like it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace llmkit::detail {

/// The bytes that stand for text which cannot be decoded (U+FFFD).
inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";

/// The length of the well-formed sequence at the start of `text`, 0 when there is none.
///
/// Overlong forms, surrogates and values above U+10FFFF are ill-formed (Unicode 15, table 3-7).
constexpr std::size_t utf8_length(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
        return i < text.size() && at(i) >= low && at(i) <= high;
    };
    if (text.empty()) return 0;
    const unsigned lead = at(0);
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    if (lead < 0xE0) return follows(1) ? 2 : 0;
    if (lead < 0xF0) {
        const bool second = follows(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF);
        return second && follows(2) ? 3 : 0;
    }
    const bool second = follows(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF);
    return second && follows(2) && follows(3) ? 4 : 0;
}

/// Past the well-formed sequence at `p`, which is not the end and not ASCII; null when there is none.
/// The same rule as utf8_length, written for speed.
inline const char* past_utf8(const char* p, const char* end) {
    const auto at = [&](int i) { return static_cast<unsigned>(static_cast<unsigned char>(p[i])); };
    const auto follows = [&](int i) { return (at(i) & 0xC0U) == 0x80U; };
    const unsigned lead = at(0);
    const auto left = end - p;
    if (std::uint32_t word = 0; std::endian::native == std::endian::little && left >= 4) {
        std::memcpy(&word, p, sizeof word);
        if ((word & 0xC0C0F0U) == 0x8080E0U) {
            const std::uint32_t code = word & 0x200FU;
            return code != 0 && code != 0x200DU ? p + 3 : nullptr;
        }
    }
    if (lead < 0xE0) return lead >= 0xC2 && left >= 2 && follows(1) ? p + 2 : nullptr;
    if (lead < 0xF0) {
        if (left < 3 || !follows(1) || !follows(2)) return nullptr;
        const unsigned code = (lead & 0x0FU) << 6U | (at(1) & 0x3FU);  // without its last six bits
        return code >= 0x20 && (code < 0x360 || code > 0x37F) ? p + 3 : nullptr;
    }
    if (left < 4 || !follows(1) || !follows(2) || !follows(3)) return nullptr;
    const unsigned code = (lead & 0x0FU) << 6U | (at(1) & 0x3FU);  // without its last twelve
    return lead < 0xF8 && code >= 0x10 && code <= 0x10F ? p + 4 : nullptr;
}

/// Whether all of `text` is well-formed UTF-8.
inline bool valid_utf8(std::string_view text) {
    constexpr std::uint64_t high_bits = 0x8080808080808080U;
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p != end) {
        if (std::uint64_t word = 0; end - p >= 8) {
            std::memcpy(&word, p, sizeof word);
            word &= high_bits;
            if (word == 0) {
                p += 8;
                continue;
            }
            if constexpr (std::endian::native == std::endian::little)
                p += std::countr_zero(word) / 8;
        }
        if (static_cast<unsigned char>(*p) < 0x80) {
            ++p;
            continue;
        }
        do {
            p = past_utf8(p, end);
            if (p == nullptr) return false;
        } while (p != end && static_cast<unsigned char>(*p) >= 0x80);
    }
    return true;
}

/// Writes `code`, which must not be a surrogate, at `out` and returns the place behind it. Needs
/// room for four bytes.
constexpr char* put_utf8(char* out, char32_t code) {
    const auto put = [&](char32_t byte) { *out++ = static_cast<char>(byte); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0U | (code >> 6U));
        put(0x80U | (code & 0x3FU));
    } else if (code < 0x10000) {
        put(0xE0U | (code >> 12U));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    } else {
        put(0xF0U | (code >> 18U));
        put(0x80U | ((code >> 12U) & 0x3FU));
        put(0x80U | ((code >> 6U) & 0x3FU));
        put(0x80U | (code & 0x3FU));
    }
    return out;
}

/// At most `limit` bytes from the start of `text`, never ending inside a character.
constexpr std::string_view utf8_prefix(std::string_view text, std::size_t limit) {
    if (text.size() <= limit) return text;
    std::size_t end = limit;
    for (int back = 0; back < 3 && end > 0; ++back) {
        if ((static_cast<unsigned char>(text[end]) & 0xC0U) != 0x80U) break;
        --end;
    }
    return text.substr(0, end);
}

}  // namespace llmkit::detail
