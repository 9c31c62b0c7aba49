#include <llmkit/detail/http_chars.hpp>

#include <string>
#include <string_view>

#include <llmkit/detail/ip_literal.hpp>

#include "test.hpp"

namespace test_detail_http_chars {

using namespace llmkit::detail;

namespace {
bool in_token(int c) {  // RFC 9110 §5.6.2, spelled out
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                          std::string_view::npos);
}
}  // namespace

TEST_CASE("the fast search for a token's end agrees with the table at every place", "[chars]") {
    for (std::size_t size = 1; size < 26; ++size)
        for (std::size_t at = 0; at < size; ++at)
            for (int c = 0; c < 256; ++c) {
                for (const char fill : {'a', 'Z', '-', '0', '_'}) {
                    std::string text(size, fill);
                    text[at] = static_cast<char>(c);
                    if (token_size(text) != (in_token(c) ? size : at))
                        FAIL("byte " << c << " at " << at << " of " << size);
                }
            }
    for (int a = 0; a < 256; ++a)
        for (int b = 0; b < 256; ++b) {
            std::string text = "abcdefghij";
            text[3] = static_cast<char>(a);
            text[4] = static_cast<char>(b);
            const std::size_t size = !in_token(a) ? 3u : !in_token(b) ? 4u : 10u;
            if (token_size(text) != size) FAIL(a << ' ' << b);
        }
    CHECK(token_size("") == 0);
    static_assert(token_size("Content-Length: 5") == 14);
    static_assert(!is_token(""));
}

TEST_CASE("hexadecimal digits and only those have a value", "[chars]") {
    for (int c = 0; c < 256; ++c) {
        const std::size_t at =
            std::string_view("0123456789abcdefABCDEF").find(static_cast<char>(c));
        const int value =
            at == std::string_view::npos ? -1 : static_cast<int>(at < 16 ? at : at - 6);
        if (hex_digit(static_cast<char>(c)) != value) FAIL(c);
    }
}

TEST_CASE("only the case of letters is ignored", "[chars]") {
    for (int a = 0; a < 256; ++a)
        for (int b = 0; b < 256; ++b) {
            const auto letter = [](int c) { return (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128; };
            const bool same = a == b || (letter(a) && letter(b) && (a | 32) == (b | 32));
            const char x = static_cast<char>(a);
            const char y = static_cast<char>(b);
            if (same_ignoring_case({&x, 1}, {&y, 1}) != same) FAIL(a << ' ' << b);
            for (std::size_t size = 7; size < 20; ++size) {
                const std::size_t at = size * 5 % 7;  // at the front, in the middle, in the overlap
                std::string one(size, 'q');
                std::string other(size, 'Q');
                one[at] = one[size - 1] = x;
                other[at] = other[size - 1] = y;
                if (same_ignoring_case(one, other) != same) FAIL(a << ' ' << b << ' ' << size);
            }
        }
    CHECK_FALSE(same_ignoring_case("abcdefgh", "abcdefghi"));
}

TEST_CASE("visible characters are told from all others at every place", "[chars]") {
    for (std::size_t size = 1; size < 26; ++size)
        for (std::size_t at = 0; at < size; ++at)
            for (int c = 0; c < 256; ++c) {
                std::string text(size, '/');
                text[at] = static_cast<char>(c);
                if (only_visible(text) != (c > 0x20 && c < 0x7f))
                    FAIL("byte " << c << " at " << at << " of " << size);
            }
}

TEST_CASE("a comma-separated list gives its elements without blanks and empty ones", "[chars]") {
    std::string seen;
    CHECK(each_in_list(" a ,, b\t,c d, ", [&](std::string_view element) {
        seen.append(element).append("|");
        return true;
    }));
    CHECK(seen == "a|b|c d|");
    CHECK_FALSE(each_in_list("a,b", [](std::string_view element) { return element != "a"; }));
    CHECK(each_in_list("", [](std::string_view) { return false; }));
}

TEST_CASE("addresses are told from names", "[chars]") {
    static_assert(is_ipv4("255.0.10.1") && !is_ipv4("256.0.0.1") && !is_ipv4("1.2.3"));
    static_assert(!is_ipv4("1.2.3.4.") && !is_ipv4("") && !is_ipv4("1..3.4") &&
                  !is_ipv4("1.2.3.04"));
    static_assert(is_ipv6("::1") && is_ipv6("::") && !is_ipv6("") && !is_ipv6("1:::2"));
}

}  // namespace test_detail_http_chars
