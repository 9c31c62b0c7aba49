#include "llmkit/detail/openai_scan.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "llmkit/detail/sse.hpp"
#include "test.hpp"

namespace test_detail_openai_scan {

using namespace llmkit;
using namespace llmkit::detail;

namespace {

// The body of a recorded answer, its chunks joined.
std::string recorded(const std::string& name) {
    std::ifstream file(LLMKIT_SOURCE_DIR "/tests/recordings/" + name + ".http", std::ios::binary);
    REQUIRE(file.good());
    const std::string all{std::istreambuf_iterator<char>(file), {}};
    const std::size_t head = all.find("\r\n\r\n");
    std::string rest = all.substr(head + 4);
    if (all.substr(0, head).find("chunked") == std::string::npos) return rest;
    std::string body;
    for (std::size_t at = 0; at < rest.size();) {
        const std::size_t size = std::strtoul(rest.substr(at, 8).c_str(), nullptr, 16);
        if (size == 0) break;  // the last chunk, or the note that the recording was cut here
        at = rest.find("\r\n", at) + 2;
        body += rest.substr(at, size);
        at += size + 2;
    }
    return body;
}

// Facts of a recorded stream, event by event, and what they add up to.
struct told {
    std::vector<event_facts> events;
    std::string text;
    token_usage usage;
    finish_reason finish = finish_reason::none;
    bool last = false;
    bool error = false;
    bool tool_call = false;
    bool malformed = false;
};

told stream_of(const std::string& name) {
    const std::string body = recorded(name);
    told all;
    sse_framer framer;
    sse_event event;
    framer.feed(body);
    while (framer.next(event)) {
        event_facts facts;
        if (!scan_openai_event(event.data, facts)) all.malformed = true;
        json_string{event.data.substr(facts.text_at, facts.text_size), facts.text_escaped}
            .append_to(all.text);
        if (facts.usage.known) all.usage = facts.usage;
        if (facts.finish != finish_reason::none) all.finish = facts.finish;
        all.last = facts.last;
        all.error |= facts.error;
        all.tool_call |= facts.tool_call;
        all.events.push_back(facts);
    }
    return all;
}

event_facts facts_of(std::string_view data) {
    event_facts facts;
    INFO(data);
    REQUIRE(scan_openai_event(data, facts));
    return facts;
}

std::string text_of(std::string_view data) {
    const event_facts facts = facts_of(data);
    return json_string{data.substr(facts.text_at, facts.text_size), facts.text_escaped}.str();
}

}  // namespace

TEST_CASE("a chunk's text is found in place", "[openai_scan]") {
    CHECK(text_of(R"({"choices":[{"index":0,"delta":{"content":"Hi"}}]})") == "Hi");
    CHECK(text_of(R"({"choices":[{"delta":{"content":"a\n\u00e9"},"index":0}]})") == "a\né");
    CHECK(facts_of(R"({"choices":[{"delta":{"content":"Hi"}}]})").content);
    for (const char* empty :
         {R"({"choices":[{"delta":{"content":""}}]})",
          R"({"choices":[{"delta":{"content":null}}]})", R"({"choices":[{"delta":{}}]})",
          R"({"choices":[]})", R"({"choices":null})", "{}"})
        CHECK(facts_of(empty) == event_facts{});
}

TEST_CASE("any choice's text is content, the first choice's is the text", "[openai_scan]") {
    const char* second = R"({"choices":[{"delta":{"content":"b"},"index":1}]})";
    CHECK(facts_of(second).content);
    CHECK(text_of(second).empty());
    CHECK(text_of(R"({"choices":[{"index":1,"delta":{"content":"b"}},
                                 {"index":0,"delta":{"content":"a"}}]})") == "a");
}

TEST_CASE("refusals, reasoning and parts are content that a user sees", "[openai_scan]") {
    for (const char* data :
         {R"({"choices":[{"delta":{"refusal":"no"}}]})",
          R"({"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]})",
          R"({"choices":[{"message":{"content":[{"type":"text","text":"a"}]}}]})"}) {
        CHECK(facts_of(data).content);
        CHECK(facts_of(data).text_size == 0);
    }
    CHECK_FALSE(facts_of(R"({"choices":[{"message":{"content":[],"refusal":null}}]})").content);
    CHECK(text_of(R"({"choices":[{"text":"old","index":0}]})") == "old");
}

TEST_CASE("tool calls are noticed", "[openai_scan]") {
    CHECK(facts_of(R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})").tool_call);
    CHECK(facts_of(R"({"choices":[{"delta":{"function_call":{"name":"f"}}}]})").tool_call);
    CHECK_FALSE(facts_of(R"({"choices":[{"delta":{"tool_calls":[]}}]})").tool_call);
    CHECK_FALSE(facts_of(R"({"choices":[{"delta":{"tool_calls":null}}]})").tool_call);
}

TEST_CASE("finish reasons are read from any choice", "[openai_scan]") {
    const auto finish = [](const std::string& word) {
        return facts_of(R"({"choices":[{"finish_reason":null},{"index":1,"finish_reason":)" + word +
                        "}]}")
            .finish;
    };
    CHECK(finish("\"stop\"") == finish_reason::stop);
    CHECK(finish("\"length\"") == finish_reason::length);
    CHECK(finish("\"tool_calls\"") == finish_reason::tool_calls);
    CHECK(finish("\"function_call\"") == finish_reason::tool_calls);
    CHECK(finish("\"content_filter\"") == finish_reason::content_filter);
    CHECK(finish("\"something new\"") == finish_reason::other);
    CHECK(finish("\"\"") == finish_reason::none);
    CHECK(finish("null") == finish_reason::none);
}

TEST_CASE("usage is read whether or not there are choices", "[openai_scan]") {
    const std::string usage =
        R"("usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,
            "prompt_tokens_details":{"audio_tokens":1,"cached_tokens":4},
            "completion_tokens_details":{"reasoning_tokens":3}})";
    const token_usage expected{10, 5, 4, 3, true};
    CHECK(facts_of("{\"choices\":[]," + usage + "}").usage == expected);
    CHECK(facts_of("{" + usage + R"(,"choices":[{"delta":{"content":"x"}}]})").usage == expected);
    CHECK_FALSE(facts_of(R"({"usage":null})").usage.known);
    CHECK_FALSE(facts_of(R"({"usage":{}})").usage.known);
    CHECK(facts_of(R"({"usage":{"prompt_tokens":7.0,"prompt_tokens_details":null}})").usage ==
          token_usage{7, 0, 0, 0, true});
    CHECK_FALSE(facts_of(R"({"usage":{"prompt_tokens":-7}})").usage.known);
}

TEST_CASE("errors inside an answer are noticed", "[openai_scan]") {
    CHECK(facts_of(R"({"error":{"message":"x"}})").error);
    CHECK(facts_of(R"({"error":"overloaded"})").error);
    CHECK(facts_of(R"({"object":"error","message":"x"})").error);
    CHECK_FALSE(facts_of(R"({"error":null,"choices":[]})").error);
}

TEST_CASE("[DONE] is last, and a whole body is", "[openai_scan]") {
    CHECK(facts_of("[DONE]").last);
    CHECK(facts_of(" [DONE] ").last);
    CHECK_FALSE(facts_of("{}").last);
    event_facts facts;
    CHECK(scan_openai_body("{}", facts));
    CHECK(facts.last);
    CHECK_FALSE(scan_openai_body("[DONE]", facts));
}

TEST_CASE("a malformed chunk leaks nothing of itself", "[openai_scan]") {
    for (const char* bad :
         {"", "{", R"({"choices":[{"delta":{"content":"half)",
          R"({"choices":[{"delta":{"content":"a"}}])", R"({"error":{"message":"x"}}})",
          "{malformed json: <<<chaos>>>", "\"\xFF\""}) {
        event_facts facts;
        facts.content = true;
        CHECK_FALSE(scan_openai_event(bad, facts));
        CHECK(facts == event_facts{});
        CHECK_FALSE(scan_openai_body(bad, facts));
        CHECK(facts == event_facts{});
    }
}

TEST_CASE("recorded streams are understood", "[openai_scan]") {
    const told mock = stream_of("aimock.stream");
    CHECK(mock.text == "Hi there — naïve 🙂 text, streamed in small pieces.");
    CHECK(mock.finish == finish_reason::stop);
    CHECK(mock.usage == token_usage{2, 13, 0, 0, true});
    CHECK(mock.last);
    CHECK_FALSE(mock.malformed);

    const told tools = stream_of("aimock.toolstream");
    CHECK(tools.tool_call);
    CHECK(tools.text.empty());
    CHECK(tools.finish == finish_reason::tool_calls);

    const told cut = stream_of("aimock.truncated");
    CHECK(cut.text == "This ");
    CHECK(cut.finish == finish_reason::none);
    CHECK_FALSE(cut.last);

    const told echo = stream_of("mockllm.stream");
    CHECK(echo.text == "héllo wörld this is a longer echo");
    CHECK(echo.finish == finish_reason::stop);

    for (const char* name : {"llama.stream", "llama26.stream"}) {
        const told llama = stream_of(name);
        CHECK_FALSE(llama.malformed);
        CHECK(llama.text.starts_with("uitшей Universidadукudi Filip"));
        CHECK(llama.finish == finish_reason::length);
        CHECK(llama.last);
    }

    const told refused = stream_of("mockllm.401stream");
    CHECK(refused.events.size() == 1);
    CHECK(refused.error);
    CHECK_FALSE(refused.last);
}

TEST_CASE("recorded unary answers are understood", "[openai_scan]") {
    for (const char* name : {"llama.unary", "llama26.unary", "aimock.unary", "mockllm.unary"}) {
        const std::string body = recorded(name);
        event_facts facts;
        INFO(name);
        REQUIRE(scan_openai_body(body, facts));
        CHECK(facts.content);
        CHECK(facts.last);
        CHECK(facts.finish != finish_reason::none);
        CHECK(facts.text_size > 20);
        CHECK_FALSE(scan_model(body).empty());
        CHECK_FALSE(scan_id(body).empty());
    }
    event_facts facts;
    REQUIRE(scan_openai_body(recorded("llamaemb.embed"), facts));
    CHECK(facts.usage == token_usage{6, 0, 0, 0, true});
    CHECK_FALSE(scan_openai_body(recorded("aimock.chaos_malformed"), facts));
}

TEST_CASE("recorded error bodies are read", "[openai_scan]") {
    const scanned_error limited = scan_error(recorded("aimock.429"));
    CHECK(limited.message == "Rate limited");
    CHECK(limited.type == "rate_limit_error");
    CHECK(limited.code == "rate_limit_exceeded");
    CHECK(limited.param.empty());
    const scanned_error loading = scan_error(recorded("llama503loading"));
    CHECK(loading.message == "Loading model");
    CHECK(loading.code == "503");
    CHECK(loading.type == "unavailable_error");
    CHECK(scan_error(recorded("mockllm.401")).code == "invalid_api_key");
}

TEST_CASE("error bodies of other shapes are read", "[openai_scan]") {
    CHECK(scan_error(R"({"error":"out of \"luck\""})").message == "out of \"luck\"");
    CHECK(scan_error(R"({"object":"error","message":"m","code":404})").code == "404");
    CHECK(scan_error(R"({"detail":"Not Found"})").message == "Not Found");
    CHECK(scan_error(R"({"detail":[{"msg":"x"}]})").message == R"([{"msg":"x"}])");
    CHECK(scan_error(R"({"error":{"message":"m","param":"messages[0]"}})").param == "messages[0]");
    CHECK(scan_error(R"({"error":{"message":null,"code":"DeploymentNotFound"}})").code ==
          "DeploymentNotFound");
}

TEST_CASE("any other body is its own message, cut between characters", "[openai_scan]") {
    CHECK(scan_error("\n  <html>502 Bad Gateway</html>\n").message ==
          "<html>502 Bad Gateway</html>");
    CHECK(scan_error("").message.empty());
    CHECK(scan_error("  \n").message.empty());
    CHECK(scan_error(R"({"error":{"message":"half)").message == R"({"error":{"message":"half)");
    CHECK(scan_error("{}").message == "{}");
    const std::string longer = std::string(499, 'x') + "é and more";
    CHECK(scan_error(longer).message == std::string(499, 'x'));
}

TEST_CASE("the model and id are read from valid text only", "[openai_scan]") {
    CHECK(scan_model(R"({"model":"a\/b","id":"1"})") == "a/b");
    CHECK(scan_id(R"({"model":"a","id":"1"})") == "1");
    CHECK(scan_id(R"({"id":7})").empty());
    CHECK(scan_id(R"({"id":"1")").empty());
}

}  // namespace test_detail_openai_scan
