// llmkit/detail/canonical_number.hpp: one spelling for all numbers in JSON that are the same.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <system_error>

namespace llmkit::detail {

/// So many digits on either side of the point are written without an exponent.
inline constexpr std::size_t canonical_digits = 20;

/// Whether a well-formed number is spelled canonically. True for nearly all; false is not certain.
inline bool is_canonical_number(std::string_view number) {
    if (number.size() > canonical_digits || number == "-0") return false;
    bool point = false;
    for (const char c : number) {
        if (c == '.') point = true;
        if (c == 'e' || c == 'E') return false;
    }
    return !point || number.back() != '0';
}

/// Writes digits × 10^exponent, the digits standing in [digits, out) already, and returns the place
/// behind it.
inline char* place_point(char* digits, char* out, long long exponent) {
    constexpr auto most = static_cast<long long>(canonical_digits);
    const long long whole = (out - digits) + exponent;  // digits before the point
    if (whole > most || exponent < -most) {
        *out++ = 'e';
        return std::to_chars(out, out + 20, exponent).ptr;
    }
    if (exponent >= 0) {
        for (; exponent > 0; --exponent) *out++ = '0';
        return out;
    }
    const long long zeros = whole > 0 ? 0 : 1 - whole;  // "0" before it, and those behind
    char* const from = digits + (whole > 0 ? whole : 0);
    const auto tail = static_cast<std::size_t>(out - from);
    std::memmove(from + zeros + 1, from, tail);
    std::memset(from, '0', static_cast<std::size_t>(zeros));
    (whole > 0 ? *from : digits[1]) = '.';
    if (whole <= 0) std::memset(digits + 2, '0', static_cast<std::size_t>(zeros - 1));
    return out + zeros + 1;
}

/// Writes a well-formed number canonically at `out`, which has room for its size and 64 bytes more;
/// the rule stands beside canonical_json. Returns the place behind it, or null when the exponent is
/// beyond 10^15, which nobody means.
inline char* put_canonical_number(std::string_view raw, char* out) {
    char* const start = out;
    if (raw.front() == '-') {
        *out++ = '-';
        raw.remove_prefix(1);
    }
    const std::size_t e = std::min(raw.find_first_of("eE"), raw.size());
    const std::size_t point = std::min(raw.find('.'), e);
    // The digits without zeros in front and behind: the value is digits × 10^exponent.
    char* const digits = out;
    char* last = out;
    for (const char c : raw.substr(0, e)) {
        if (c == '.' || (c == '0' && out == digits)) continue;
        *out++ = c;
        if (c != '0') last = out;
    }
    if (out == digits) {
        *start = '0';
        return start + 1;
    }
    long long exponent = (out - last) - (point < e ? static_cast<long long>(e - point - 1) : 0);
    if (e != raw.size()) {
        std::string_view power = raw.substr(e + 1);
        const bool negative = power.front() == '-';
        power.remove_prefix(negative || power.front() == '+' ? 1 : 0);
        long long given = 0;
        const char* const stop = power.data() + power.size();
        if (std::from_chars(power.data(), stop, given).ec != std::errc()) return nullptr;
        constexpr long long absurd = 1'000'000'000'000'000;
        if (given > absurd) return nullptr;
        exponent += negative ? -given : given;
    }
    return place_point(digits, last, exponent);
}

}  // namespace llmkit::detail
