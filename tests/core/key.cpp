#include "llmkit/core/key.hpp"

#include <set>
#include <string>
#include <unordered_map>

#include "test.hpp"

namespace test_core_key {

using namespace llmkit;

namespace {

key128 key_of(std::string_view body) {
    std::string canonical;
    return body_key(body, canonical, transport_only_members);
}

}  // namespace

TEST_CASE("the key ignores key order, spacing and spelling", "[key]") {
    const key128 key = key_of(R"({"model":"m","messages":[{"role":"user","content":"A"}],"n":1})");
    CHECK(key ==
          key_of(R"({"n":1.0, "messages":[{"content":"\u0041","role":"user"}],"model":"m"})"));
    CHECK(key == key_of(R"({"n":1e0,"stream":true,"stream_options":{"include_usage":true},
                            "messages":[{"content":"A","role":"user"}],"model":"m"})"));
}

TEST_CASE("any changed unknown field makes another key", "[key]") {
    std::set<std::string> keys;
    for (const char* body :
         {R"({"model":"m"})", R"({"model":"m","x":1})", R"({"model":"m","x":2})",
          R"({"model":"m","x":"1"})", R"({"model":"m","x":null})", R"({"model":"m","x":[1]})",
          R"({"model":"m ","x":1})", R"({"model":"m","X":1})",
          R"({"model":"m","x":{"stream":true}})", R"({"a":"x","b":"y"})",
          R"({"a":"x\",\"b\":\"y"})", R"({"ab":"xy"})", "[]", "{}", "", "x"})
        keys.insert(to_hex(key_of(body)));
    CHECK(keys.size() == 16);
}

TEST_CASE("a body that is no JSON is its own canonical form", "[key]") {
    std::string canonical;
    const key128 raw = body_key(R"({"b":1,"a":2)", canonical);
    CHECK(canonical == R"({"b":1,"a":2)");
    CHECK(raw == body_key(R"({"b":1,"a":2)", canonical));
    CHECK(raw != body_key(R"({"b":1,"a":2})", canonical));
    CHECK(canonical == R"({"a":2,"b":1})");
}

TEST_CASE("parts of a key never run into each other", "[key]") {
    const auto two = [](std::string_view a, std::string_view b) {
        return key_builder().add(a).add(b).finish();
    };
    CHECK(two("ab", "c") == two("ab", "c"));
    CHECK(two("ab", "c") != two("a", "bc"));
    CHECK(two("", "abc") != two("abc", ""));
    CHECK(two("a", "") != key_builder().add("a").finish());
    CHECK(key_builder().add(std::uint64_t{1}).finish() !=
          key_builder().add(std::string_view("\1\0\0\0\0\0\0\0", 8)).finish());
    CHECK(key_builder().add(key128{1, 2}).finish() !=
          key_builder().add(std::uint64_t{1}).add(std::uint64_t{2}).finish());
    const std::string tenant(200, 't');
    CHECK(two(tenant, "x") != two(tenant + "x", ""));
    CHECK(two(tenant, "x") == two(tenant, "x"));
}

TEST_CASE("a key of very many parts depends on each of them", "[key]") {
    const auto key = [](int parts, int odd_one) {
        key_builder builder;
        for (int i = 0; i < parts; ++i) builder.add(i == odd_one ? "other" : "part");
        return to_hex(builder.finish());
    };
    std::set<std::string> keys{key(100, -1), key(101, -1)};
    for (int i = 0; i < 100; ++i) keys.insert(key(100, i));
    CHECK(keys.size() == 102);
}

TEST_CASE("a key is written as hexadecimal digits, high half first", "[key]") {
    CHECK(to_hex({0x0123456789abcdefU, 1}) == "0123456789abcdef0000000000000001");
}

TEST_CASE("the hash is XXH3's, so that every machine and version agrees", "[key]") {
    CHECK(to_hex(hash128("")) == "99aa06d3014798d86001c324468d497f");
    // Written to shared stores: when this changes, the schema version must.
    CHECK(to_hex(key_of(R"({"model":"m"})")) == "02dd5674d93ada730f45c38d7b7c55ed");
}

TEST_CASE("keys can be looked up in hash tables", "[key]") {
    std::unordered_map<key128, int> table;
    table[hash128("a")] = 1;
    CHECK(table.contains(hash128("a")));
    CHECK_FALSE(table.contains(hash128("b")));
}

}  // namespace test_core_key
