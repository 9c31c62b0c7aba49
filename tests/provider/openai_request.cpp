#include <llmkit/provider/openai_request.hpp>

#include <cstdlib>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted_transport.hpp>

#include "../detail/json_generator.hpp"
#include "test.hpp"

namespace test_provider_openai_request {

using namespace llmkit;
using detail::openai_body;
using detail::openai_setup;

namespace {
openai_body write(std::string text, bool streamed, bool metered = false, std::string model = "") {
    request ask("chat/completions", std::move(text));
    ask.options().metered = metered;
    openai_body out;
    REQUIRE(detail::write_openai_body(ask, streamed, model, out));
    return out;
}
openai_setup local() {
    return openai_setup(openai_options().base_url("http://localhost:8080/v1").key("sk-12345"));
}
/// An environment variable for one test.
class environment {
public:
    environment(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        if (value) {
            setenv(name, value, 1);
        } else {
            unsetenv(name);
        }
    }
    ~environment() {
        if (old_) {
            setenv(name_, old_->c_str(), 1);
        } else {
            unsetenv(name_);
        }
    }

private:
    const char* name_;
    std::optional<std::string> old_;
};
}  // namespace

TEST_CASE("any body says what the call wants, and all else that it said", "[openai]") {
    llmkit_test::json_generator generate(5);
    for (int i = 0; i < 3000; ++i) {
        const std::string text = generate.object_document() + (i % 3 == 0 ? " \n" : "");
        const bool streamed = i % 4 != 0;
        const bool metered = i % 2 == 0;
        auto meant = nlohmann::json::parse(text);
        INFO(text);
        const auto sent = nlohmann::json::parse(write(text, streamed, metered, "x").text.view());
        if (!meant.contains("model")) meant["model"] = "x";
        meant.erase("stream");
        if (streamed) meant["stream"] = true;
        if (streamed && metered) meant["stream_options"] = {{"include_usage", true}};
        REQUIRE(sent == meant);
    }
}

TEST_CASE("the body says whether a stream is wanted", "[openai]") {
    CHECK(write(R"({"model":"m"})", true).text.view() == R"({"model":"m","stream":true})");
    CHECK(write(R"({"stream":false,"model":"m"})", true).text.view() ==
          R"({"stream":true,"model":"m"})");
    CHECK(write(R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})", false)
              .text.view() == R"({"model":"m"})");
    CHECK(write(R"({"model":"m"})", false).model == "m");
}

TEST_CASE("a body that already says it is sent as it was typed, without a copy", "[openai]") {
    request ask("chat/completions", R"({ "model" : "m", "stream" : true, "x" : 1.0 })");
    openai_body out;
    REQUIRE(detail::write_openai_body(ask, true, "", out));
    CHECK(out.text.view().data() == ask.body().data());
    CHECK_FALSE(out.injected);
}

TEST_CASE("usage is asked for when a layer wants it, and noted as injected", "[openai]") {
    auto body = write(R"({"stream":true})", true, true);
    CHECK(body.text.view() == R"({"stream":true,"stream_options":{"include_usage":true}})");
    CHECK(body.injected);
    body = write(R"({"stream":true,"stream_options":{"a":1}})", true, true);
    CHECK(body.text.view() == R"({"stream":true,"stream_options":{"a":1,"include_usage":true}})");
    CHECK(body.injected);
    body = write(R"({"stream":true,"stream_options":{"include_usage":false}})", true, true);
    CHECK(body.text.view() == R"({"stream":true,"stream_options":{"include_usage":true}})");
    CHECK(body.injected);
    body = write(R"({"stream":true,"stream_options":null})", true, true);
    CHECK(body.text.view() == R"({"stream":true,"stream_options":{"include_usage":true}})");
    CHECK(body.injected);
    // The caller asked himself: nothing is hidden from him.
    body = write(R"({"stream":true,"stream_options":{"include_usage":true}})", true, true);
    CHECK_FALSE(body.injected);
    // In one piece usage comes anyway.
    body = write("{}", false, true);
    CHECK(body.text.view() == "{}");
    CHECK_FALSE(body.injected);
}

TEST_CASE("a body without a model gets the provider's", "[openai]") {
    CHECK(write("{}", false, false, "a\"b").text.view() == R"({"model":"a\"b"})");
    CHECK(write(R"({"model":"m"})", false, false, "x").text.view() == R"({"model":"m"})");
    CHECK(write("{}", false, false, "x").model == "x");
}

TEST_CASE("a body that is no JSON object is refused before anything is sent", "[openai]") {
    for (const char* text : {"[]", "1", "{", "{\"a\":}", "{} x", "null"}) {
        INFO(text);
        auto call = local().prepare(request("chat/completions", std::string(text)));
        REQUIRE_FALSE(call);
        CHECK(call.error().kind() == error_kind::invalid_request);
        CHECK(call.error().where() == "POST http://localhost:8080/v1/chat/completions");
    }
}

TEST_CASE("a request goes to the operation's path with the key and the call's headers",
          "[openai]") {
    const openai_setup setup(openai_options()
                                 .base_url("http://localhost:8080/v1?a=b")
                                 .key("sk-12345")
                                 .organization("org")
                                 .project("proj")
                                 .header("X-Mine", "1"));
    request ask("chat/completions", "{}");
    ask.options().set_idempotency_key("once");
    ask.options().add_header("x-mine", "2");
    ask.options().add_header("x-other", "3");
    auto call = setup.prepare(ask);
    REQUIRE(call);
    const headers& fields = call->http.fields();
    CHECK(call->http.method() == "POST");
    CHECK(call->http.target().text() == "http://localhost:8080/v1/chat/completions?a=b");
    CHECK(fields.get("Authorization") == "Bearer sk-12345");
    CHECK(fields.get("Content-Type") == "application/json");
    CHECK(fields.get("Accept") == "application/json");
    CHECK(fields.get("OpenAI-Organization") == "org");
    CHECK(fields.get("OpenAI-Project") == "proj");
    CHECK(fields.get("Idempotency-Key") == "once");
    CHECK(fields.get("X-Mine") == "2");
    CHECK(fields.get("X-Other") == "3");
    CHECK(setup.where(ask) == "POST http://localhost:8080/v1/chat/completions");
    CHECK(setup.origin() == "openai http://localhost:8080/v1");

    ask.options().streamed = true;
    call = setup.prepare(ask);
    REQUIRE(call);
    CHECK(call->http.fields().get("Accept") == "text/event-stream");
    CHECK(call->http.body().view() == R"({"stream":true})");
}

TEST_CASE("a call has an Idempotency-Key when it may be sent again", "[openai]") {
    const auto sent = [](const request& ask) {
        auto call = local().prepare(ask);
        return call ? std::string(call->http.fields().get("Idempotency-Key").value_or("none"))
                    : std::string(call.error().message());
    };
    request ask("chat/completions", "{}");
    CHECK(sent(ask) == "none");
    ask.options().attempt_key = key128{0x0123456789abcdef, 0xf};
    CHECK(sent(ask) == to_hex(ask.options().attempt_key));
    CHECK(sent(ask).size() == 32);
    ask.options().set_idempotency_key("mine");
    CHECK(sent(ask) == "mine");
}

TEST_CASE("all attempts of a call carry one Idempotency-Key, another call another", "[openai]") {
    using testing::http_answer;
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    const http_answer busy(503, R"({"error":{"message":"busy"}})");
    const http_answer fine(200, R"({"choices":[{"message":{"content":"Hi"}}]})");
    http.then(busy).then(busy).then(fine).then(busy).then(fine);
    const auto client =
        pipeline(openai(http, openai_options().base_url("http://h/v1").no_key())) | retry();
    for (int i = 0; i < 2; ++i) {
        auto answer = world.wait(client(request("chat/completions", R"({"model":"m"})")));
        REQUIRE(answer);
    }
    REQUIRE(http.calls() == 5);
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < 5; ++i) {
        keys.emplace_back(http.sent(i).fields().get("Idempotency-Key").value_or(""));
    }
    CHECK(keys[0].size() == 32);
    CHECK(keys[1] == keys[0]);
    CHECK(keys[2] == keys[0]);
    CHECK(keys[3] != keys[0]);
    CHECK(keys[4] == keys[3]);
}

TEST_CASE("an empty body is a GET, and embeddings have no stream", "[openai]") {
    request models("models", "");
    models.options().streamed = true;
    auto call = local().prepare(models);
    REQUIRE(call);
    CHECK(call->http.method() == "GET");
    CHECK_FALSE(call->streamed);
    CHECK_FALSE(call->http.fields().contains("Content-Type"));

    request vectors("embeddings", R"({"input":"a"})");
    vectors.options().streamed = true;
    call = local().prepare(vectors);
    REQUIRE(call);
    CHECK(call->http.body().view() == R"({"input":"a"})");
}

TEST_CASE("Azure takes the key in its own header and a version in the query", "[openai]") {
    const openai_setup setup(openai_options()
                                 .base_url("https://x.openai.azure.com/openai/deployments/d")
                                 .key("sk-12345")
                                 .azure("2024-10-21"));
    auto call = setup.prepare(request("chat/completions", "{}"));
    REQUIRE(call);
    CHECK(call->http.target().target() ==
          "/openai/deployments/d/chat/completions?api-version=2024-10-21");
    CHECK(call->http.fields().get("api-key") == "sk-12345");
    CHECK_FALSE(call->http.fields().contains("Authorization"));
    CHECK(setup.origin() == "openai https://x.openai.azure.com/openai/deployments/d");
}

TEST_CASE("a missing key says which variable to set", "[openai]") {
    environment none("OPENAI_API_KEY", nullptr);
    auto call = openai_setup(openai_options()).prepare(request("models", ""));
    REQUIRE_FALSE(call);
    CHECK(call.error().kind() == error_kind::configuration);
    CHECK(call.error().to_string().find("OPENAI_API_KEY") != std::string::npos);
    call = openai_setup(openai_options().key_from("MY_OWN_KEY_VARIABLE"))
               .prepare(request("models", ""));
    REQUIRE_FALSE(call);
    CHECK(call.error().to_string().find("MY_OWN_KEY_VARIABLE") != std::string::npos);
    CHECK_FALSE(openai_setup(openai_options().key("")).prepare(request("models", "")));
    call = openai_setup(openai_options().no_key()).prepare(request("models", ""));
    REQUIRE(call);
    CHECK_FALSE(call->http.fields().contains("Authorization"));
}

TEST_CASE("key and base URL come from the environment unless told otherwise", "[openai]") {
    environment key("OPENAI_API_KEY", "sk-from-env");
    {
        environment url("OPENAI_BASE_URL", nullptr);
        CHECK(openai_setup(openai_options()).origin() == "openai https://api.openai.com/v1");
    }
    environment url("OPENAI_BASE_URL", "http://localhost:1/v1");
    auto call = openai_setup(openai_options()).prepare(request("models", ""));
    REQUIRE(call);
    CHECK(call->http.fields().get("Authorization") == "Bearer sk-from-env");
    CHECK(call->http.target().text() == "http://localhost:1/v1/models");
    CHECK(openai_setup(openai_options().base_url("http://a/b")).origin() == "openai http://a/b");
}

TEST_CASE("a key that changes is asked for at every call", "[openai]") {
    int asked = 0;
    const openai_setup setup(
        openai_options().base_url("http://a/b").key_from([&asked]() -> std::string {
            if (++asked == 3) throw std::runtime_error("sk-secret");
            return asked == 4 ? "" : "key-" + std::to_string(asked);
        }));
    for (const char* expects : {"Bearer key-1", "Bearer key-2"}) {
        auto call = setup.prepare(request("models", ""));
        REQUIRE(call);
        CHECK(call->http.fields().get("Authorization") == expects);
    }
    for (int failing = 0; failing < 2; ++failing) {
        auto call = setup.prepare(request("models", ""));
        REQUIRE_FALSE(call);
        CHECK(call.error().kind() == error_kind::configuration);
        CHECK(call.error().to_string().find("sk-secret") == std::string::npos);
    }
}

TEST_CASE("a wrong base URL is an error of every call", "[openai]") {
    for (const char* bad : {"api.openai.com/v1", "ftp://a/b", "http://", "http://a b/"}) {
        INFO(bad);
        auto call =
            openai_setup(openai_options().base_url(bad).key("k")).prepare(request("models", ""));
        REQUIRE_FALSE(call);
        CHECK(call.error().kind() == error_kind::configuration);
    }
    CHECK_FALSE(local().prepare(request("../admin", "{}")));
}

TEST_CASE("header values that would smuggle in a line are refused and never shown", "[openai]") {
    for (const char* value : {"a\r\nX-Evil: 1", "a\nsecret", "a\rsecret"}) {
        request ask("models", "");
        ask.options().add_header("X-Mine", value);
        auto call = local().prepare(ask);
        REQUIRE_FALSE(call);
        CHECK(call.error().kind() == error_kind::invalid_request);
        CHECK(call.error().to_string().find("secret") == std::string::npos);
        CHECK(call.error().to_string().find("X-Evil") == std::string::npos);
    }
    request nul("models", "");
    nul.options().add_header("X-Mine", std::string("a\0b", 3));
    CHECK_FALSE(local().prepare(nul));
    request name("models", "");
    name.options().add_header("X-Mine: 1\r\nX", "b");
    CHECK_FALSE(local().prepare(name));
    request once("models", "");
    once.options().set_idempotency_key("a\nb");
    CHECK_FALSE(local().prepare(once));

    auto call = openai_setup(openai_options().base_url("http://a").key("sk-secret\n"))
                    .prepare(request("models", ""));
    REQUIRE_FALSE(call);
    CHECK(call.error().kind() == error_kind::configuration);
    CHECK(call.error().to_string().find("sk-secret") == std::string::npos);
}

}  // namespace test_provider_openai_request
