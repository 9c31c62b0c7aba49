#include "llmkit/detail/question.hpp"

#include <string>

#include "test.hpp"

namespace test_detail_question {

using namespace llmkit;
using detail::question_key;
using detail::question_rules;

namespace {

request ask(std::string body = R"({"model":"m","user":"u"})",
            std::string operation = "chat/completions") {
    return request(std::move(operation), std::move(body));
}
key128 key_of(const request& one, question_rules rules = {}) {
    return question_key(one, "upstream", rules);
}

}  // namespace

TEST_CASE("schema, tenant, upstream, operation and body are the parts of a question's key",
          "[question]") {
    const request one = ask();
    CHECK(key_of(one) == key_builder()
                             .add(detail::answer_schema)
                             .add(std::string_view(one.options().tenant()))
                             .add("upstream")
                             .add("chat/completions")
                             .add(key128())
                             .add(one.content_key(key_fields::meaning))
                             .finish());
    CHECK(key_of(one) == key_of(ask(R"({"user":"u","stream":true,"model":"m"})")));
    CHECK(key_of(one) != question_key(one, "another", {}));
    CHECK(key_of(one) != key_of(ask(R"({"model":"m","user":"u"})", "completions")));
    CHECK(key_of(one) != key_of(ask(R"({"model":"n","user":"u"})")));
}

TEST_CASE("tenants and extra headers tell questions apart", "[question]") {
    request one = ask();
    request other = ask();
    one.options().set_tenant("acme");
    CHECK(key_of(one) != key_of(other));
    other.options().set_tenant("acme");
    CHECK(key_of(one) == key_of(other));
    one.options().add_header("x-a", "1");
    CHECK(key_of(one) != key_of(other));
    question_rules rules;
    rules.headers = false;
    CHECK(key_of(one, rules) == key_of(other, rules));
    one.options().add_header("x-b", "2");
    other.options().add_header("x-b", "2");
    other.options().add_header("x-a", "1");
    CHECK(key_of(one) != key_of(other));  // in their order
}

TEST_CASE("the body's user is left out of a question by choice, at the top only", "[question]") {
    question_rules rules;
    const request other = ask(R"({"model":"m","user":"v"})");
    CHECK(key_of(ask(), rules) != key_of(other, rules));
    rules.fields = key_fields::without_user;
    CHECK(key_of(ask(), rules) == key_of(other, rules));
    CHECK(key_of(ask(R"({"m":{"user":"u"}})"), rules) !=
          key_of(ask(R"({"m":{"user":"v"}})"), rules));
}

TEST_CASE("what is no JSON has a key of its own, byte for byte", "[question]") {
    CHECK(key_of(ask("{\"a\":\"\xFF\"}")) != key_of(ask("{ \"a\":\"\xFF\"}")));
    CHECK(key_of(ask(R"({"a":1e9999999999999999999})")) !=
          key_of(ask(R"({"a":1E9999999999999999999})")));
    CHECK(key_of(ask(R"({"a":1)")) != key_of(ask(R"({"a":1})")));
}

}  // namespace test_detail_question
