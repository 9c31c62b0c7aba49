#include "llmkit/detail/json_edit.hpp"

#include <nlohmann/json.hpp>
#include <string>

#include "json_generator.hpp"
#include "test.hpp"

namespace test_detail_json_edit {

using namespace llmkit::detail;

namespace {

std::string with(std::string json, std::string_view name, std::string_view value) {
    return set_member(json, name, value) ? json : "no";
}
std::string without(std::string json, std::string_view name) {
    return remove_member(json, name) ? json : "no";
}

}  // namespace

TEST_CASE("a member's value is found as it was typed", "[json_edit]") {
    CHECK(find_member(R"({"model" : "m" ,"stream": true })", "model") == R"("m")");
    CHECK(find_member(R"({"model" : "m" ,"stream": true })", "stream") == "true");
    CHECK(find_member(R"({"a":{"stream":true}})", "stream") == std::nullopt);
    CHECK(find_member(R"({"a":1,"a":[2]})", "a") == "[2]");
    CHECK(find_member(R"({"\u0061":1})", "a") == "1");
    CHECK(find_member(R"({"a":1,)", "a") == std::nullopt);
    CHECK(find_member(R"(["a"])", "a") == std::nullopt);
}

TEST_CASE("setting a member replaces it where it stands", "[json_edit]") {
    CHECK(with(R"({ "a" : 1 , "stream":false })", "stream", "true") ==
          R"({ "a" : 1 , "stream":true })");
    CHECK(with(R"({"stream":{"x":[1]},"b":2})", "stream", "null") == R"({"stream":null,"b":2})");
    CHECK(with(R"({"\u0061":1})", "a", "2") == R"({"\u0061":2})");
}

TEST_CASE("setting a member that is not there appends it", "[json_edit]") {
    CHECK(with("{}", "a", "1") == R"({"a":1})");
    CHECK(with(" { } ", "a", "1") == R"( {"a":1 } )");
    CHECK(with(R"({"b":"}" } )", "a", "1") == R"({"b":"}","a":1 } )");
    CHECK(with(R"({"b":1})", "q\"", "[]") == R"({"b":1,"q\"":[]})");
}

TEST_CASE("setting a member that is there twice leaves one", "[json_edit]") {
    CHECK(with(R"({"a":1,"b":2,"a":3,"c":4})", "a", "9") == R"({"a":9,"b":2,"c":4})");
}

TEST_CASE("removing a member takes its comma with it", "[json_edit]") {
    CHECK(without(R"({"a":1})", "a") == "{}");
    CHECK(without(R"({ "a":1 })", "a") == "{ }");
    CHECK(without(R"({"a":1,"b":2})", "a") == R"({"b":2})");
    CHECK(without(R"({"a":1, "b":2})", "b") == R"({"a":1})");
    CHECK(without(R"({"a":1, "b":2 , "c":3})", "b") == R"({"a":1 , "c":3})");
    CHECK(without(R"({"a":1,"a":2,"b":3,"a":4})", "a") == R"({"b":3})");
    CHECK(without(R"({"b":1,"a":1,"a":2})", "a") == R"({"b":1})");
    CHECK(without(R"({"a":1,"a":2})", "a") == "{}");
    CHECK(without(R"({"b":1})", "a") == R"({"b":1})");
}

TEST_CASE("what is no JSON object stays untouched", "[json_edit]") {
    for (const char* bad : {"", "[]", "1", "{", R"({"a":1}})", R"({"a":1,})", R"({"a":tru})"}) {
        std::string json = bad;
        CHECK_FALSE(set_member(json, "a", "2"));
        CHECK_FALSE(remove_member(json, "a"));
        CHECK(json == bad);
    }
    std::string json = "{}";
    CHECK_FALSE(set_member(json, "a", "1,\"b\":2"));
    CHECK(json == "{}");
}

TEST_CASE("edits do what nlohmann does", "[json_edit]") {
    llmkit_test::json_generator generate(99);
    for (int i = 0; i < 2000; ++i) {
        const std::string text = generate.object_document();
        nlohmann::json expected = nlohmann::json::parse(text);
        INFO(text);
        expected["stream"] = true;
        REQUIRE(nlohmann::json::parse(with(text, "stream", "true")) == expected);
        expected.erase("stream");
        expected.erase("a");
        REQUIRE(nlohmann::json::parse(without(without(text, "stream"), "a")) == expected);
    }
}

}  // namespace test_detail_json_edit
