#include <llmkit/layer/stream.hpp>

#include "layer/layer_test.hpp"

namespace test_layer_stream {

using namespace layer_test;

namespace {

struct upstream {
    simulation::world world;
    scripted provider{world.get_executor()};

    std::string ask(const stream_policy& policy, bool streamed = true) {
        return said(world, pipeline(provider) | stream(policy), ask_for(streamed));
    }
};

/// The texts with the time at which each came, for a reader who is busy with each for `pause`.
task<std::vector<std::pair<std::string, duration>>> timed(any_service client, request ask,
                                                          duration pause = {}) {
    std::vector<std::pair<std::string, duration>> seen;
    const time_point began = client.clock().now();
    auto answer = co_await client(std::move(ask));
    while (auto item = co_await answer->events().next()) {
        if (!item->data().empty()) {
            seen.emplace_back(std::string(item->data()), client.clock().now() - began);
        }
        if (pause > 0s) co_await sleep_for(client.clock(), pause);
    }
    co_return seen;
}

event framed(std::string_view before, std::string_view text, std::string_view behind) {
    event_facts facts;
    facts.content = true;
    facts.text_at = static_cast<std::uint32_t>(before.size());
    facts.text_size = static_cast<std::uint32_t>(text.size());
    return event(bytes(fmt::format("{}{}{}", before, text, behind)), facts);
}

/// Its streams never say that an event is ready.
class streams_of_few_words {
public:
    explicit streams_of_few_words(const scripted& inner) : inner_(inner) {}
    task<result<response>> operator()(request ask) const { return call(inner_, std::move(ask)); }
    clock_handle clock() const { return inner_.clock(); }

private:
    class pulled final : public stream_source {
    public:
        explicit pulled(event_stream from) : from_(std::move(from)) {}
        task<stream_item> next() override { return from_.next(); }

    private:
        event_stream from_;
    };
    static task<result<response>> call(scripted inner, request ask) {
        auto answer = co_await inner(std::move(ask));
        auto mute = std::make_unique<pulled>(std::move(answer->events()));
        answer->events() = event_stream(std::move(mute));
        co_return answer;
    }
    scripted inner_;
};

}  // namespace

TEST_CASE("text that has already arrived is put together, but for the first", "[stream]") {
    upstream up;
    up.provider.always("a b c d e");
    CHECK(up.ask({}) == "a| b c d e|||");
    CHECK(up.ask({.max_events = 2}) == "a| b c| d e|||");
    CHECK(up.ask({.max_bytes = 5}) == "a| b c d| e|||");
    CHECK(up.ask({.max_events = 1}) == "a| b| c| d| e|||");
    CHECK(up.world.elapsed() == 0s);
}

TEST_CASE("a unary answer passes unchanged", "[stream]") {
    upstream up;
    up.provider.always("a b c");
    CHECK(up.ask({.within = 1s}, false) == "a b c|");
    CHECK(up.world.elapsed() == 0s);

    int told = 0;
    const auto client = pipeline(up.provider) | stream().on_progress([&](const auto&) { ++told; });
    CHECK(said(up.world, client, ask_for(false)) == "a b c|");
    CHECK(told == 0);
}

TEST_CASE("text that comes faster than the span is put together", "[stream]") {
    upstream up;
    up.provider.always(says("a b c d e f g h i").first_after(100ms).every(10ms));
    const auto client = any_service(pipeline(up.provider) | stream({.within = 40ms}));
    const auto seen = up.world.wait(timed(client, ask_for(true)));
    REQUIRE(seen.size() == 3);
    CHECK(seen[0] == std::pair<std::string, duration>("a", 100ms));
    CHECK(seen[1] == std::pair<std::string, duration>(" b c d e", 140ms));
    CHECK(seen[2] == std::pair<std::string, duration>(" f g h i", 180ms));
}

TEST_CASE("text that comes slower than the span is not held up", "[stream]") {
    upstream up;
    up.provider.always(says("a b c").first_after(100ms).every(50ms));
    const auto client = any_service(pipeline(up.provider) | stream({.within = 40ms}));
    for (const duration busy : {0ms, 30ms}) {
        const auto seen = up.world.wait(timed(client, ask_for(true), busy));
        REQUIRE(seen.size() == 3);
        CHECK(seen[1].second == 150ms);
        CHECK(seen[2].second == 200ms);
    }
}

TEST_CASE("a source that never says what is ready is soon left in peace", "[stream]") {
    upstream up;
    std::string words;
    for (int i = 0; i < 100; ++i) words += "x ";
    up.provider.always(says(words).every(1ms));
    const auto client =
        any_service(pipeline(streams_of_few_words(up.provider)) | stream({.within = 40ms}));
    const auto seen = up.world.wait(timed(client, ask_for(true)));
    CHECK(seen.size() == 101);
    CHECK(seen.back().second <= 4 * 40ms + 10ms);
}

TEST_CASE("only text is joined, in order, and nothing else is lost", "[stream]") {
    upstream up;
    event_facts call;
    call.tool_call = true;
    std::vector<event> events = {
        plain_dialect::delta("a"),         plain_dialect::delta("b"),
        plain_dialect::delta("c"),         event(bytes::literal("{}"), call),
        event(bytes::literal("{}"), call), plain_dialect::delta("d"),
        plain_dialect::delta("e"),         plain_dialect::last()};
    up.provider.always(sends(events));
    CHECK(up.ask({}) == "a|bc|{}|{}|de||");
}

TEST_CASE("what came before a failure reaches the caller first", "[stream]") {
    upstream up;
    up.provider.always(says("a b c d").fails_after(3, error(error_kind::connection_lost, "reset")));
    CHECK(up.ask({}) == "a| b c|error: connection lost");
}

TEST_CASE("texts are joined only in the same frame, byte by byte", "[stream]") {
    const event a = framed(R"({"i":0,"t":")", R"(x\n)", R"("})");
    const event b = framed(R"({"i":0,"t":")", "y", R"("})");
    CHECK(detail::same_but_text(a, b));
    CHECK_FALSE(detail::same_but_text(a, framed(R"({"i":1,"t":")", "y", R"("})")));
    CHECK_FALSE(detail::same_but_text(a, framed(R"({"i":0,"t":")", "y", R"(","p":"xx"})")));
    const std::vector<event> both = {a, b};
    const event joined = detail::join_texts(both);
    CHECK(joined.data() == R"({"i":0,"t":"x\ny"})");
    CHECK(joined.facts().text_size == 4);
    CHECK(joined.facts().text_at == a.facts().text_at);
}

TEST_CASE("progress tells events, bytes and time, and the end once", "[stream]") {
    upstream up;
    up.provider.always(says("aa bb").after(1s).every(1s).usage(1, 2));
    std::vector<stream_progress> told;
    const auto client =
        pipeline(up.provider) | stream().on_progress([&](const auto& p) { told.push_back(p); });
    said(up.world, client, ask_for(true));
    REQUIRE(told.size() == 5);
    CHECK(told[0].events == 1);
    CHECK(told[0].bytes == 2);
    CHECK(told[0].elapsed == 1s);
    CHECK(told[1].bytes == 5);
    CHECK(told[1].elapsed == 2s);
    CHECK_FALSE(told[3].ended);
    CHECK(told[4].ended == outcome::complete);

    told.clear();
    {
        auto dropped = up.world.wait(client(ask_for(true)));
    }
    REQUIRE(told.size() == 1);
    CHECK(told[0].ended == outcome::abandoned);
}

TEST_CASE("injected events end here unless a layer further out asked for them", "[stream]") {
    upstream up;
    up.provider.always(says("a").usage(1, 2).head([](response_head&) {}));
    const auto injected = [&](bool metered) {
        // The inner metering layer, in short.
        auto metering = make_layer([](auto next) {
            struct asking {
                decltype(next) inner;
                task<result<response>> operator()(request ask) {
                    ask.options().metered = true;
                    return inner(std::move(ask));
                }
                clock_handle clock() const { return inner.clock(); }
            };
            return asking{std::move(next)};
        });
        request ask = ask_for(true);
        ask.options().metered = metered;
        return said(up.world, pipeline(up.provider) | metering | stream(), ask);
    };
    CHECK(injected(false) == "a|||");
    CHECK(injected(true) == "a||||");
}

TEST_CASE("a coalesced stream stays within the call's deadline", "[stream]") {
    upstream up;
    up.provider.always(says("a b c d e f").every(10ms).stalls_after(5));
    request ask = ask_for(true);
    ask.options().deadline.until = up.world.now() + 25ms;
    CHECK(said(up.world, pipeline(up.provider) | stream({.within = 1h}), ask) ==
          "a| b| c|error: timeout");
    CHECK(up.world.elapsed() == 25ms);
}

TEST_CASE("cancelling a shaped stream frees everything at once", "[stream]") {
    cancel_everywhere(
        [](const scripted& provider) {
            return any_service(pipeline(provider) | stream({.within = 30ms}));
        },
        says("a b c d e f g").after(100ms).first_after(100ms).every(10ms), 280ms, 10ms);
}

}  // namespace test_layer_stream
