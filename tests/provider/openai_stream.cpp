// Streams of OpenAI's API as servers really send them, and as they must not hurt.
#include <llmkit/provider/openai_stream.hpp>

#include <string>
#include <vector>

#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted_transport.hpp>

#include "recording.hpp"
#include "test.hpp"

namespace test_provider_openai_stream {

using namespace llmkit;
using namespace std::chrono_literals;
using testing::http_answer;

namespace {

/// All that a stream brought.
struct heard {
    std::vector<std::string> events;
    std::string text, arguments;
    std::optional<error> failure;
    finish_reason finish = finish_reason::none;
    token_usage usage;
    std::size_t injected = 0;
    duration took{};
};

task<heard> listen(testing::scripted_transport http, call_options options, std::string body) {
    auto service = openai(http, openai_options().base_url("http://h/v1").key("sk-secret"));
    request ask("chat/completions", std::move(body));
    ask.options() = options;
    ask.options().streamed = true;
    const time_point began = http.clock().now();
    heard out;
    auto answer = co_await service(std::move(ask));
    if (!answer) {
        out.failure = answer.error();
        co_return out;
    }
    CHECK(answer->head().streamed);
    while (auto item = co_await answer->events().next()) {
        out.events.emplace_back(item->data());
        CHECK(detail::valid_utf8(item->data()));
        if (item->facts().injected) ++out.injected;
        chat_delta delta;
        if (!openai_dialect().read_delta(*item, delta)) continue;
        out.text += delta.text();
        for (const auto& call : delta.tool_calls()) out.arguments += call.arguments;
        if (delta.finish() != finish_reason::none) out.finish = delta.finish();
        if (delta.usage().known) out.usage = delta.usage();
    }
    if (answer->events().failed()) out.failure = answer->events().error();
    out.took = http.clock().now() - began;
    co_return out;
}

heard hear(http_answer script, const call_options& options = call_options(),
           std::string body = "{}") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(std::move(script));
    auto out = world.wait(listen(http, options, std::move(body)));
    CHECK(http.open() == 0);
    return out;
}

std::string says(const std::string& text) {
    return R"({"choices":[{"index":0,"delta":{"content":")" + text +
           R"("},"finish_reason":null}]})";
}
const std::string stop = R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})";
}  // namespace

TEST_CASE("recorded streams are read to their end", "[openai]") {
    auto out = hear(recorded("aimock.stream"));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "Hi there — naïve 🙂 text, streamed in small pieces.");
    CHECK(out.finish == finish_reason::stop);
    CHECK(out.usage.output == 13);
    CHECK(out.events.back() == "[DONE]");

    out = hear(recorded("llama.stream"));
    CHECK_FALSE(out.failure);
    CHECK(out.finish == finish_reason::length);
    CHECK(out.usage.output == 16);

    out = hear(recorded("llama26.stream"));  // begins with "content":null
    CHECK_FALSE(out.failure);
    CHECK(out.text.starts_with("uitшей Universidad"));
    CHECK(out.usage.cached_input == 28);

    out = hear(recorded("mockllm.stream"));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "héllo wörld this is a longer echo");

    out = hear(recorded("aimock.toolstream"));
    CHECK_FALSE(out.failure);
    CHECK(out.arguments == R"({"city":"Zürich"})");
    CHECK(out.finish == finish_reason::tool_calls);
}

TEST_CASE("streams are the same wherever their bytes are cut", "[openai]") {
    for (const char* name : {"aimock.stream", "mockllm.stream", "mockllm.401stream"}) {
        INFO(name);
        const http_answer script = recorded(name);
        const heard whole = hear(script);
        for (std::size_t cut = 1; cut < script.body().size(); ++cut) {
            const heard out = hear(http_answer(script).cut_at(cut));
            if (out.events != whole.events || out.failure.has_value() != whole.failure.has_value())
                FAIL("differs when cut at " << cut);
        }
        const heard bytewise = hear(http_answer(script).in_pieces(1));
        CHECK(bytewise.events == whole.events);
        CHECK(bytewise.text == whole.text);
    }
}

TEST_CASE("a stream cut before the model has finished is no success", "[openai]") {
    auto out = hear(recorded("aimock.truncated"));
    REQUIRE(out.failure);
    CHECK(out.text == "This ");
    CHECK(out.failure->attempts() == 1);
    CHECK(out.failure->status() == 200);
    CHECK(out.failure->where() == "POST http://h/v1/chat/completions");

    out = hear(http_answer::events({says("a")}));  // the input ends as if all were well
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);

    out = hear(http_answer::events({}));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);

    out = hear(http_answer::events({"[DONE]"}));  // nothing was said at all
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);

    // The last event lacks its blank line.
    http_answer torn(200, "data: " + says("a") + "\n\ndata: " + stop + "\n");
    out = hear(torn.type("text/event-stream"));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);
}

TEST_CASE("a finish reason is enough when [DONE] does not come", "[openai]") {
    auto out = hear(http_answer::events({says("a"), stop}));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "a");
    out = hear(http_answer::events({says("a"), stop})
                   .ends_in(error(error_kind::connection_lost, "reset")));
    CHECK_FALSE(out.failure);
}

TEST_CASE("every choice must finish when [DONE] does not come", "[openai]") {
    const std::string second = R"({"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]})";
    auto out = hear(http_answer::events({says("a"), stop}), call_options(), R"({"n":2})");
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);
    out = hear(http_answer::events({says("a"), stop, second}), call_options(), R"({"n":2})");
    CHECK_FALSE(out.failure);
    // Some say it again beside the usage: that finishes no other choice.
    out = hear(http_answer::events({says("a"), stop, stop}), call_options(), R"({"n":2})");
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::truncated);
}

TEST_CASE("[DONE] ends the stream though the connection stays open", "[openai]") {
    auto out = hear(http_answer::events({says("a"), stop, "[DONE]"}).stays_open());
    CHECK_FALSE(out.failure);
    CHECK(out.events.back() == "[DONE]");
    CHECK(out.took == 0s);
    // What follows it is not read.
    out = hear(http_answer::events({says("a"), "[DONE]", says("b")}));
    CHECK(out.text == "a");
    CHECK_FALSE(out.failure);
}

TEST_CASE("an error event after HTTP 200 is classified by its type", "[openai]") {
    auto out = hear(recorded("mockllm.401stream"));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::authentication);
    CHECK(out.failure->code() == "invalid_api_key");
    CHECK(out.events.empty());
    CHECK(out.failure->attempts() == 1);

    out = hear(http_answer::events(
        {says("a"), R"({"error":{"type":"overloaded_error","message":"Overloaded"}})", says("b")}));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::overloaded);
    CHECK(out.text == "a");

    http_answer named(
        200, "event: error\ndata: {\"message\":\"full\",\"code\":\"rate_limit_exceeded\"}\n\n");
    out = hear(named.type("text/event-stream"));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::rate_limited);
    CHECK(out.failure->message() == "full");
}

TEST_CASE("an event named error is one, whatever it holds", "[openai]") {
    for (const std::string data : {"upstream timed out", "{half", "{}", "null"}) {
        INFO(data);
        http_answer script(
            200, "data: " + says("a") + "\n\nevent: error\ndata: " + data + "\n\ndata: [DONE]\n\n");
        auto out = hear(script.type("text/event-stream"));
        CHECK(out.text == "a");
        REQUIRE(out.failure);
        CHECK(out.failure->kind() == error_kind::server);
    }
}

TEST_CASE("plain JSON is understood although a stream was asked for", "[openai]") {
    auto out = hear(recorded("aimock.unary"));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "Hi there — naïve 🙂 text, streamed in small pieces.");
    CHECK(out.usage.output == 13);
    CHECK(out.events.back() == "[DONE]");
    out = hear(http_answer(recorded("aimock.unary")).in_pieces(1));
    CHECK(out.finish == finish_reason::stop);

    out = hear(http_answer(200, R"({"error":{"message":"x","type":"server_error"}})"));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::server);

    out = hear(http_answer(200, recorded_body("aimock.chaos_malformed")));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::protocol);
}

TEST_CASE("events under another content type are events", "[openai]") {
    const http_answer script = recorded("mockllm.stream");
    for (const char* type : {"", "text/plain", "application/json"}) {
        INFO(type);
        auto out = hear(http_answer(script).type(type));
        CHECK_FALSE(out.failure);
        CHECK(out.text == "héllo wörld this is a longer echo");
        out = hear(http_answer(script).type(type).in_pieces(1));
        CHECK(out.text == "héllo wörld this is a longer echo");
    }
}

TEST_CASE("a malformed chunk among valid ones is dropped whole", "[openai]") {
    auto out = hear(
        http_answer::events({says("a"), R"({"choices":[{"index":0,"delta":{"content":"half a tok)",
                             says("b"), stop, "[DONE]"}));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "ab");
    CHECK(out.events.size() == 4);
    // Bytes that are no UTF-8 are malformed too.
    out = hear(http_answer::events({says("a"), says("\xC3"), says("b"), stop}));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "ab");
}

TEST_CASE("a stream of nothing but malformed chunks is a failure", "[openai]") {
    auto out = hear(http_answer::events({"{no json", "[DONE]"}));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::protocol);
    CHECK(out.failure->message().find("{no json") != std::string::npos);
}

TEST_CASE("usage is read with and without choices", "[openai]") {
    const std::string usage = R"("usage":{"prompt_tokens":3,"completion_tokens":4})";
    auto out =
        hear(http_answer::events({says("a"), stop, R"({"choices":[],)" + usage + "}", "[DONE]"}));
    CHECK(out.usage.output == 4);
    CHECK(out.injected == 0);
    out = hear(http_answer::events(
        {says("a"), R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],)" + usage + "}",
         "[DONE]"}));
    CHECK(out.usage.input == 3);
    // Azure's first chunk has no choices, and no role comes at all.
    out = hear(http_answer::events(
        {R"({"choices":[],"id":"","prompt_filter_results":[]})", says("a"), stop, "[DONE]"}));
    CHECK_FALSE(out.failure);
    CHECK(out.text == "a");
}

TEST_CASE("usage that only a layer asked for is marked", "[openai]") {
    const std::string usage = R"({"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}})";
    call_options metered;
    metered.metered = true;
    auto out = hear(http_answer::events({says("a"), stop, usage, "[DONE]"}), metered);
    CHECK(out.injected == 1);
    CHECK(out.usage.output == 4);
    out = hear(http_answer::events({says("a"), stop, usage, "[DONE]"}), metered,
               R"({"stream_options":{"include_usage":true}})");
    CHECK(out.injected == 0);
}

TEST_CASE("comments and pings never surface", "[openai]") {
    http_answer pings(200, ": OPENROUTER PROCESSING\n\n:\n\nevent: ping\n\ndata: " + says("a") +
                               "\r\n\r\n: x\r\ndata:" + stop + "\r\r");
    auto out = hear(pings.type("text/event-stream; charset=utf-8"));
    CHECK_FALSE(out.failure);
    CHECK(out.events.size() == 2);
    CHECK(out.text == "a");
}

TEST_CASE("an event beyond the size limit ends the stream with memory bounded", "[openai]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer::events({says(std::string(10'000, 'x'))}).in_pieces(100));
    auto service = openai(http, openai_options().base_url("http://h/v1").no_key().max_body(1000));
    request ask("chat/completions", "{}");
    ask.options().streamed = true;
    auto answer = world.wait(service(ask));
    REQUIRE(answer);
    auto item = world.wait(answer->events().next());
    REQUIRE(item.failed());
    CHECK(item.error().kind() == error_kind::too_large);
}

TEST_CASE("a silent server is given up at the first event's limit", "[openai]") {
    call_options options;
    options.first_event = 5s;
    // It sends its head at once, as llama.cpp does, and then nothing.
    auto out = hear(http_answer::events({}).stays_open(), options);
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::timeout);
    CHECK(out.failure->code() == "first_event_limit");
    CHECK(out.took == 5s);
    // It sends nothing at all.
    out = hear(http_answer::events({}).after(1h), options);
    REQUIRE(out.failure);
    CHECK(out.failure->code() == "first_event_limit");
    // After the first event the limit is gone.
    out =
        hear(http_answer::events({says("a"), says("b"), says("c"), stop}).in_pieces(100).every(4s),
             options);
    CHECK_FALSE(out.failure);
    CHECK(out.text == "abc");
    CHECK(out.took > 10s);
}

namespace {
task<void> move_later(clock_handle time, duration when, limit::moving& what, duration to) {
    co_await sleep_for(time, when);
    what = (simulation::world::began + to).time_since_epoch().count();
}

/// A call with the limit `from` that somebody joins at `when`, whose limit is `to`.
heard hear_joined(http_answer script, duration from, duration when, duration to) {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(std::move(script));
    limit::moving shared{(simulation::world::began + from).time_since_epoch().count()};
    call_options options;
    options.first_event = 5s;
    options.deadline.until = time_point::min();
    options.deadline.extended = &shared;
    child<void> joining(world.clock(), move_later(world.clock(), when, shared, to));
    auto out = world.wait(listen(http, options, "{}"));
    return out;
}
}  // namespace

TEST_CASE("a call that is joined later has the later limit, whenever its events come", "[openai]") {
    auto slow = http_answer::events({says("a"), says("b"), says("c"), says("d"), stop})
                    .in_pieces(100)
                    .every(4s);
    // Joined between two events; the first one had long come.
    auto out = hear_joined(slow, 10s, 9s, 60s);
    CHECK_FALSE(out.failure);
    CHECK(out.text == "abcd");
    CHECK(out.took > 10s);
    out = hear_joined(slow, 10s, 9s, 15s);
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::timeout);
    CHECK(out.failure->code() != "first_event_limit");
    CHECK(out.took == 15s);
}

TEST_CASE("a later limit of those who join leaves the first event's limit alone", "[openai]") {
    const auto silent = http_answer::events({}).stays_open();
    auto out = hear_joined(silent, 3s, 1s, 60s);
    REQUIRE(out.failure);
    CHECK(out.failure->code() == "first_event_limit");
    CHECK(out.took == 5s);
    out = hear_joined(silent, 3s, 1s, 4s);
    REQUIRE(out.failure);
    CHECK(out.failure->code() != "first_event_limit");
    CHECK(out.took == 4s);
    out = hear_joined(silent, 5s, 1s, 5s);  // both at once: the whole call is over
    REQUIRE(out.failure);
    CHECK(out.failure->code() != "first_event_limit");
}

TEST_CASE("a stream that trickles is bounded by its total time", "[openai]") {
    auto out = hear(http_answer(recorded("aimock.stream")).in_pieces(1).every(1s));
    REQUIRE(out.failure);
    CHECK(out.failure->kind() == error_kind::timeout);
    CHECK(out.took == 10min);
    call_options options;
    options.idle = 2s;
    options.deadline.until = simulation::world::began + 20s;
    out = hear(http_answer(recorded("aimock.stream")).in_pieces(1).every(1s), options);
    REQUIRE(out.failure);
    CHECK(out.took == 20s);
    out = hear(http_answer::events({says("a")}).stays_open(), options);
    REQUIRE(out.failure);
    CHECK(out.took == 2s);
}

TEST_CASE("letting go of a stream frees the connection at once", "[openai]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer::events({says("a"), says("b")}).every(1s));
    auto service = openai(http, openai_options().base_url("http://h/v1").no_key());
    request ask("chat/completions", "{}");
    ask.options().streamed = true;
    {
        auto answer = world.wait(service(ask));
        REQUIRE(answer);
        CHECK(http.open() == 1);
        CHECK(world.elapsed() == 0s);  // the head did not wait for the first event
    }
    CHECK(http.open() == 0);
}

TEST_CASE("an event that came in one piece is not copied", "[openai]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer::events({says("a"), says("b"), stop, "[DONE]"}));
    auto service = openai(http, openai_options().base_url("http://h/v1").no_key());
    request ask("chat/completions", "{}");
    ask.options().streamed = true;
    auto answer = world.wait(service(ask));
    REQUIRE(answer);
    auto first = world.wait(answer->events().next());
    CHECK(answer->events().ready());
    auto second = world.wait(answer->events().next());
    REQUIRE(second);
    // Both lie in the transport's buffer, a frame apart.
    const auto between = second->data().data() - first->data().data();
    CHECK(between == static_cast<std::ptrdiff_t>(first->data().size() + std::strlen("\n\ndata: ")));
}

}  // namespace test_provider_openai_stream
