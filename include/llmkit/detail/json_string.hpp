// llmkit/detail/json_string.hpp: find the end of a JSON string fast, and turn it into text.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <llmkit/detail/utf8.hpp>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace llmkit::detail {

#if defined(__SSE2__)
/// Marks the bytes that a JSON string cannot hold as they are.
inline __m128i json_specials(__m128i bytes) {
    const __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    return _mm_or_si128(_mm_or_si128(quote, backslash), control);
}

inline __m128i load_block(const char* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

/// What 16 bytes at `p` hold, one bit a byte.
struct json_block {
    explicit json_block(const char* p) {
        const __m128i bytes = load_block(p);
        stops = static_cast<unsigned>(_mm_movemask_epi8(json_specials(bytes)));
        high = static_cast<unsigned>(_mm_movemask_epi8(bytes));
    }
    bool non_ascii_before_stop() const { return (high & ((stops & (0U - stops)) - 1U)) != 0; }

    unsigned stops;  // json_specials
    unsigned high;   // bytes with their high bit set
};
#endif

/// The first byte in [p, end) that a JSON string cannot hold as it is: a quote, a backslash or a
/// control character; `end` when there is none. `non_ascii` becomes true when a byte before it has
/// its high bit set.
inline const char* find_json_special(const char* p, const char* end, bool& non_ascii) {
#if defined(__SSE2__)
    const char* const begin = p;
    if (end - p >= 16) {  // most runs are short
        const json_block block(p);
        if (block.stops != 0) {
            non_ascii |= block.non_ascii_before_stop();
            return p + std::countr_zero(block.stops);
        }
        non_ascii |= block.high != 0;
        p += 16;
    }
    for (; end - p >= 64; p += 64) {
        const __m128i a = load_block(p);
        const __m128i b = load_block(p + 16);
        const __m128i c = load_block(p + 32);
        const __m128i d = load_block(p + 48);
        const __m128i stops = _mm_or_si128(_mm_or_si128(json_specials(a), json_specials(b)),
                                           _mm_or_si128(json_specials(c), json_specials(d)));
        if (_mm_movemask_epi8(stops) != 0) break;
        const __m128i all = _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d));
        non_ascii |= _mm_movemask_epi8(all) != 0;
    }
    for (; end - p >= 16; p += 16) {
        const json_block block(p);
        if (block.stops != 0) {
            non_ascii |= block.non_ascii_before_stop();
            return p + std::countr_zero(block.stops);
        }
        non_ascii |= block.high != 0;
    }
    if (p != end && end - begin >= 16) {  // the rest, together with what was seen before it
        const json_block block(end - 16);
        const unsigned rest = ~0U << (16 - (end - p));
        const unsigned stops = block.stops & rest;
        const unsigned before_stop = stops != 0 ? (stops & (0U - stops)) - 1U : ~0U;
        non_ascii |= (block.high & rest & before_stop) != 0;
        return stops != 0 ? end - 16 + std::countr_zero(stops) : end;
    }
#endif
    if constexpr (std::endian::native == std::endian::little) {
        constexpr std::uint64_t ones = 0x0101010101010101U;
        constexpr std::uint64_t tops = ones << 7U;
        for (; end - p >= 8; p += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, p, sizeof word);
            const std::uint64_t no_quote = word ^ (ones * '"');
            const std::uint64_t no_backslash = word ^ (ones * '\\');
            // A borrow can only mark bytes above the first true mark, so the lowest is right.
            const std::uint64_t stops =
                (((no_quote - ones) & ~no_quote) | ((no_backslash - ones) & ~no_backslash) |
                 ((word - ones * 0x20) & ~word)) &
                tops;
            if (stops != 0) {
                non_ascii |= (word & tops & ((stops & (0U - stops)) - 1U)) != 0;
                return p + std::countr_zero(stops) / 8;
            }
            non_ascii |= (word & tops) != 0;
        }
    }
    for (; p != end; ++p) {
        const auto byte = static_cast<unsigned char>(*p);
        if (byte < 0x20 || byte == '"' || byte == '\\') return p;
        non_ascii |= byte >= 0x80;
    }
    return end;
}

/// The value of four hexadecimal digits at `p`, or -1.
constexpr std::int32_t hex4(const char* p) {
    std::int32_t value = 0;
    for (int i = 0; i < 4; ++i) {
        const char c = p[i];
        std::int32_t digit = 0;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if (c >= 'a' && c <= 'f') {
            digit = c - 'a' + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = c - 'A' + 10;
        } else {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/// Which escapes a string has: `coded` ones are `\u` and `\/`, which have another spelling.
enum class json_escapes : std::uint8_t { none, plain, coded };

/// Past the escape sequence whose backslash is at `p`; null when it is none.
inline const char* past_escape(const char* p, const char* end, json_escapes& escapes) {
    if (*p != '\\' || end - p < 2) return nullptr;
    switch (p[1]) {
        case '"':
        case '\\':
        case 'b':
        case 'f':
        case 'n':
        case 'r':
        case 't':
            if (escapes == json_escapes::none) escapes = json_escapes::plain;
            return p + 2;
        case '/':
            escapes = json_escapes::coded;
            return p + 2;
        case 'u':
            escapes = json_escapes::coded;
            return end - p >= 6 && hex4(p + 2) >= 0 ? p + 6 : nullptr;
        default:
            return nullptr;
    }
}

/// scan_json_string for what is not plain ASCII, or ends the text.
[[gnu::noinline]] inline const char* scan_any_json_string(const char* p, const char* end,
                                                          json_escapes& escapes) {
    const char* const begin = p;
    bool non_ascii = false;
    const auto closed = [&](const char* quote) {
        if (!non_ascii) return quote;
        const std::string_view inside(begin, static_cast<std::size_t>(quote - begin));
        return valid_utf8(inside) ? quote : nullptr;
    };
    escapes = json_escapes::none;
#if defined(__SSE2__)
    // 64 bytes at once, one bit a byte, so that an escape costs no new start.
    while (end - p >= 64) {
        const json_block a(p), b(p + 16), c(p + 32), d(p + 48);
        const auto joined = [](unsigned w, unsigned x, unsigned y, unsigned z) {
            return w | std::uint64_t{x} << 16U | std::uint64_t{y} << 32U | std::uint64_t{z} << 48U;
        };
        std::uint64_t stops = joined(a.stops, b.stops, c.stops, d.stops);
        const std::uint64_t high = joined(a.high, b.high, c.high, d.high);
        const char* next = p + 64;
        while (stops != 0) {
            const int at = std::countr_zero(stops);
            if (p[at] == '"') {
                non_ascii |= (high & ((std::uint64_t{1} << at) - 1)) != 0;
                return closed(p + at);
            }
            const char* const behind = past_escape(p + at, end, escapes);
            if (behind == nullptr) return nullptr;
            if (behind - p >= 64) {
                next = behind;
                break;
            }
            stops &= ~std::uint64_t{0} << (behind - p);
        }
        non_ascii |= high != 0;
        p = next;
    }
#endif
    for (;;) {
        p = find_json_special(p, end, non_ascii);
        if (p == end) return nullptr;
        if (*p == '"') return closed(p);
        p = past_escape(p, end, escapes);
        if (p == nullptr) return nullptr;
    }
}

/// The closing quote of a JSON string whose first byte behind the opening quote is `p`; null when
/// the string is malformed (RFC 8259 section 7, and its text must be UTF-8) or has no end.
[[gnu::always_inline]] inline const char* scan_json_string(const char* p, const char* end,
                                                           json_escapes& escapes) {
    escapes = json_escapes::none;
#if defined(__SSE2__)
    for (int blocks = 0; blocks < 4 && end - p >= 16; ++blocks, p += 16) {
        const json_block block(p);
        if (block.stops == 0) {
            if (block.high != 0) break;
            continue;
        }
        const char* const stop = p + std::countr_zero(block.stops);
        if (*stop == '"' && !block.non_ascii_before_stop()) return stop;
        break;
    }
#endif
    return scan_any_json_string(p, end, escapes);
}
[[gnu::always_inline]] inline const char* scan_json_string(const char* p, const char* end,
                                                           bool& escaped) {
    json_escapes escapes = json_escapes::none;
    const char* const close = scan_json_string(p, end, escapes);
    escaped = escapes != json_escapes::none;
    return close;
}

/// One escape sequence of a *validated* string, `p` at its backslash: gives its code and moves `p`
/// behind it. A pair of surrogates is one code; a lone surrogate is given as it is.
constexpr char32_t take_escape(const char*& p, const char* end) {
    const char kind = p[1];
    p += 2;
    switch (kind) {
        case 'b':
            return U'\b';
        case 'f':
            return U'\f';
        case 'n':
            return U'\n';
        case 'r':
            return U'\r';
        case 't':
            return U'\t';
        case 'u':
            break;
        default:
            return static_cast<unsigned char>(kind);
    }
    const auto code = static_cast<char32_t>(hex4(p));
    p += 4;
    if (code < 0xD800 || code > 0xDBFF || end - p < 6 || p[0] != '\\' || p[1] != 'u') return code;
    const auto low = static_cast<char32_t>(hex4(p + 2));
    if (low < 0xDC00 || low > 0xDFFF) return code;
    p += 6;
    return 0x10000 + ((code - 0xD800) << 10U) + (low - 0xDC00);
}

constexpr bool is_surrogate(char32_t code) { return code >= 0xD800 && code <= 0xDFFF; }

/// Appends the text of a string's validated inside (what stands between the quotes) to `out`. A
/// lone surrogate becomes U+FFFD, so that `out` stays UTF-8.
///
///     std::string text;
///     unescape(R"(caf\u00e9)", text);  // café
inline void unescape(std::string_view raw, std::string& out) {
    const char* p = raw.data();
    const char* const end = p + raw.size();
    while (p != end) {
        const auto* escape =
            static_cast<const char*>(std::memchr(p, '\\', static_cast<std::size_t>(end - p)));
        if (escape == nullptr) {
            out.append(p, end);
            return;
        }
        out.append(p, escape);
        p = escape;
        const char32_t code = take_escape(p, end);
        if (is_surrogate(code)) {
            out.append(replacement_character);
        } else {
            char bytes[4];
            out.append(bytes, put_utf8(bytes, code));
        }
    }
}

/// A validated JSON string where it stands in the document, still escaped when `escaped`.
///
/// The view lives as long as the scanned text.
struct json_string {
    std::string_view raw;  ///< without the quotes
    bool escaped = false;

    void append_to(std::string& out) const {
        if (escaped) {
            unescape(raw, out);
        } else {
            out.append(raw);
        }
    }
    std::string str() const {
        std::string out;
        append_to(out);
        return out;
    }
    bool empty() const { return raw.empty(); }

    /// Compares the text that is meant, so that `"\u0061"` equals `a`.
    [[gnu::always_inline]] friend bool operator==(json_string left, std::string_view right) {
        // Inlined for the sake of names: comparing with a literal then takes a load or two.
        if (left.escaped) return left.str() == right;
        return left.raw.size() == right.size() &&
               std::char_traits<char>::compare(left.raw.data(), right.data(), right.size()) == 0;
    }
};

}  // namespace llmkit::detail
