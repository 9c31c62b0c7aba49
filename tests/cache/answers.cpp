#include <llmkit/cache/answers.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>
#include <llmkit/testing/scripted_transport.hpp>

#include "cache/lab_store.hpp"
#include "layer/layer_test.hpp"

namespace test_cache_answers {

using namespace layer_test;
using llmkit_test::lab_store;
using client_type = pipeline<any_service>;

namespace {

/// An answer's events and when each came, counted from the call; then how it ended.
struct timed {
    timed() {}
    std::vector<std::pair<std::string, duration>> events;
    std::optional<error> failed;
    std::string level;
};

task<timed> time_all(client_type client, request ask) {
    timed seen;
    const time_point began = client.clock().now();
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        seen.failed = answer.error();
        seen.level = answer.error().came_by().cache_level;
        co_return seen;
    }
    seen.level = answer->head().came_by.cache_level;
    auto& events = answer->events();
    while (auto item = co_await events.next())
        seen.events.emplace_back(item->data(), client.clock().now() - began);
    if (events.failed()) seen.failed = events.error();
    co_return seen;
}

struct bed {
    explicit bed(cache_policy policy)
        : provider(world.get_executor()),
          client(any_service(pipeline(provider) | dedup() | cache(store, policy))) {}
    timed ask(request what) { return world.wait(time_all(client, std::move(what))); }
    std::size_t upstream() const { return provider.counts().begun; }

    simulation::world world;
    memory_cache store{100};
    scripted provider;
    client_type client;
};

request with_mode(cache_mode mode) {
    request ask = ask_for(false);
    ask.options().cache = mode;
    return ask;
}

/// A streamed answer that calls two tools, as OpenAI writes it, with its usage.
http_answer calls_two_tools() {
    const auto chunk = [](const std::string& delta, const std::string& finish) {
        return R"({"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1",)"
               R"("choices":[{"index":0,"delta":)" +
               delta + R"(,"finish_reason":)" + finish + "}]}";
    };
    const auto call = [&](const std::string& what) {
        return chunk(R"({"tool_calls":[)" + what + "]}", "null");
    };
    const std::vector<std::string> all{
        chunk(R"({"role":"assistant","content":null})", "null"),
        call(R"({"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}})"),
        call(R"({"index":0,"function":{"arguments":"{\"x\":"}})"),
        call(R"({"index":0,"function":{"arguments":"1}"}})"),
        call(R"({"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}})"),
        chunk("{}", R"("tool_calls")"),
        R"({"id":"c1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[],)"
        R"("usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}})",
        "[DONE]"};
    return http_answer::events(all);
}

/// The tool calls of a whole answer, and its usage.
task<std::string> tools_of(any_service client, bool streamed) {
    request ask("chat/completions", R"({"model":"m"})");
    ask.options().streamed = streamed;
    ask.options().metered = streamed;
    auto answer = co_await client(std::move(ask));
    std::vector<event> events;
    auto& from = answer.value().events();
    while (auto item = co_await from.next()) events.push_back(*item);
    std::string body(events.front().data());
    if (streamed) body = openai_dialect().fold(events).value().data();
    const auto json = nlohmann::json::parse(body);
    std::string text = answer->head().came_by.cache_level.empty() ? "" : "hit: ";
    for (const auto& one : json["choices"][0]["message"]["tool_calls"]) {
        text += one["id"].get<std::string>() + " " + one["function"]["name"].get<std::string>();
        text += one["function"]["arguments"].get<std::string>() + ", ";
    }
    co_return text + json["choices"][0]["finish_reason"].get<std::string>() + ", " +
        std::to_string(json["usage"]["prompt_tokens"].get<int>()) + " and " +
        std::to_string(json["usage"]["completion_tokens"].get<int>());
}

}  // namespace

TEST_CASE("tool calls and usage come whole in either shape, whichever was stored", "[cache]") {
    simulation::world world;
    scripted_transport http(world.get_executor());
    http.then(calls_two_tools());
    const auto provider = openai(http, openai_options().base_url("http://h/v1").key("k"));
    const any_service client{pipeline(provider) | cache(memory_cache(10))};
    const std::string all = "a f{\"x\":1}, b g{}, tool_calls, 9 and 4";
    CHECK(world.wait(tools_of(client, true)) == all);
    CHECK(world.wait(tools_of(client, true)) == "hit: " + all);
    CHECK(world.wait(tools_of(client, false)) == "hit: " + all);

    // What was stored whole serves who wants a stream.
    request ask("chat/completions", R"({"model":"m"})");
    auto whole = world.wait(client(std::move(ask)));
    REQUIRE(whole);
    auto body = world.wait(whole->events().next());
    REQUIRE(body);
    scripted_transport other(world.get_executor());
    other.then(http_answer(200, std::string(body->data())));
    const auto again = openai(other, openai_options().base_url("http://h/v1").key("k"));
    const any_service second{pipeline(again) | cache(memory_cache(10))};
    CHECK(world.wait(tools_of(second, false)) == all);
    CHECK(world.wait(tools_of(second, true)) == "hit: " + all);
}

TEST_CASE("a refusal is given again for its time, as one from the cache", "[negative]") {
    const bool streamed = GENERATE(false, true);
    bed b({.negative_ttl = 10s});
    b.provider
        .then(fails(error(error_kind::context_length, "too long")
                        .with_status(400)
                        .with_code("context_length_exceeded")
                        .with_request_id("req_1")))
        .always(says("now it fits"));
    const timed first = b.ask(ask_for(streamed));
    CHECK(first.level.empty());
    b.world.run_for(9s);
    const timed again = b.ask(ask_for(!streamed));
    REQUIRE(again.failed);
    CHECK(again.failed->kind() == error_kind::context_length);
    CHECK(again.failed->message() == "too long");
    CHECK(again.failed->status() == 400);
    CHECK(again.failed->code() == "context_length_exceeded");
    CHECK(again.failed->request_id() == "req_1");
    CHECK(again.level == "memory");
    CHECK(again.failed->attempts() == 0);
    CHECK(again.failed->came_by().cost == 0.0);
    CHECK_FALSE(again.failed->came_by().missed);
    CHECK(b.ask(with_mode(cache_mode::only_if_cached)).failed->kind() ==
          error_kind::context_length);
    CHECK(b.upstream() == 1);
    CHECK_FALSE(b.ask(with_mode(cache_mode::bypass)).failed);
    b.world.run_for(1s);
    CHECK_FALSE(b.ask(ask_for(streamed)).failed);
    CHECK(b.upstream() == 3);
}

TEST_CASE("no error is kept but those that were chosen", "[negative]") {
    for (std::size_t i = 0; i < error_kind_count; ++i) {
        const auto kind = static_cast<error_kind>(i);
        const auto kept = [&](cache_policy policy) {
            bed b(policy);
            b.provider.always(fails(error(kind, "no")));
            b.ask(ask_for(false));
            b.ask(ask_for(false));
            return b.upstream() == 1;
        };
        const bool by_default =
            kind == error_kind::invalid_request || kind == error_kind::context_length;
        CHECK_FALSE(kept({}));
        CHECK(kept({.negative_ttl = 1s}) == by_default);
        CHECK(kept({.negative_ttl = 1s, .negative = kept_errors::not_found}) ==
              (kind == error_kind::not_found));
    }
}

TEST_CASE("an error that the provider says will pass is not kept", "[negative]") {
    const error no(error_kind::invalid_request, "no");
    for (const error& why : {no.with_retry_after(1s), no.with_should_retry(true)}) {
        bed b({.negative_ttl = 1h});
        b.provider.always(fails(why));
        b.ask(ask_for(false));
        b.ask(ask_for(false));
        CHECK(b.upstream() == 2);
    }
}

TEST_CASE("a refusal does not take an answer's place", "[negative]") {
    bed b({.ttl = 10s, .stale_while_revalidate = 1h, .negative_ttl = 1h});
    b.provider.then(says("old")).then(fails(error_kind::invalid_request)).then(says("new"));
    b.ask(ask_for(false));
    CHECK(b.ask(with_mode(cache_mode::refresh)).failed);
    CHECK(b.ask(ask_for(false)).events.front().first == "old");
    b.provider.then(fails(error_kind::invalid_request)).then(says("newer"));
    b.world.run_for(20s);
    CHECK(b.ask(ask_for(false)).events.front().first == "old");  // and is renewed beside it
    b.world.run_for(1s);
    CHECK(b.ask(ask_for(false)).events.front().first == "new");
}

TEST_CASE("of those who share a refusal one stores it", "[negative]") {
    simulation::world world;
    lab_store store(world.clock());
    scripted provider(world.get_executor());
    provider.always(fails(error_kind::invalid_request).after(1s));
    const client_type client{
        any_service(pipeline(provider) | dedup() | cache(store, {.negative_ttl = 1h}))};
    std::vector<std::unique_ptr<child<timed>>> callers;
    for (int i = 0; i < 5; ++i) {
        callers.push_back(
            std::make_unique<child<timed>>(world.clock(), time_all(client, ask_for(false))));
    }
    world.run();
    CHECK(store->puts == 1);
    CHECK(world.wait(time_all(client, ask_for(true))).level == "lab");
    CHECK(provider.counts().begun == 1);
}

TEST_CASE("a stored stream comes at once, or as it came", "[cadence]") {
    bed quick({});
    quick.provider.always(says("a b c").after(1s).every(200ms));
    quick.ask(ask_for(true));
    for (const auto& [text, when] : quick.ask(ask_for(true)).events) CHECK(when == 0s);

    bed b({.replay = replay_pace::recorded});
    b.provider.always(says("a b c").after(1s).every(200ms));
    const timed first = b.ask(ask_for(true));
    REQUIRE(first.events.size() == 5);
    CHECK(first.events[0].second == 1s);
    CHECK(first.events[3].second == 1600ms);
    b.world.run_for(1min);
    const timed again = b.ask(ask_for(true));
    CHECK(again.level == "memory");
    CHECK(again.events == first.events);
    const timed whole = b.ask(ask_for(false));
    REQUIRE(whole.events.size() == 1);
    CHECK(whole.events.front().second == 0s);
    CHECK(b.upstream() == 1);
}

TEST_CASE("the recorded cadence can be quickened, and long pauses cut", "[cadence]") {
    const auto times = [](cache_policy policy) {
        policy.replay = replay_pace::recorded;
        bed b(policy);
        b.provider.always(says("a b").after(20s).every(200ms));
        b.ask(ask_for(true));
        std::vector<duration> seen;
        for (const auto& [text, when] : b.ask(ask_for(true)).events) seen.push_back(when);
        return seen;
    };
    using list = std::vector<duration>;
    CHECK(times({}) == list{5s, 5200ms, 5400ms, 5600ms});
    CHECK(times({.replay_speed = 2, .replay_gap = 1min}) == list{10s, 10100ms, 10200ms, 10300ms});
    CHECK(times({.replay_gap = 100ms}) == list{100ms, 200ms, 300ms, 400ms});
    CHECK(times({.replay_speed = 0.5, .replay_gap = 1min}) == list{40s, 40400ms, 40800ms, 41200ms});
    const list at_once(4);
    CHECK(times({.replay_gap = 0s}) == at_once);
    CHECK(times({.replay_gap = -1s}) == at_once);
    CHECK(times({.replay_speed = 0}) == at_once);
    CHECK(times({.replay_speed = -1}) == at_once);
    CHECK(times({.replay_speed = std::numeric_limits<double>::quiet_NaN()}) == at_once);
    CHECK(times({.replay_speed = std::numeric_limits<double>::infinity()}) == at_once);
    CHECK(times({.replay_speed = 1e-300, .replay_gap = 1s}) == list{1s, 2s, 3s, 4s});
}

TEST_CASE("a reader who takes what is at hand gets no event before its time", "[cadence]") {
    bed b({.replay = replay_pace::recorded});
    b.provider.always(says("a b c").after(1s).every(200ms));
    b.ask(ask_for(true));
    auto answer = b.world.wait(b.client(ask_for(true)));
    REQUIRE(answer);
    event_stream& events = answer->events();
    const auto at_hand = [&] {
        std::string text;
        stream_item item;
        while (!events.ended() && events.try_next(item)) text += std::string(item->data()) + "|";
        return text;
    };
    CHECK_FALSE(events.ready());
    CHECK(at_hand().empty());
    b.world.run_for(999ms);
    CHECK(at_hand().empty());
    b.world.run_for(1ms);
    const std::string first = at_hand();
    CHECK(std::count(first.begin(), first.end(), '|') == 1);
    CHECK(at_hand().empty());
    b.world.run_for(450ms);  // a reader who was away
    const std::string two = at_hand();
    CHECK(std::count(two.begin(), two.end(), '|') == 2);
    b.world.run_for(1h);
    at_hand();
    CHECK(events.ended());
    CHECK_FALSE(events.failed());
}

TEST_CASE("a slow replay keeps to its caller's limit and to the pipeline's end", "[cadence]") {
    bed b({.replay = replay_pace::recorded});
    b.provider.always(says("a b c").after(1s).every(1s));
    b.ask(ask_for(true));
    request hasty = ask_for(true);
    hasty.options().timeout = 2500ms;
    const timed cut = b.ask(hasty);
    CHECK(cut.events.size() == 2);
    REQUIRE(cut.failed);
    CHECK(cut.failed->kind() == error_kind::timeout);

    child<timed> reader(b.world.clock(), time_all(b.client, ask_for(true)));
    b.world.run_for(1500ms);
    const time_point asked = b.world.now();
    CHECK_FALSE(b.world.wait(b.client.close(100ms)));
    CHECK(b.world.now() - asked == 100ms);
    b.world.run_for(0s);
    CHECK(reader.finished());
}

TEST_CASE("a slow replay may be cancelled at any moment", "[cadence]") {
    for (duration at{}; at <= 800ms; at += 100ms) {
        for (int turns = 0; turns < 6; ++turns) {
            bed b({.replay = replay_pace::recorded});
            b.provider.always(says("a b").after(200ms).every(200ms));
            b.ask(ask_for(true));
            cancelled_at(b.world, any_service(b.client), ask_for(true), at, turns);
            CHECK(b.client.calls_in_flight() == 0);
            b.world.run();
            CHECK(b.world.clock().timers().size() == 0);
            CHECK(b.upstream() == 1);
        }
    }
}

TEST_CASE("what is hidden from a reader delays the next event by its own pause", "[cadence]") {
    bed b({.replay = replay_pace::recorded});
    b.provider.always(says("a b").usage(3, 2).after(1s).every(200ms));
    const timed first = b.ask(ask_for(true));
    CHECK(b.ask(ask_for(true)).events == first.events);
    request metered = ask_for(true);
    metered.options().metered = true;
    CHECK(b.ask(metered).events.size() == first.events.size() + 1);
}

}  // namespace test_cache_answers
