#include "llmkit/detail/utf8.hpp"

#include <string>
#include <string_view>

#include "test.hpp"

namespace test_detail_utf8 {

using namespace llmkit::detail;

namespace {

bool valid_by_steps(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

/// Whether the quick test and the step by step one agree, whatever stands before and behind.
bool agree(const std::string& text) {
    const bool valid = valid_by_steps(text);
    for (const std::string_view before : {"", "a", "abcdefg", "\xC3\xA9"}) {
        for (const std::string_view behind : {"", "z", "\xE6\x97\xA5", "0123456789"}) {
            std::string whole(before);
            whole.append(text).append(behind);
            if (valid_utf8(whole) != valid) return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("text is UTF-8 exactly when each of its sequences is", "[utf8]") {
    static constexpr std::string_view edges = "\x01\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xFF";
    for (int lead = 0x80; lead < 0x100; ++lead) {
        const std::string one(1, static_cast<char>(lead));
        CHECK(agree(one));
        for (const char second : edges) {
            REQUIRE(agree(one + second));
            for (const char third : edges) {
                REQUIRE(agree(one + second + third));
                if (lead < 0xE8) continue;
                for (const char fourth : edges) REQUIRE(agree(one + second + third + fourth));
            }
        }
    }
}

TEST_CASE("the edges of Unicode are well-formed, and what lies beyond is not", "[utf8]") {
    for (const char* good :
         {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
          "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
        INFO(good);
        CHECK(valid_utf8(good));
    }
    for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x9F\xBF", "\xED\xA0\x80",
                            "\xED\xBF\xBF", "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
                            "\xF0\x9F\x99", "\xF5\x80\x80\x80", "\xF8\x88\x80\x80\x80"}) {
        CHECK_FALSE(valid_utf8(bad));
    }
}

}  // namespace test_detail_utf8
