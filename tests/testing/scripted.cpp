#include <llmkit/testing/scripted.hpp>

#include <atomic>
#include <string_view>
#include <vector>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_testing_scripted {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

request unary() { return request("chat/completions", std::string("{}")); }
request streamed() {
    request ask = unary();
    ask.options().streamed = true;
    return ask;
}

task<std::string> read_all(result<response> answer) {
    std::string text;
    if (!answer) {
        text = "error: " + std::string(to_string(answer.error().kind()));
        co_return text;
    }
    auto& events = answer->events();
    while (auto item = co_await events.next()) text += std::string(item->data()) + "|";
    if (events.failed()) text += "error: " + std::string(to_string(events.error().kind()));
    co_return text;
}
task<std::string> ask_all(scripted provider, request ask) {
    auto answer = co_await provider(std::move(ask));
    auto text = co_await read_all(std::move(answer));
    co_return text;
}

}  // namespace

TEST_CASE("a scripted service answers in the shape that was asked for", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then("Hello there you").then("Hello there you");

    CHECK(world.wait(ask_all(provider, unary())) == "Hello there you|");
    CHECK(world.wait(ask_all(provider, streamed())) == "Hello| there| you|||");
    CHECK(provider.counts().ended == 2);
    CHECK(provider.counts().in_flight == 0);
    CHECK(provider.requests().size() == 2);
}

TEST_CASE("a scripted answer keeps its times in both shapes", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    const auto slow = says("one two three").after(100ms).first_after(50ms).every(10ms);
    provider.then(slow).then(slow);

    CHECK(world.wait(ask_all(provider, unary())) == "one two three|");
    CHECK(world.elapsed() == 170ms);
    CHECK(world.wait(ask_all(provider, streamed())) == "one| two| three|||");
    CHECK(world.elapsed() == 170ms + 190ms);
}

TEST_CASE("an error may stand in place of the answer or anywhere in it", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    const error lost(error_kind::connection_lost, "reset by peer");
    provider.then(lost).then(says("a b c").fails_after(0, lost));
    provider.then(says("a b c").fails_after(2, lost)).then(says("a b c").fails_after(2, lost));
    provider.then(says("a b").opens_bare().fails_after(1, lost));

    CHECK(world.wait(ask_all(provider, streamed())) == "error: connection lost");
    CHECK(world.wait(ask_all(provider, streamed())) == "error: connection lost");
    CHECK(world.wait(ask_all(provider, streamed())) == "a| b|error: connection lost");
    CHECK(world.wait(ask_all(provider, unary())) == "error: connection lost");
    CHECK(world.wait(ask_all(provider, streamed())) == "|a|error: connection lost");
    CHECK(world.wait(ask_all(provider, unary())) == "error: configuration");
    CHECK(provider.counts().ended == 6);
}

TEST_CASE("every scripted call appends an attempt, failed or not", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.set_origin("east").then(error(error_kind::overloaded, "busy").with_status(529));
    provider.then(says("hi").fails_after(0, error(error_kind::server, "oops")));

    auto refused = world.wait(provider(unary()));
    REQUIRE(refused.error().attempts() == 1);
    CHECK(refused.error().came_by().attempts.newest().upstream() == "east");
    CHECK(refused.error().came_by().attempts.newest().failure() == error_kind::overloaded);
    CHECK(refused.error().came_by().attempts.newest().status() == 529);

    request again = streamed();
    again.options().attempts = refused.error().came_by().attempts;
    auto answer = world.wait(provider(again));
    REQUIRE(answer);
    CHECK(answer->head().came_by.attempts.size() == 2);
    world.wait(answer->events().peek());
    CHECK(answer->events().peeked()->error().attempts() == 2);
}

TEST_CASE("a scripted service honours deadline, first-event and idle limits", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());

    SECTION("silence runs into the deadline") {
        provider.then(never_answers());
        request ask = unary();
        ask.options().deadline.until = world.now() + 3s;
        auto answer = world.wait(provider(ask));
        CHECK(answer.error().kind() == error_kind::timeout);
        CHECK(answer.error().message() == "no complete answer within 3 s");
        CHECK(world.elapsed() == 3s);
    }
    SECTION("silence runs into the first-event limit") {
        provider.then(never_answers());
        request ask = unary();
        ask.options().first_event = 2s;
        auto answer = world.wait(provider(ask));
        CHECK(answer.error().message() == "no first event within 2 s");
        CHECK(world.elapsed() == 2s);
    }
    SECTION("a stalled stream runs into the idle limit") {
        provider.then(says("a b c").every(100ms).stalls_after(2));
        request ask = streamed();
        ask.options().idle = 1s;
        CHECK(world.wait(ask_all(provider, ask)) == "a| b|error: timeout");
        CHECK(world.elapsed() == 1100ms);
    }
    SECTION("a trickling stream runs into the deadline") {
        provider.then(says("a b c d e f").every(900ms));
        request ask = streamed();
        ask.options().idle = 1s;
        ask.options().deadline.until = world.now() + 2s;
        CHECK(world.wait(ask_all(provider, ask)) == "a| b| c|error: timeout");
        CHECK(world.elapsed() == 2s);
    }
    SECTION("the deadline frees a stream that nobody reads") {
        provider.then(says("a b c").every(1s));
        request ask = streamed();
        ask.options().deadline.until = world.now() + 1500ms;
        auto answer = world.wait(provider(ask));
        CHECK(provider.counts().in_flight == 1);
        world.run_for(2s);
        CHECK(provider.counts().in_flight == 0);
        CHECK(world.wait(read_all(std::move(answer))) == "error: timeout");
    }
    CHECK(provider.counts().in_flight == 0);
    CHECK(provider.counts().ended == 1);
}

TEST_CASE("closing the pipeline ends what a scripted service waits for", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(never_answers());
    auto client = pipeline(provider);
    child<result<response>> call(world.clock(), client(unary()));
    world.run_for(1s);
    CHECK_FALSE(world.wait(client.close(1s)));
    CHECK(world.wait(call.join()).error().kind() == error_kind::closed);
}

TEST_CASE("a caller who leaves is counted as cancelled, at once", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(never_answers()).then(says("a b").every(1s));
    {
        child<result<response>> call(world.clock(), provider(unary()));
        world.run_for(1s);
        CHECK(provider.counts().in_flight == 1);
    }
    world.run_for(0s);
    CHECK(provider.counts().in_flight == 0);
    CHECK(provider.counts().cancelled == 1);
    {
        auto answer = world.wait(provider(streamed()));
    }
    CHECK(provider.counts().cancelled == 2);
    CHECK(provider.counts().max_in_flight == 1);
}

TEST_CASE("usage comes in a stream only for those who want it", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always(says("hi").usage(3, 1));
    request ask = streamed();
    CHECK(world.wait(ask_all(provider, ask)) == "hi|||");
    ask.options().metered = true;
    auto answer = world.wait(provider(ask));
    bool injected = false;
    while (auto item = world.wait(answer->events().next())) {
        injected = injected || (item->facts().injected && item->facts().usage.total() == 4);
    }
    CHECK(injected);
}

TEST_CASE("the plain dialect folds and unfolds into the same text", "[scripted]") {
    const auto body = plain_dialect::body("Hello");
    auto events = speaks_plain().unfold(body);
    REQUIRE(events);
    auto folded = speaks_plain().fold(*events);
    REQUIRE(folded);
    CHECK(folded->data() == "Hello");
    CHECK(folded->facts() == body.facts());
    events->pop_back();
    CHECK_FALSE(speaks_plain().fold(*events));
}

TEST_CASE("what a scripted service was asked is kept, its calls are not", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always("hi");
    auto client = pipeline(provider);
    std::atomic<duration::rep> shared_limit{(world.now() + 5s).time_since_epoch().count()};
    for (const bool stream : {false, true}) {
        request ask = stream ? streamed() : unary();
        ask.options().deadline.until = time_point::min();
        ask.options().deadline.extended = &shared_limit;
        auto answer = world.wait(client(ask));
        CHECK(world.wait(read_all(std::move(answer))) == (stream ? "hi|||" : "hi|"));
        CHECK(client.calls_in_flight() == 0);
        CHECK(provider.last_request().options().streamed == stream);
        const limit kept = provider.last_request().options().deadline;
        CHECK_FALSE(kept.extended);
        CHECK(kept.until == time_point(duration(shared_limit.load())));
        world.run_for(2s);
    }
    CHECK(provider.times() == std::vector<duration>{0s, 2s});
}

TEST_CASE("a scripted stream says whether its next event has come", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(says("a b c").first_after(1s).every(1s).stalls_after(2));
    auto answer = world.wait(provider(streamed()));
    auto& events = answer->events();
    for (const std::string_view text : {"a", " b"}) {
        CHECK_FALSE(events.ready());
        world.run_for(1s);
        CHECK(events.ready());
        CHECK(world.wait(events.next())->data() == text);
    }
    world.run_for(1h);
    CHECK_FALSE(events.ready());
}

TEST_CASE("typed calls read a scripted answer", "[scripted]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always(says("Hello there").usage(5, 2));
    auto client = pipeline(provider);
    auto answer = world.wait(client.chat(chat_request("m").user("Hi")));
    REQUIRE(answer);
    CHECK(answer->text() == "Hello there");
    CHECK(answer->usage().total() == 7);
}

}  // namespace test_testing_scripted
