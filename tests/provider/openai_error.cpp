#include <llmkit/provider/openai_error.hpp>

#include <chrono>

#include "test.hpp"

namespace test_provider_openai_error {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {
error_kind kind(int status, std::string_view body) {
    return detail::openai_error(status, body).kind();
}
}  // namespace

TEST_CASE("a status tells the kind of failure", "[openai]") {
    const std::pair<int, error_kind> expected[] = {
        {302, error_kind::protocol},        {400, error_kind::invalid_request},
        {401, error_kind::authentication},  {402, error_kind::payment},
        {403, error_kind::permission},      {404, error_kind::not_found},
        {408, error_kind::timeout},         {409, error_kind::conflict},
        {413, error_kind::too_large},       {418, error_kind::invalid_request},
        {422, error_kind::invalid_request}, {429, error_kind::rate_limited},
        {500, error_kind::server},          {502, error_kind::server},
        {503, error_kind::overloaded},      {504, error_kind::server},
        {529, error_kind::overloaded},      {501, error_kind::server},
    };
    for (const auto& [status, expects] : expected) {
        INFO(status);
        CHECK(kind(status, "") == expects);
        CHECK(kind(status, R"({"error":{"message":"no","type":"x","code":null}})") == expects);
    }
}

TEST_CASE("a prompt that is too long is told apart from other bad requests", "[openai]") {
    // OpenAI
    CHECK(
        kind(
            400,
            R"({"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}})") ==
        error_kind::context_length);
    // vLLM: no code
    CHECK(
        kind(
            400,
            R"({"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400})") ==
        error_kind::context_length);
    // llama.cpp
    CHECK(
        kind(
            400,
            R"({"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}})") ==
        error_kind::context_length);
    CHECK(kind(413, R"({"error":{"message":"maximum context length exceeded"}})") ==
          error_kind::context_length);
    // A rate limit that mentions tokens stays a rate limit.
    CHECK(
        kind(
            429,
            R"({"error":{"message":"Request too large for gpt-4o on tokens per min. The context window is fine.","type":"tokens","code":"rate_limit_exceeded"}})") ==
        error_kind::rate_limited);
}

TEST_CASE("a refused content is told apart from other bad requests", "[openai]") {
    CHECK(
        kind(
            400,
            R"({"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}})") ==
        error_kind::content_policy);
    CHECK(kind(400, R"({"error":{"message":"no","code":"content_policy_violation"}})") ==
          error_kind::content_policy);
}

TEST_CASE("an account without credit is no rate limit", "[openai]") {
    CHECK(
        kind(
            429,
            R"({"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}})") ==
        error_kind::payment);
    CHECK(kind(429, R"({"error":{"message":"x","code":"billing_hard_limit_reached"}})") ==
          error_kind::payment);
}

TEST_CASE("an error inside a good answer is classified by its code, number or type", "[openai]") {
    const std::pair<const char*, error_kind> expected[] = {
        {R"({"error":{"message":"x","type":"overloaded_error"}})", error_kind::overloaded},
        {R"({"error":{"message":"x","type":"rate_limit_error"}})", error_kind::rate_limited},
        {R"({"error":{"message":"x","type":"server_error"}})", error_kind::server},
        {R"({"error":{"message":"x","type":"invalid_request_error","code":"invalid_api_key"}})",
         error_kind::authentication},
        {R"({"error":{"message":"x","type":"invalid_request_error"}})",
         error_kind::invalid_request},
        {R"({"error":{"message":"x","code":503,"type":"unavailable_error"}})",
         error_kind::overloaded},
        {R"({"error":{"message":"Provider returned error","code":429}})", error_kind::rate_limited},
        {R"({"error":{"message":"x","code":"model_not_found"}})", error_kind::not_found},
        {R"({"error":{"message":"x","code":"context_length_exceeded"}})",
         error_kind::context_length},
        {R"({"error":{"message":"x","code":"insufficient_quota"}})", error_kind::payment},
        {R"({"error":{"message":"x","type":"permission_error"}})", error_kind::permission},
        {R"({"error":"something odd"})", error_kind::server},
        {R"({"error":{"message":"x","code":99999999999999}})", error_kind::server},
    };
    for (const auto& [body, expects] : expected) {
        INFO(body);
        CHECK(kind(200, body) == expects);
    }
}

TEST_CASE("an error keeps the provider's words, code and status", "[openai]") {
    const error what =
        detail::openai_error(429, R"({"error":{"message":"slow","code":"rate_limit_exceeded"}})");
    CHECK(what.message() == "slow");
    CHECK(what.code() == "rate_limit_exceeded");
    CHECK(what.status() == 429);
    CHECK(detail::openai_error(500, "").message() ==
          "the server answered HTTP 500 without a reason");
    CHECK(detail::openai_error(502, "<html>Bad Gateway</html>").message() ==
          "<html>Bad Gateway</html>");
    // A page of a proxy is cut, and not inside a character.
    std::string page;
    for (int i = 0; i < 3000; ++i) page += "é";
    CHECK(detail::openai_error(502, page).message().size() <= 500);
    CHECK(detail::valid_utf8(detail::openai_error(502, page).message()));
}

TEST_CASE("the headers say when and whether to ask again", "[openai]") {
    const auto now = std::chrono::system_clock::time_point(1000000s);
    headers fields;
    fields.add("X-Request-ID", "req-1").add("Retry-After", "2").add("x-should-retry", "FALSE");
    error what = detail::with_fields(error(error_kind::server, "x"), fields, now);
    CHECK(what.request_id() == "req-1");
    CHECK(what.retry_after() == duration(2s));
    CHECK(what.should_retry() == false);
    fields.add("retry-after-ms", "1500").set("x-should-retry", "true");
    what = detail::with_fields(error(error_kind::server, "x"), fields, now);
    CHECK(what.retry_after() == duration(1500ms));
    CHECK(what.should_retry() == true);
    what = detail::with_fields(error(error_kind::server, "x"), headers(), now);
    CHECK_FALSE(what.retry_after());
    CHECK_FALSE(what.should_retry());
    CHECK(what.request_id().empty());
}

TEST_CASE("a secret is cut out wherever a server quotes it", "[openai]") {
    std::string text = "Incorrect key sk-1234: sk-1234!";
    detail::redact(text, "sk-1234");
    CHECK(text == "Incorrect key [secret]: [secret]!");
    detail::redact(text, "");  // nothing to hide hides nothing
    CHECK(text == "Incorrect key [secret]: [secret]!");
}

}  // namespace test_provider_openai_error
