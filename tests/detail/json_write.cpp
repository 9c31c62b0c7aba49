#include "llmkit/detail/json_write.hpp"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "json_generator.hpp"
#include "test.hpp"

namespace test_detail_json_write {

namespace {

template <class Value>
std::string written(const Value& value) {
    std::string out;
    llmkit::detail::write_json(out, value);
    return out;
}

}  // namespace

TEST_CASE("text is written as a JSON string", "[json_write]") {
    CHECK(written("") == R"("")");
    CHECK(written("say \"hi\"\\\n") == R"("say \"hi\"\\\n")");
    CHECK(written("\b\f\n\r\t") == R"("\b\f\n\r\t")");
    CHECK(written(std::string("a\0b\x1f", 4)) == R"("a\u0000b\u001f")");
    CHECK(written("\x7f/é🙂") == "\"\x7f/é🙂\"");
}

TEST_CASE("bytes that are not UTF-8 become the replacement character", "[json_write]") {
    CHECK(written("a\xFFz") == "\"a\uFFFDz\"");
    CHECK(written("\xC3") == "\"\uFFFD\"");
    CHECK(written("\xE2\x82\"") == "\"\uFFFD\uFFFD\\\"\"");
    CHECK(written("\xED\xA0\x80") == "\"\uFFFD\uFFFD\uFFFD\"");
    CHECK(written("é\xC0é") == "\"é\uFFFDé\"");
}

TEST_CASE("numbers are written so that they read back", "[json_write]") {
    CHECK(written(0) == "0");
    CHECK(written(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(written(0.7) == "0.7");
    CHECK(written(1e300) == "1e+300");
    CHECK(written(-0.1) == "-0.1");
    CHECK(written(std::numeric_limits<double>::infinity()) == "null");
    CHECK(written(std::numeric_limits<double>::quiet_NaN()) == "null");
    CHECK(written(true) == "true");
}

TEST_CASE("nlohmann reads back whatever text was written", "[json_write]") {
    llmkit_test::json_generator generate(7);
    for (int i = 0; i < 500; ++i) {
        std::string text;
        for (std::size_t n = generate.below(40); n > 0; --n)
            text += static_cast<char>(generate.below(0x80));
        REQUIRE(nlohmann::json::parse(written(text)).get<std::string>() == text);
        text += static_cast<char>(0x80 + generate.below(0x80));
        REQUIRE(nlohmann::json::accept(written(text)));
    }
}

}  // namespace test_detail_json_write
