#include "llmkit/core/canonical_json.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "../detail/json_generator.hpp"
#include "test.hpp"

namespace test_core_canonical_json {

namespace {

std::string canonical(std::string_view json) {
    std::string out = "left over";
    if (!llmkit::canonical_json(json, out)) {
        CHECK(out.empty());
        return "no";
    }
    return out;
}

// Writes the same document with members shuffled, other spacing, and strings fully escaped.
void disguise(const nlohmann::json& value, llmkit_test::json_generator& generate,
              std::string& out) {
    out += generate.below(2) == 0 ? " " : "\n";
    if (value.is_object()) {
        std::vector<std::pair<std::string, nlohmann::json>> members;
        for (const auto& [name, inner] : value.items()) members.emplace_back(name, inner);
        for (std::size_t i = members.size(); i > 1; --i)
            std::swap(members[i - 1], members[generate.below(i)]);
        out += '{';
        for (const auto& [name, inner] : members) {
            if (&name != &members.front().first) out += ',';
            out += nlohmann::json(name).dump(-1, ' ', true);
            out += " :";
            disguise(inner, generate, out);
        }
        out += '}';
    } else if (value.is_array()) {
        out += '[';
        for (const auto& inner : value) {
            if (&inner != &value.front()) out += ',';
            disguise(inner, generate, out);
        }
        out += ']';
    } else {
        out += value.dump(-1, ' ', true);
    }
    out += generate.below(2) == 0 ? "" : "\t";
}

}  // namespace

TEST_CASE("spacing and the order of members do not matter", "[canonical_json]") {
    CHECK(canonical(R"( { "b" : [ 1 , 2 ] , "a" : { "d" : true , "c" : null } } )") ==
          R"({"a":{"c":null,"d":true},"b":[1,2]})");
    CHECK(canonical("{}") == "{}");
    CHECK(canonical(" [ ] ") == "[]");
    CHECK(canonical(R"({"c":1,"b":{"z":[{"y":1,"x":2}],"a":3},"a":0})") ==
          R"({"a":0,"b":{"a":3,"z":[{"x":2,"y":1}]},"c":1})");
    CHECK(canonical("[2,1]") == "[2,1]");
}

TEST_CASE("a string has one spelling", "[canonical_json]") {
    CHECK(canonical(R"("\u0041\/\u00e9\uD83D\uDE42")") == "\"A/é🙂\"");
    CHECK(canonical(R"("\u000a\u0008\u000C\u000d\u0009\u0022\u005C")") == R"("\n\b\f\r\t\"\\")");
    CHECK(canonical(R"("\u001F\u0000\u007f")") == "\"\\u001f\\u0000\x7f\"");
    CHECK(canonical(R"("\n\"\\\b")") == R"("\n\"\\\b")");
    CHECK(canonical(R"({"\u0062":1,"a":2})") == R"({"a":2,"b":1})");
}

TEST_CASE("text that differs stays different", "[canonical_json]") {
    CHECK(canonical(R"("\uD800")") == R"("\ud800")");
    CHECK(canonical(R"("\uD800")") != canonical(R"("\uFFFD")"));
    CHECK(canonical(R"("\ud800")") != canonical(R"("\ud801")"));
    CHECK(canonical(R"("\u00e9")") != canonical(R"("e\u0301")"));
    CHECK(canonical(R"("a ")") != canonical(R"("a")"));
    CHECK(canonical(R"("1")") != canonical("1"));
    CHECK(canonical(R"({"a":null})") != canonical("{}"));
}

TEST_CASE("a number has one spelling", "[canonical_json]") {
    for (const char* one :
         {"1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "1.000", "100e-2", "0.001e3"})
        CHECK(canonical(one) == "1");
    for (const char* zero : {"0", "-0", "0.0", "-0e9", "0e99999999999999999999999"})
        CHECK(canonical(zero) == "0");
    for (const char* half : {"-0.5", "-5e-1", "-0.50", "-50E-2"}) CHECK(canonical(half) == "-0.5");
    CHECK(canonical("0.005") == "0.005");
    CHECK(canonical("5e-3") == "0.005");
    CHECK(canonical("12.5e1") == "125");
    CHECK(canonical("12.25e1") == "122.5");
    CHECK(canonical("1e19") == "10000000000000000000");
    CHECK(canonical("1e20") == "1e20");
    CHECK(canonical("100000000000000000000") == "1e20");
    CHECK(canonical("123456789012345678901234.50") == "1234567890123456789012345e-1");
    CHECK(canonical("1e-20") == "0.00000000000000000001");
    CHECK(canonical("1e-21") == "1e-21");
    CHECK(canonical("-12345678901234567890") == "-12345678901234567890");
    CHECK(canonical("1e1000000000000001") == "no");
    CHECK(canonical("1e99999999999999999999999999") == "no");
}

TEST_CASE("numbers that a double cannot tell apart stay apart", "[canonical_json]") {
    CHECK(canonical("9007199254740993") != canonical("9007199254740992"));
    CHECK(canonical("0.1") != canonical("0.1000000000000000055511151231257827"));
    CHECK(canonical("100000000000000000000000000001") != canonical("1e29"));
}

TEST_CASE("a document with a name twice equals none without", "[canonical_json]") {
    CHECK(canonical(R"({"a":2,"b":0,"a":1})") == R"({"a":2,"a":1,"b":0})");
    CHECK(canonical(R"({"a":1,"a":2})") != canonical(R"({"a":2,"a":1})"));
    CHECK(canonical(R"({"a":1,"a":1})") != canonical(R"({"a":1})"));
    CHECK(canonical(R"({"a":2,"\u0061":1})") == R"({"a":2,"a":1})");
}

TEST_CASE("many members of one name keep their order", "[canonical_json]") {
    std::string json = "{";
    std::string expected = R"({"a":0)";
    for (int i = 0; i < 60; ++i) {
        json += "\"same\":" + std::to_string(i) + ",";
        expected += ",\"same\":" + std::to_string(i);
    }
    CHECK(canonical(json + R"("a":0})") == expected + "}");
}

TEST_CASE("excluded members go, at the top only", "[canonical_json]") {
    const std::array<std::string_view, 2> excluded{"stream", "user"};
    std::string out;
    CHECK(llmkit::canonical_json(R"({"user":"u","z":{"stream":1},"\u0073tream":true,"a":1})", out,
                                 excluded));
    CHECK(out == R"({"a":1,"z":{"stream":1}})");
    CHECK(llmkit::canonical_json(R"([{"stream":true}])", out, excluded));
    CHECK(out == R"([{"stream":true}])");
    CHECK(llmkit::canonical_json(R"({"stream":true})", out, excluded));
    CHECK(out == "{}");
    CHECK_FALSE(llmkit::canonical_json(R"({"stream":tru,"a":1})", out, excluded));
}

TEST_CASE("malformed and too deep documents have no canonical form", "[canonical_json]") {
    for (const char* bad : {"", "{", R"({"a":1,})", "[1,2", "\"\xFF\"", "{}x", R"({"b":1,"a":})"})
        CHECK(canonical(bad) == "no");
    CHECK(canonical(std::string(256, '[') + std::string(256, ']')) != "no");
    CHECK(canonical(std::string(257, '[') + std::string(257, ']')) == "no");
    CHECK(canonical(std::string(100'000, '[')) == "no");
}

TEST_CASE("many members and much growth are handled", "[canonical_json]") {
    std::string json = "{";
    std::string expected = "{";
    for (int i = 999; i >= 100; --i)
        json += "\"" + std::to_string(i) + "\":1e19" + (i == 100 ? "}" : ",");
    for (int i = 100; i <= 999; ++i)
        expected += "\"" + std::to_string(i) + "\":10000000000000000000" + (i == 999 ? "}" : ",");
    CHECK(canonical(json) == expected);
}

TEST_CASE("a disguised document has the same form, and the form means the same",
          "[canonical_json]") {
    llmkit_test::json_generator generate(4711);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = generate.document();
        const nlohmann::json meant = nlohmann::json::parse(text);
        INFO(text);
        const std::string form = canonical(text);
        REQUIRE(nlohmann::json::parse(form) == meant);
        REQUIRE(canonical(form) == form);
        // What went through nlohmann lost its doubled names, so compare two such.
        std::string disguised;
        disguise(meant, generate, disguised);
        REQUIRE(canonical(disguised) == canonical(meant.dump()));
    }
}

TEST_CASE("forms are equal exactly when nlohmann's values are, on damaged documents",
          "[canonical_json]") {
    llmkit_test::json_generator generate(31);
    int valid = 0;
    for (int i = 0; i < 4000; ++i) {
        const std::string text = generate.document();
        const std::string other = generate.damaged(text);
        nlohmann::json parsed;
        try {
            parsed = nlohmann::json::parse(other);
        } catch (const nlohmann::json::exception&) {
            continue;
        }
        ++valid;
        INFO(text << "\n" << other);
        const std::string form = canonical(other);
        REQUIRE(form != "no");
        if (form == canonical(text)) REQUIRE(parsed == nlohmann::json::parse(text));
    }
    CHECK(valid > 200);
}

}  // namespace test_core_canonical_json
