#include "llmkit/detail/json_string.hpp"

#include <string>
#include <string_view>
#include <vector>

#include "test.hpp"

namespace test_detail_json_string {

using namespace llmkit::detail;

namespace {

// Puts the text into a heap block of exactly its size, so that the address sanitizer sees
// overreads.
bool scans(std::string_view inside, bool& escaped) {
    const std::vector<char> exact(inside.begin(), inside.end());
    const char* close = scan_json_string(exact.data(), exact.data() + exact.size(), escaped);
    return close != nullptr && close + 1 == exact.data() + exact.size();
}
bool scans(std::string_view inside) {
    bool escaped = false;
    return scans(inside, escaped);
}

std::string unescaped(std::string_view raw) {
    std::string out;
    unescape(raw, out);
    return out;
}

}  // namespace

TEST_CASE("a string ends at its first unescaped quote, wherever it lies", "[json_string]") {
    for (std::size_t size = 0; size < 70; ++size) {
        bool escaped = true;
        CHECK(scans(std::string(size, 'x') + '"', escaped));
        CHECK_FALSE(escaped);
        CHECK(scans(std::string(size, 'x') + "\\\"" + '"', escaped));
        CHECK(escaped);
        CHECK(scans(std::string(size, 'x') + "\xC3\xA9\""));
        CHECK_FALSE(scans(std::string(size, 'x') + "\xC3\""));
        CHECK_FALSE(scans(std::string(size, 'x')));
        CHECK_FALSE(scans(std::string(size, 'x') + '\\'));
        CHECK_FALSE(scans(std::string(size, 'x') + "\n\""));
    }
}

TEST_CASE("bytes after the closing quote do not matter", "[json_string]") {
    const std::string text = "abc\" \xFF\xFF\x01 and more bytes than a register holds";
    bool escaped = false;
    CHECK(scan_json_string(text.data(), text.data() + text.size(), escaped) == text.data() + 3);
}

TEST_CASE("every control character must be escaped, and only they", "[json_string]") {
    for (int byte = 0; byte < 0x80; ++byte) {
        const char c = static_cast<char>(byte);
        if (c == '"' || c == '\\') continue;
        CHECK(scans(std::string(1, c) + '"') == (byte >= 0x20));
        CHECK(scans(std::string(20, 'x') + c + '"') == (byte >= 0x20));
        CHECK(scans(std::string(9, 'x') + c + '"') == (byte >= 0x20));
    }
}

TEST_CASE("only the escapes of RFC 8259 are escapes", "[json_string]") {
    for (int byte = 0x20; byte < 0x100; ++byte) {
        const char c = static_cast<char>(byte);
        const bool known = std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
        CHECK(scans(std::string("\\") + c + "\"") == known);
    }
    CHECK(scans("\\u12aF\""));
    for (const char* bad :
         {"\\u12a\"", "\\u12aG\"", "\\u\"", "\\u 123\"", "\\u+123\"", "\\U1234\""})
        CHECK_FALSE(scans(bad));
}

TEST_CASE("text that is not UTF-8 is refused", "[json_string]") {
    for (const char* good : {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                             "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
        CHECK(scans(std::string(good) + '"'));
    for (const char* bad :
         {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82",
          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"})
        CHECK_FALSE(scans(std::string(bad) + '"'));
}

TEST_CASE("unescaping gives the text that is meant", "[json_string]") {
    CHECK(unescaped("plain") == "plain");
    CHECK(unescaped(R"(\"\\\/\b\f\n\r\t)") == "\"\\/\b\f\n\r\t");
    CHECK(unescaped(R"(a\u0041\u00e9\u20AC\uD83D\uDE42z)") == "aAé€🙂z");
    CHECK(unescaped(R"(\u0000)") == std::string(1, '\0'));
}

TEST_CASE("a lone surrogate becomes the replacement character", "[json_string]") {
    const std::string lost(replacement_character);
    CHECK(unescaped(R"(\ud800)") == lost);
    CHECK(unescaped(R"(\udc00x)") == lost + "x");
    CHECK(unescaped(R"(\ud800\ud800\udc00)") == lost + "\xF0\x90\x80\x80");
    CHECK(unescaped(R"(\ud800\u0041)") == lost + "A");
    CHECK(unescaped(R"(\ud800\n)") == lost + "\n");
}

TEST_CASE("a JSON string is compared by its meaning", "[json_string]") {
    CHECK(json_string{"id", false} == "id");
    CHECK(json_string{R"(i\u0064)", true} == "id");
    CHECK_FALSE(json_string{R"(i\u0065)", true} == "id");
    CHECK(json_string{R"(i\u0064)", true}.str() == "id");
}

TEST_CASE("cutting text never splits a character", "[json_string]") {
    CHECK(utf8_prefix("abc", 5) == "abc");
    CHECK(utf8_prefix("aé", 2) == "a");
    CHECK(utf8_prefix("aé", 3) == "aé");
    CHECK(utf8_prefix("🙂", 3).empty());
    CHECK(utf8_prefix("🙂x", 4) == "🙂");
}

}  // namespace test_detail_json_string
