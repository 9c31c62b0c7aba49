#include "llmkit/detail/json_scan.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "json_generator.hpp"
#include "test.hpp"

namespace test_detail_json_scan {

using namespace llmkit::detail;

namespace {

// The text lies in a heap block of exactly its size, so that the address sanitizer sees overreads.
bool well_formed(std::string_view text) {
    const std::vector<char> exact(text.begin(), text.end());
    return json_scanner({exact.data(), exact.size()}).finish();
}

// Visits every value through the typed calls instead of skip().
bool walks(json_scanner& json) {
    json_string text;
    std::int64_t whole = 0;
    double wide = 0;
    bool yes = false;
    return json.members([&](json_string) { walks(json); }) || json.elements([&] { walks(json); }) ||
           json.read(text) || json.read(whole) || json.read(wide) || json.read(yes) ||
           json.read_null();
}

// The same, and what was read as nlohmann would have it: of members of one name the last counts.
nlohmann::json build(json_scanner& json) {
    nlohmann::json made;
    json_string text;
    std::int64_t whole = 0;
    double wide = 0;
    bool yes = false;
    if (json.kind() == json_kind::object) {
        made = nlohmann::json::object();
        json.members([&](json_string key) { made[key.str()] = build(json); });
    } else if (json.kind() == json_kind::array) {
        made = nlohmann::json::array();
        json.elements([&] { made.push_back(build(json)); });
    } else if (json.read(text)) {
        made = text.str();
    } else if (json.read(whole)) {
        made = whole;
    } else if (json.read(wide)) {
        made = wide;
    } else if (json.read(yes)) {
        made = yes;
    }
    return made;
}

}  // namespace

TEST_CASE("fields are read in one pass, in whatever order they come", "[json_scan]") {
    json_scanner json(R"( {"usage":{"total":7,"details":{"x":[1,{}]}}, "id" : "a\n", "choices":[
        {"index":0,"on":true}, {"index":1,"on":false}],"none":null,"t":0.25} )");
    std::int64_t total = 0;
    std::vector<std::int64_t> indices;
    std::vector<bool> flags;
    json_string id;
    bool none = false;
    double t = 0;
    CHECK(json.members([&](json_string key) {
        if (key == "usage")
            json.members([&](json_string name) {
                if (name == "total") json.read(total);
            });
        if (key == "choices")
            json.elements([&] {
                json.members([&](json_string name) {
                    std::int64_t index = 0;
                    bool on = false;
                    if (name == "index" && json.read(index)) indices.push_back(index);
                    if (name == "on" && json.read(on)) flags.push_back(on);
                });
            });
        if (key == "id") json.read(id);
        if (key == "none") none = json.read_null();
        if (key == "t") json.read(t);
    }));
    CHECK(json.finish());
    CHECK(total == 7);
    CHECK(indices == std::vector<std::int64_t>{0, 1});
    CHECK(flags == std::vector<bool>{true, false});
    CHECK(id.str() == "a\n");
    CHECK(none);
    CHECK(t == 0.25);
}

TEST_CASE("asking for another type is no error and leaves the value in place", "[json_scan]") {
    json_scanner json(R"(["text"])");
    json_string text;
    json.elements([&] {
        std::int64_t number = 5;
        CHECK_FALSE(json.read(number));
        CHECK_FALSE(json.read_null());
        CHECK_FALSE(json.members([](json_string) {}));
        CHECK(number == 5);
        CHECK(json.kind() == json_kind::string);
        CHECK(json.read(text));
        CHECK_FALSE(json.read(text));
    });
    CHECK(text == "text");
    CHECK(json.finish());
}

TEST_CASE("whole numbers are read exactly or not at all", "[json_scan]") {
    const auto read = [](std::string_view text) -> std::string {
        json_scanner json(text);
        std::int64_t value = 0;
        return json.read(value) && json.finish() ? std::to_string(value) : "no";
    };
    CHECK(read("0") == "0");
    CHECK(read("-0") == "0");
    CHECK(read("9223372036854775807") == "9223372036854775807");
    CHECK(read("-9223372036854775808") == "-9223372036854775808");
    CHECK(read("9223372036854775808") == "no");
    CHECK(read("12.0") == "12");
    CHECK(read("1e3") == "1000");
    CHECK(read("12.5") == "no");
    CHECK(read("1e400") == "no");
    CHECK(json_scanner("1e400").finish());
}

TEST_CASE("raw text of a value is given without what surrounds it", "[json_scan]") {
    json_scanner json(R"({"a" : {"x": [1, 2]} , "b":1})");
    std::string_view raw;
    json.members([&](json_string key) {
        if (key == "a") json.read_raw(raw);
    });
    CHECK(json.finish());
    CHECK(raw == R"({"x": [1, 2]})");
}

TEST_CASE("malformed documents are refused", "[json_scan]") {
    for (const char* bad : {"",
                            " ",
                            "{",
                            "[",
                            "}",
                            "]",
                            "{]",
                            "[}",
                            "[1,]",
                            "[,1]",
                            "[1 2]",
                            "{,}",
                            "{\"a\"}",
                            "{\"a\":}",
                            "{\"a\":1,}",
                            "{a:1}",
                            "{1:1}",
                            "1 2",
                            "01",
                            "-",
                            "-01",
                            "+1",
                            ".5",
                            "1.",
                            "1.e1",
                            "1e",
                            "1e+",
                            "0x1",
                            "tru",
                            "truex",
                            "nul",
                            "NaN",
                            "'a'",
                            "\"a",
                            "[1}",
                            "{\"a\":1]",
                            "// x\n1",
                            "\xEF\xBB\xBF{}",
                            "[1]]",
                            "\f1",
                            "{\"a\":1 \"b\":2}",
                            "[[[]]"}) {
        INFO(bad);
        CHECK_FALSE(well_formed(bad));
        json_scanner json(bad);
        walks(json);
        CHECK_FALSE(json.finish());
    }
    CHECK_FALSE(well_formed(std::string_view("1\0", 2)));
}

TEST_CASE("well-formed documents are accepted", "[json_scan]") {
    for (const char* good :
         {"{}", "[]", " [ ] ", "null", "true", "false", "-0.0e-0", "\"\"", "[[],{}]", "{\"\":{}}",
          "\r\n\t 1\n", "[{\"a\":[{\"b\":[]}]},[]]", "1E+10"}) {
        INFO(good);
        CHECK(well_formed(good));
    }
}

TEST_CASE("nothing is read after a malformed place, and its offset is kept", "[json_scan]") {
    json_scanner json(R"([1,x,3])");
    int elements = 0;
    CHECK_FALSE(json.elements([&] { ++elements; }));
    CHECK(elements == 2);
    CHECK_FALSE(json.ok());
    CHECK_FALSE(json.skip());
    CHECK_FALSE(json.finish());
    CHECK(json.offset() == 3);
}

TEST_CASE("nesting is bounded, by skipping and by reading", "[json_scan]") {
    const auto nested = [](std::size_t depth) {
        return std::string(depth, '[') + std::string(depth, ']');
    };
    CHECK(well_formed(nested(256)));
    CHECK_FALSE(well_formed(nested(257)));
    CHECK_FALSE(well_formed(std::string(1'000'000, '[')));
    std::string objects;
    for (int i = 0; i < 256; ++i) objects += "{\"a\":";
    objects += '1';
    CHECK(well_formed(objects + std::string(256, '}')));
    CHECK_FALSE(well_formed("[" + objects + std::string(256, '}') + "]"));

    const std::string deep = nested(256);
    json_scanner fits(deep);
    CHECK(walks(fits));
    CHECK(fits.finish());
    const std::string deeper = nested(257);
    json_scanner json(deeper);
    walks(json);
    CHECK_FALSE(json.finish());
}

TEST_CASE("a byte-order mark and bytes behind the document are refused", "[json_scan]") {
    // nlohmann skips the mark and takes NUL for the end.
    CHECK_FALSE(well_formed("\xEF\xBB\xBF{}"));
    CHECK_FALSE(well_formed(std::string_view("{}\0", 3)));
    CHECK_FALSE(well_formed("{} {}"));
    CHECK(well_formed("{} \r\n\t"));
}

TEST_CASE("every prefix of a document is refused and none is overread", "[json_scan]") {
    const std::string text = R"({"a":[1,-2.5e+3,true,false,null,"x\u00e9\n"],"b":{"c":"é"}})";
    for (std::size_t size = 0; size < text.size(); ++size)
        CHECK_FALSE(well_formed(text.substr(0, size)));
    CHECK(well_formed(text));
}

TEST_CASE("the scanner and nlohmann agree on a hundred thousand documents", "[json_scan]") {
    llmkit_test::json_generator generate(20261);
    int refused = 0;
    for (int i = 0; i < 100'000; ++i) {
        std::string text = generate.document();
        if (i % 2 == 1) text = generate.damaged(std::move(text));
        // nlohmann refuses lone surrogates and numbers beyond a double; RFC 8259's grammar does not.
        nlohmann::json parsed;
        bool expected = true;
        try {
            parsed = nlohmann::json::parse(text);
        } catch (const nlohmann::json::parse_error& wrong) {
            if (std::string_view(wrong.what()).find("surrogate") != std::string_view::npos)
                continue;
            expected = false;
        } catch (const nlohmann::json::out_of_range&) {
            continue;
        }
        INFO(text);
        REQUIRE(well_formed(text) == expected);
        json_scanner json(text);
        const nlohmann::json built = build(json);
        REQUIRE(json.finish() == expected);
        if (expected) REQUIRE(built == parsed);
        refused += expected ? 0 : 1;
    }
    CHECK(refused > 10'000);
}

}  // namespace test_detail_json_scan
