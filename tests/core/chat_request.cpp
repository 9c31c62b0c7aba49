#include <llmkit/core/chat_request.hpp>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_core_chat_request {

using namespace llmkit;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// Gives the request back as an error, so that a test sees what was asked.
class mirror {
public:
    mirror(clock_handle time, std::shared_ptr<request> to)
        : time_(std::move(time)), to_(std::move(to)) {}
    clock_handle clock() const { return time_; }
    task<result<response>> operator()(request ask) {
        ask.options().link.reset();  // a kept request must not keep the pipeline that keeps it
        *to_ = std::move(ask);
        co_return error(error_kind::not_found, "mirror");
    }

private:
    clock_handle time_;
    std::shared_ptr<request> to_;
};

}  // namespace

TEST_CASE("a chat request writes what it was told, as valid JSON", "[chat_request]") {
    const auto ask = chat_request("gpt-4o-mini")
                         .system("Be brief.")
                         .user("Say \"hi\"\n\ttwice")
                         .temperature(0.5)
                         .max_tokens(8)
                         .seed(7)
                         .stop("END")
                         .response_format(R"({"type":"json_object"})")
                         .set_json("logit_bias", R"({"50256":-100})")
                         .set("top_k", 5)
                         .set("user", "somebody")
                         .tool("f", "does f", R"({"type":"object"})");
    const auto body = json::parse(ask.body());
    CHECK(body["model"] == "gpt-4o-mini");
    CHECK(body["messages"][0] == json({{"role", "system"}, {"content", "Be brief."}}));
    CHECK(body["messages"][1]["content"] == "Say \"hi\"\n\ttwice");
    CHECK(body["temperature"] == 0.5);
    CHECK(body["max_tokens"] == 8);
    CHECK(body["seed"] == 7);
    CHECK(body["stop"] == "END");
    CHECK(body["response_format"]["type"] == "json_object");
    CHECK(body["logit_bias"]["50256"] == -100);
    CHECK(body["tools"][0]["function"]["name"] == "f");
    CHECK(body["top_k"] == 5);
    CHECK(body["user"] == "somebody");
    CHECK_FALSE(body.contains("stream"));
}

TEST_CASE("what is set twice is sent once, the last time", "[chat_request]") {
    const auto body = chat_request("m").user("x").temperature(1).temperature(0).body();
    CHECK(body.find("temperature") == body.rfind("temperature"));
    CHECK(json::parse(body)["temperature"] == 0);
}

TEST_CASE("a field set again keeps its place, whatever its length", "[chat_request]") {
    chat_request ask("m");
    ask.user("Hi").temperature(0.25).seed(7).set("user", "u");
    ask.temperature(1).set("model", "a-longer-model").set("seed", 12345);
    CHECK(ask.body() == R"({"model":"a-longer-model","messages":[{"role":"user","content":"Hi"}],)"
                        R"("temperature":1,"seed":12345,"user":"u"})");
    ask.set("model", "n").set("user", "someone else");
    CHECK(ask.body() == R"({"model":"n","messages":[{"role":"user","content":"Hi"}],)"
                        R"("temperature":1,"seed":12345,"user":"someone else"})");
}

TEST_CASE("text that is not UTF-8 never makes a body invalid", "[chat_request]") {
    const auto body = json::parse(chat_request("m").user("a\xff\xc3z").body());
    CHECK(body["messages"][0]["content"] == "a\uFFFD\uFFFDz");
}

TEST_CASE("a conversation goes on from what the model said, tool calls included",
          "[chat_request]") {
    completion said;
    tool_call call;
    call.id = "call_1";
    call.name = "weather";
    call.arguments = R"({"city":"Zürich"})";
    said.mutable_tool_calls().push_back(call);
    const auto body = json::parse(
        chat_request("m").user("Weather?").assistant(said).tool_result("call_1", "sunny").body());
    CHECK(body["messages"][1]["content"].is_null());
    CHECK(body["messages"][1]["tool_calls"][0]["function"]["arguments"] == call.arguments);
    CHECK(body["messages"][2]["tool_call_id"] == "call_1");
}

TEST_CASE("pictures and messages in the provider's own JSON are passed on", "[chat_request]") {
    const auto body = json::parse(chat_request("m")
                                      .image("What is this?", "https://example.com/a.png")
                                      .message(R"({"role":"developer","content":"x"})")
                                      .body());
    CHECK(body["messages"][0]["content"][1]["image_url"]["url"] == "https://example.com/a.png");
    CHECK(body["messages"][1]["role"] == "developer");
}

TEST_CASE("an embeddings request lists its inputs in order", "[chat_request]") {
    const auto body =
        json::parse(embed_request("e").input("a").input("\"b\"").dimensions(8).body());
    CHECK(body == json({{"model", "e"}, {"input", {"a", "\"b\""}}, {"dimensions", 8}}));
}

// Each of these is one full expression with temporaries of all kinds across a suspension: what
// g++ 12 frees twice when a type is an aggregate. Run under the address sanitizer.
TEST_CASE("a call may be written in one expression", "[chat_request]") {
    simulation::world w;
    auto seen = std::make_shared<request>();
    auto client = pipeline(mirror(w.clock(), seen));
    const auto program = [](pipeline<mirror> c) -> task<int> {
        int failed = 0;
        const std::string model = "a model with a name that does not fit a small string";
        auto one = co_await c.chat(chat_request(model)
                                       .system("be kind, and long enough to be on the heap")
                                       .user("Hi, whoever is there behind that long address")
                                       .tool("f", "does f", R"({"type":"object"})")
                                       .header("x-extra", "a value that is on the heap as well")
                                       .tenant("a tenant with a long name, for the heap")
                                       .idempotency_key("a key that is long enough for it")
                                       .timeout(20s)
                                       .cache(cache_mode::refresh));
        failed += !one;
        failed += !co_await c.chat(chat_request("m").user("x"));
        if (!(co_await c.chat(chat_request("m").user("y")))) ++failed;
        auto stream = co_await c.stream(chat_request(model).user("Tell me a long long story"));
        while (auto delta = co_await stream.next()) ++failed;
        failed += stream.failed();
        failed += !co_await c.embed(embed_request(model).input("some text to be embedded here"));
        failed += !co_await c.embed("e", "some text to be embedded here", model);
        co_return failed;
    };
    CHECK(w.wait(program(client)) == 6);  // every call failed, by a value
}

TEST_CASE("the options of a typed call reach the service", "[chat_request]") {
    simulation::world w;
    auto seen = std::make_shared<request>();
    auto client = pipeline(mirror(w.clock(), seen));
    auto ask = chat_request("m").user("x").timeout(20s).tenant("t").priority(3);
    static_cast<void>(w.wait(client.stream(ask)));
    CHECK(seen->operation() == "chat/completions");
    CHECK(seen->options().streamed);
    CHECK(seen->options().tenant() == "t");
    CHECK(seen->options().priority == 3);
    CHECK(seen->options().deadline.effective() == w.now() + 20s);
}

TEST_CASE("set writes numbers, truth and text as nlohmann would, and any JSON made before",
          "[chat_request]") {
    const auto written = [](const auto& value) {
        const auto body = nlohmann::json::parse(llmkit::chat_request("m").set("x", value).body());
        return body.at("x") == nlohmann::json(value);
    };
    CHECK(written(true));
    CHECK(written(5));
    CHECK(written(-5L));
    CHECK(written(18446744073709551615ULL));
    CHECK(written(0.25));
    CHECK(written("a \"b\""));
    CHECK(written(std::string("\xC3\xA9")));
    CHECK(written(std::vector<int>{1, 2}));
    CHECK(written(nlohmann::json::parse(R"({"a":["b",null]})")));
    CHECK(written(nlohmann::json("text")));
}

}  // namespace test_core_chat_request
