// llmkit/detail/ip_literal.hpp: tells written IP addresses from host names (RFC 3986 §3.2.2).
#pragma once

#include <cstddef>
#include <string_view>

#include <llmkit/detail/http_chars.hpp>

namespace llmkit::detail {

/// Four decimal numbers from 0 to 255 without leading zeros. Short, octal and hexadecimal forms
/// ("127.1", "0177.0.0.1", "0x7f000001") are none: resolvers disagree about them.
constexpr bool is_ipv4(std::string_view text) {
    int numbers = 0;
    while (numbers < 4) {
        std::size_t digits = 0;
        int value = 0;
        while (digits < text.size() && digits < 3 && is_digit(text[digits]))
            value = value * 10 + (text[digits++] - '0');
        if (digits == 0 || value > 255 || (digits > 1 && text.front() == '0')) return false;
        text.remove_prefix(digits);
        if (++numbers == 4) break;
        if (text.empty() || text.front() != '.') return false;
        text.remove_prefix(1);
    }
    return text.empty();
}

/// An IPv6 address without brackets and without a zone, the last 32 bits dotted if one likes.
constexpr bool is_ipv6(std::string_view text) {
    int groups = 0;
    bool gap = false;
    if (text.starts_with("::")) {
        gap = true;
        text.remove_prefix(2);
    }
    while (!text.empty()) {
        if (text.find(':') == std::string_view::npos && text.find('.') != std::string_view::npos) {
            groups += 2;
            if (!is_ipv4(text)) return false;
            break;
        }
        std::size_t digits = 0;
        while (digits < text.size() && hex_digit(text[digits]) >= 0) ++digits;
        if (digits == 0 || digits > 4) return false;
        ++groups;
        text.remove_prefix(digits);
        if (text.empty()) break;
        if (text.front() != ':' || text.size() == 1) return false;
        text.remove_prefix(1);
        if (text.front() == ':') {
            if (gap) return false;
            gap = true;
            text.remove_prefix(1);
        }
    }
    return gap ? groups <= 7 : groups == 8;
}

}  // namespace llmkit::detail
