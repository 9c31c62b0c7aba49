#include <llmkit/provider/openai_dialect.hpp>

#include <cmath>

#include <nlohmann/json.hpp>

#include "recording.hpp"
#include "test.hpp"

namespace test_provider_openai_dialect {

using namespace llmkit;
using nlohmann::json;

namespace {
event chunk(std::string text) {
    event_facts facts;
    detail::scan_openai_event(text, facts);
    return event(bytes(std::move(text)), facts);
}
event whole(std::string text) {
    event_facts facts;
    detail::scan_openai_body(text, facts);
    return event(bytes(std::move(text)), facts);
}
json fold(const std::vector<event>& chunks) {
    auto body = openai_dialect().fold(chunks);
    REQUIRE(body);
    CHECK(body->facts().last);
    return json::parse(body->data());
}
json round_trip(const json& body) {
    auto chunks = openai_dialect().unfold(whole(body.dump()));
    REQUIRE(chunks);
    CHECK(chunks->back().facts().last);
    for (const auto& one : *chunks) CHECK(one.facts().last == (one.data() == "[DONE]"));
    return fold(*chunks);
}
}  // namespace

TEST_CASE("chunks fold into the body of a unary call", "[openai]") {
    const json body = fold({
        chunk(
            R"({"id":"","object":"","created":0,"model":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]})"),
        chunk(
            R"({"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]})"),
        chunk(
            R"({"id":"c1","created":8,"choices":[{"index":0,"delta":{"content":"a\n"},"finish_reason":null}],"usage":null})"),
        chunk(R"({"id":"c1","choices":[{"index":0,"delta":{"content":"\u00e9\""}}]})"),
        chunk(R"({"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})"),
        chunk(
            R"({"id":"c1","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5,"completion_tokens_details":{"reasoning_tokens":1}}})"),
        chunk("[DONE]"),
    });
    CHECK(body["object"] == "chat.completion");
    CHECK(body["id"] == "c1");
    CHECK(body["created"] == 7);
    CHECK(body["model"] == "m");
    CHECK(body["system_fingerprint"] == "fp");
    CHECK(body["prompt_filter_results"].size() == 1);
    CHECK(body["choices"].size() == 1);
    CHECK(
        body["choices"][0] ==
        json::parse(
            R"({"index":0,"message":{"role":"assistant","content":"a\né\""},"finish_reason":"stop"})"));
    CHECK(body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1);
}

TEST_CASE("tool calls are put together by their index", "[openai]") {
    const json body = fold({
        chunk(
            R"({"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"one","arguments":""}}]}}]})"),
        chunk(
            R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"two","arguments":"{\"x\""}}]}}]})"),
        chunk(
            R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}},{"index":1,"function":{"name":"two","arguments":":1}"}}]}}]})"),
        chunk(R"({"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]})"),
    });
    const json& message = body["choices"][0]["message"];
    CHECK(message["content"].is_null());
    REQUIRE(message["tool_calls"].size() == 2);
    CHECK(
        message["tool_calls"][0] ==
        json::parse(R"({"id":"a","type":"function","function":{"name":"one","arguments":"{}"}})"));
    CHECK(message["tool_calls"][1]["function"] ==
          json::parse(R"({"name":"two","arguments":"{\"x\":1}"})"));
}

TEST_CASE("tool calls without an index are told apart by their ids", "[openai]") {
    const json body = fold({
        chunk(
            R"({"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"one","arguments":"{"}}]}}]})"),
        chunk(R"({"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]})"),
        chunk(
            R"({"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"two","arguments":"{}"}}]},"finish_reason":"tool_calls"}]})"),
    });
    const json& calls = body["choices"][0]["message"]["tool_calls"];
    REQUIRE(calls.size() == 2);
    CHECK(calls[0]["function"]["arguments"] == "{}");
    CHECK(calls[1]["function"]["name"] == "two");
}

TEST_CASE("an absurd index costs no memory", "[openai]") {
    const json body = fold({
        chunk(
            R"({"choices":[{"index":4611686018427387904,"delta":{"tool_calls":[{"index":9000000000000000,"function":{"name":"f"}}]},"finish_reason":"stop"}]})"),
    });
    CHECK(body["choices"].size() == 1);
}

TEST_CASE("several choices, refusals, reasoning and logprobs survive folding", "[openai]") {
    const json body = fold({
        chunk(
            R"({"choices":[{"index":1,"delta":{"content":"B"},"logprobs":{"content":[{"token":"B"}],"refusal":null},"finish_reason":null}]})"),
        chunk(
            R"({"choices":[{"index":0,"delta":{"refusal":"I ","reasoning_content":"hm"},"logprobs":null,"finish_reason":null}]})"),
        chunk(
            R"({"choices":[{"index":0,"delta":{"refusal":"cannot","reasoning_content":"m"},"finish_reason":"stop"}]})"),
        chunk(
            R"({"choices":[{"index":1,"delta":{"content":"2"},"logprobs":{"content":[{"token":"2"}],"refusal":null},"finish_reason":"length"}]})"),
    });
    REQUIRE(body["choices"].size() == 2);
    CHECK(body["choices"][0]["message"]["refusal"] == "I cannot");
    CHECK(body["choices"][0]["message"]["reasoning_content"] == "hmm");
    CHECK(body["choices"][0]["finish_reason"] == "stop");
    CHECK(body["choices"][1]["message"]["content"] == "B2");
    CHECK(body["choices"][1]["finish_reason"] == "length");
    CHECK(body["choices"][1]["logprobs"]["content"].size() == 2);
}

TEST_CASE("the older completions fold into their own shape", "[openai]") {
    const json body = fold({
        chunk(
            R"({"id":"x","object":"text_completion","choices":[{"index":0,"text":"a","finish_reason":null}]})"),
        chunk(
            R"({"id":"x","object":"text_completion","choices":[{"index":0,"text":"b","finish_reason":"stop"}]})"),
    });
    CHECK(body["object"] == "text_completion");
    CHECK(body["choices"][0]["text"] == "ab");
    CHECK_FALSE(body["choices"][0].contains("message"));
    CHECK(round_trip(body) == body);
}

TEST_CASE("what is no answer does not fold", "[openai]") {
    const std::vector<event> nothing;
    CHECK(openai_dialect().fold(nothing).error().kind() == error_kind::truncated);
    const std::vector<event> done{chunk("[DONE]")};
    CHECK(openai_dialect().fold(done).error().kind() == error_kind::truncated);
    const std::vector<event> torn{event(bytes(std::string("{\"choices\":[{")))};
    CHECK(openai_dialect().fold(torn).error().kind() == error_kind::protocol);
}

TEST_CASE("unfolding and folding again changes nothing", "[openai]") {
    const char* const bodies[] = {
        R"({"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \ud83d\ude42 \"there\"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"service_tier":"default","system_fingerprint":null})",
        R"({"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"b","type":"custom","custom":{"name":"g","input":"text"}}]},"finish_reason":"tool_calls"}]})",
        R"({"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop","matched_stop":5},{"index":1,"message":{"role":"assistant","content":""},"finish_reason":"length"}],"timings":{"x":[1,2]}})",
        R"({"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"x","audio":{"id":"au","data":"AAAA","expires_at":5}},"logprobs":{"content":[{"token":"x","top_logprobs":[]}],"refusal":null},"finish_reason":"stop"}]})",
    };
    for (const char* text : bodies) {
        INFO(text);
        json body = json::parse(text);
        json again = round_trip(body);
        // A null says nothing.
        for (auto* one : {&body, &again}) {
            for (auto& choice : (*one)["choices"]) {
                if (choice.contains("logprobs") && choice["logprobs"].is_null())
                    choice.erase("logprobs");
            }
        }
        CHECK(again == body);
    }
    for (const char* name : {"aimock.unary", "llama.unary", "llama26.unary", "mockllm.unary"}) {
        INFO(name);
        json body = json::parse(recorded(name).body());
        json again = round_trip(body);
        for (auto& choice : body["choices"]) {
            if (choice.contains("logprobs") && choice["logprobs"].is_null())
                choice.erase("logprobs");
        }
        CHECK(again == body);
    }
}

TEST_CASE("an unfolded answer reads like a stream", "[openai]") {
    auto chunks = openai_dialect().unfold(whole(
        R"({"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi\n"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}})"));
    REQUIRE(chunks);
    REQUIRE(chunks->size() == 3);
    chat_delta delta;
    REQUIRE(openai_dialect().read_delta((*chunks)[0], delta));
    CHECK(delta.text() == "Hi\n");
    CHECK(delta.finish() == finish_reason::none);
    REQUIRE(openai_dialect().read_delta((*chunks)[1], delta));
    CHECK(delta.text().empty());
    CHECK(delta.finish() == finish_reason::stop);
    CHECK(delta.usage().output == 2);
    CHECK_FALSE(openai_dialect().read_delta((*chunks)[2], delta));
    const json first = json::parse((*chunks)[0].data());
    CHECK(first["object"] == "chat.completion.chunk");
    CHECK(first["choices"][0]["finish_reason"].is_null());
}

TEST_CASE("what is no chat completion does not unfold", "[openai]") {
    for (const char* body : {"", "{", "[]", "{}", R"({"data":[]})", R"({"choices":[]})",
                             R"({"choices":[{"message":{"content":"x"}}]}x)"}) {
        INFO(body);
        CHECK_FALSE(openai_dialect().unfold(whole(body)));
    }
}

TEST_CASE("a delta is read without the provider's facts as well", "[openai]") {
    chat_delta delta;
    REQUIRE(openai_dialect().read_delta(
        event(bytes(std::string(R"({"choices":[{"delta":{"content":"x"}}]})"))), delta));
    CHECK(delta.text() == "x");
    CHECK_FALSE(openai_dialect().read_delta(event(bytes(std::string("nonsense"))), delta));
    // Facts that do not fit the bytes, from a damaged store, read nothing.
    event_facts wrong;
    wrong.content = true;
    wrong.text_at = 10;
    wrong.text_size = 4000000000U;
    CHECK_FALSE(openai_dialect().read_delta(event(bytes(std::string("{}")), wrong), delta));
}

TEST_CASE("a delta brings the pieces of tool calls", "[openai]") {
    chat_delta delta;
    REQUIRE(openai_dialect().read_delta(
        chunk(
            R"({"choices":[{"index":0,"delta":{"tool_calls":[{"index":2,"id":"a","function":{"name":"f","arguments":"{\"c"}}]}}]})"),
        delta));
    REQUIRE(delta.tool_calls().size() == 1);
    CHECK(delta.tool_calls()[0].index == 2);
    CHECK(delta.tool_calls()[0].id == "a");
    CHECK(delta.tool_calls()[0].name == "f");
    CHECK(delta.tool_calls()[0].arguments == "{\"c");
}

TEST_CASE("a completion is read with all that people want of it", "[openai]") {
    auto read = openai_dialect().read_completion(whole(
        R"({"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","refusal":"no","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"1"}}]},"finish_reason":"tool_calls"},{"index":1,"message":{"content":"other"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}})"));
    REQUIRE(read);
    CHECK(read->text() == "Hi");
    CHECK(read->refusal() == "no");
    CHECK(read->model() == "m");
    CHECK(read->id() == "c");
    CHECK(read->finish() == finish_reason::tool_calls);
    CHECK(read->usage().cached_input == 1);
    REQUIRE(read->tool_calls().size() == 2);
    CHECK(read->tool_calls()[1].index == 1);
    CHECK(read->tool_calls()[1].name == "g");

    auto parts = openai_dialect().read_completion(whole(
        R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}]})"));
    REQUIRE(parts);
    CHECK(parts->text() == "ab");
    CHECK_FALSE(openai_dialect().read_completion(whole("{}")));
    CHECK_FALSE(openai_dialect().read_completion(whole("{\"choices\":[{\"message\":")));
}

TEST_CASE("embeddings are read as numbers and as packed floats, in their order", "[openai]") {
    auto read = openai_dialect().read_embeddings(whole(
        R"({"data":[{"index":1,"embedding":[0.5,-2]},{"index":0,"embedding":[1e-3,3]}],"model":"e","usage":{"prompt_tokens":4,"total_tokens":4}})"));
    REQUIRE(read);
    REQUIRE(read->vectors.size() == 2);
    CHECK(read->vectors[0] == std::vector<float>{0.001F, 3.0F});
    CHECK(read->vectors[1] == std::vector<float>{0.5F, -2.0F});
    CHECK(read->model == "e");
    CHECK(read->usage.input == 4);

    // struct.pack("<3f", 1.0, -0.5, 0.1)
    auto packed = openai_dialect().read_embeddings(
        whole(R"({"data":[{"index":0,"embedding":"AACAPwAAAL\/NzMw9"}]})"));
    REQUIRE(packed);
    CHECK(packed->vectors[0] == std::vector<float>{1.0F, -0.5F, 0.1F});
    // two floats fill ten and two thirds characters
    auto padded =
        openai_dialect().read_embeddings(whole(R"({"data":[{"embedding":"AACAPwAAAL8="}]})"));
    REQUIRE(padded);
    CHECK(padded->vectors[0] == std::vector<float>{1.0F, -0.5F});

    for (const char* bad :
         {"{}", R"({"data":[{"index":0}]})", R"({"data":[{"embedding":["a"]}]})",
          R"({"data":[{"embedding":"AAC*"}]})", R"({"data":[{"embedding":"AACA"}]})"}) {
        INFO(bad);
        CHECK_FALSE(openai_dialect().read_embeddings(whole(bad)));
    }
    auto real = openai_dialect().read_embeddings(whole(recorded("llamaemb.embed").body()));
    REQUIRE(real);
    CHECK(real->vectors.size() == 2);
    CHECK(real->vectors[0].size() == 64);
    CHECK(std::abs(real->vectors[0][0] + 0.0805368F) < 1e-6F);
}

}  // namespace test_provider_openai_dialect
