#include <llmkit/layer/monitor.hpp>

#include <nlohmann/json.hpp>

#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/stream.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/metrics/report_every.hpp>

#include "layer/layer_test.hpp"

namespace test_layer_monitor {

using namespace layer_test;

namespace {

const error lost(error_kind::connection_lost, "reset by peer");

struct upstream {
    simulation::world world;
    scripted provider{world.get_executor()};
    metrics figures;

    auto client() const { return pipeline(provider) | monitor(figures); }
    std::string ask(bool streamed) { return said(world, client(), ask_for(streamed)); }
};

price_table some_prices() {
    price_table prices;
    prices.add("scripted", {.input = 1.0, .output = 10.0});
    return prices;
}

/// Says of every answer how it came to be.
template <service Next>
class claiming {
public:
    claiming(Next next, provenance how) : next_(std::move(next)), how_(how) {}
    task<result<response>> operator()(request ask) {
        auto answer = co_await next_(std::move(ask));
        if (answer) answer->head().came_by = how_;
        co_return answer;
    }
    clock_handle clock() const { return next_.clock(); }

private:
    Next next_;
    provenance how_;
};
auto claims(provenance how) {
    return make_layer([how](auto next) { return claiming<decltype(next)>(std::move(next), how); });
}

}  // namespace

TEST_CASE("a call is counted with its model, tokens, time and bytes", "[monitor]") {
    for (const bool streamed : {false, true}) {
        upstream up;
        up.provider.always(says("a bb").after(300ms).first_after(100ms).every(50ms).usage(7, 2));
        up.ask(streamed);
        const auto seen = up.figures.snapshot();
        CHECK(seen.ended == 1);
        CHECK(seen.errors == 0);
        CHECK(seen.abandoned == 0);
        CHECK(seen.upstream == 1);
        CHECK(seen.retries == 0);
        CHECK(seen.bytes == 4);
        CHECK(seen.tokens.input == 7);
        CHECK(seen.tokens.output == 2);
        CHECK(seen.in_flight == 0);
        CHECK(seen.in_flight_max == 1);
        REQUIRE(seen.models.size() == 1);
        CHECK(seen.models[0].name == "scripted");
        // A text, a pause, the finish, the usage and the end: the injected usage is no gap.
        CHECK(seen.latency.max() == (streamed ? 600ms : 450ms));
        CHECK(seen.first_event.max() == (streamed ? 400ms : 450ms));
        CHECK(seen.between_events.count() == (streamed ? 3 : 0));
        if (streamed) CHECK(seen.between_events.max() == 100ms);
    }
}

TEST_CASE("errors are counted by kind, retries as attempts beyond the first", "[monitor]") {
    upstream up;
    up.provider.then(lost).then("hi").then(lost).then(lost).then(lost);
    auto client = pipeline(up.provider) | retry() | monitor(up.figures);
    said(up.world, client, ask_for(false));
    said(up.world, client, ask_for(true));
    const auto seen = up.figures.snapshot();
    CHECK(seen.ended == 2);
    CHECK(seen.errors == 1);
    CHECK(seen.upstream == 5);
    CHECK(seen.retries == 3);
    REQUIRE(seen.errors_by_kind.size() == 1);
    CHECK(seen.errors_by_kind[0].name == "connection lost");
    CHECK(seen.models.size() == 2);  // the failed call's model is the one that was asked
    CHECK(seen.models[0].name == "asked");
}

TEST_CASE("a stream that fails after content is cut, not an error", "[monitor]") {
    upstream up;
    up.provider.then(says("a b").fails_after(1, lost)).then(says("a b").fails_after(0, lost));
    up.ask(true);
    CHECK(up.figures.snapshot().cut == 1);
    CHECK(up.figures.snapshot().errors == 0);
    up.ask(true);
    CHECK(up.figures.snapshot().cut == 1);
    CHECK(up.figures.snapshot().errors == 1);
}

TEST_CASE("a caller who leaves is counted as abandoned, also before any answer", "[monitor]") {
    upstream up;
    up.provider.then(never_answers()).then(says("a b").every(1s));
    {
        child<std::string> call(up.world.clock(), ask_all(any_service(up.client()), ask_for(true)));
        up.world.run_for(1s);
        CHECK(up.figures.snapshot().in_flight == 1);
    }
    up.world.run_for(0s);
    CHECK(up.figures.snapshot().abandoned == 1);
    CHECK(up.figures.snapshot().in_flight == 0);
    {
        auto answer = up.world.wait(up.client()(ask_for(true)));
        up.world.wait(answer->events().next());
        CHECK(up.figures.snapshot().in_flight == 1);
    }
    CHECK(up.figures.snapshot().abandoned == 2);
    CHECK(up.figures.snapshot().in_flight == 0);
    CHECK(up.figures.snapshot().errors == 0);
}

TEST_CASE("a reader who leaves once the model has finished has not abandoned it", "[monitor]") {
    upstream up;
    up.provider.always("a");
    {
        auto answer = up.world.wait(up.client()(ask_for(true)));
        while (auto item = up.world.wait(answer->events().next())) {
            if (item->facts().finish != finish_reason::none) break;
        }
    }
    CHECK(up.figures.snapshot().ended == 1);
    CHECK(up.figures.snapshot().abandoned == 0);
}

TEST_CASE("usage asked for by the monitor is hidden, the caller's own is not", "[monitor]") {
    upstream up;
    up.provider.then(says("a").usage(3, 1)).then(says("a").usage(3, 1).usage_for_caller());
    CHECK(up.ask(true) == "a|||");
    CHECK(up.provider.last_request().options().metered);
    CHECK(up.ask(true) == "a||||");
    CHECK(up.figures.snapshot().tokens.total() == 8);

    up.provider.always(says("a").usage(3, 1));
    request asked = ask_for(true);
    asked.options().metered = true;  // as a layer further out does, which hides it itself
    CHECK(said(up.world, up.client(), asked) == "a||||");
    CHECK(up.ask(false) == "a|");
    CHECK_FALSE(up.provider.last_request().options().metered);
}

TEST_CASE("two monitors and a stream layer between them see the same usage", "[monitor]") {
    upstream up;
    metrics inner;
    up.provider.always(says("a b c").usage(3, 2));
    auto client = pipeline(up.provider) | monitor(inner) | stream() | monitor(up.figures);
    CHECK(said(up.world, client, ask_for(true)) == "a| b c|||");
    CHECK(inner.snapshot().tokens.total() == 5);
    CHECK(up.figures.snapshot().tokens.total() == 5);
}

TEST_CASE("cost is known for priced models only", "[monitor]") {
    for (const bool streamed : {false, true}) {
        upstream up;
        up.provider.then(says("a").usage(1'000'000, 100'000))
            .then(says("a").model("dear").usage(1, 1));
        auto client = pipeline(up.provider) | monitor(up.figures, some_prices());
        auto answer = up.world.wait(client(ask_for(streamed)));
        if (!streamed) CHECK(answer->head().came_by.cost == 2.0);
        up.world.wait(read_all(std::move(answer)));
        said(up.world, client, ask_for(streamed));
        CHECK(up.figures.snapshot().cost == Approx(2.0));
        CHECK(up.figures.snapshot().cost_known == 1);
        CHECK(up.figures.snapshot().cost_unknown == 1);
    }
}

TEST_CASE("hits and joins count as such and cost nothing", "[monitor]") {
    provenance hit;
    hit.cache_level = "memory";
    provenance join;
    join.role = dedup_role::joined;
    provenance miss;
    miss.missed = true;
    upstream up;
    up.provider.always(says("a").usage(10, 10));
    for (const provenance& how : {hit, join, miss}) {
        auto client = pipeline(up.provider) | claims(how) | monitor(up.figures, some_prices());
        said(up.world, client, ask_for(false));
        said(up.world, client, ask_for(true));
    }
    const auto seen = up.figures.snapshot();
    CHECK(seen.hits == 2);
    REQUIRE(seen.hits_by_level.size() == 1);
    CHECK(seen.hits_by_level[0].name == "memory");
    CHECK(seen.joins == 2);
    CHECK(seen.misses == 2);
    CHECK(seen.tokens_saved.total() == 80);
    CHECK(seen.tokens.total() == 40);
    CHECK(seen.cost == Approx(2 * (10 * 1.0 + 10 * 10.0) / 1e6));
}

TEST_CASE("a cut stream stays what its head said: joined, missed", "[monitor]") {
    provenance join;
    join.role = dedup_role::joined;
    provenance miss;
    miss.missed = true;
    upstream up;
    up.provider.always(says("a b").fails_after(1, lost));
    said(up.world, pipeline(up.provider) | claims(join) | monitor(up.figures), ask_for(true));
    CHECK(up.figures.snapshot().joins == 1);
    CHECK(up.figures.snapshot().upstream == 0);
    said(up.world, pipeline(up.provider) | claims(miss) | monitor(up.figures), ask_for(true));
    const auto seen = up.figures.snapshot();
    CHECK(seen.misses == 1);
    CHECK(seen.upstream == 1);
    CHECK(seen.cut == 2);
}

TEST_CASE("the monitor delays no event", "[monitor]") {
    upstream up;
    up.provider.always(says("a b").after(1s).first_after(2s).every(5s));
    auto answer = up.world.wait(up.client()(ask_for(true)));
    CHECK(up.world.elapsed() == 1s);
    for (const duration at : {3s, 8s}) {
        up.world.wait(answer->events().next());
        CHECK(up.world.elapsed() == at);
    }
}

TEST_CASE("each ended call is one line of JSON without secrets", "[monitor]") {
    upstream up;
    std::vector<std::string> lines;
    auto client = pipeline(up.provider) |
                  monitor(up.figures, some_prices()).log_to([&](std::string_view line) {
                      lines.emplace_back(line);
                  });
    up.provider.then(says("secret answer").after(250ms).usage(5, 2));
    up.provider.then(error(error_kind::rate_limited, "secret words of the provider")
                         .with_status(429)
                         .with_code("rate_limit_exceeded")
                         .with_request_id("req_1"));
    up.provider.then(says("a b").fails_after(1, lost)).then(never_answers());
    request ask("chat/completions", std::string(R"({"model":"m","messages":["secret prompt"]})"));
    said(up.world, client, ask);
    said(up.world, client, ask);
    ask.options().streamed = true;
    said(up.world, client, ask);
    {
        child<std::string> left(up.world.clock(), ask_all(any_service(client), ask));
        up.world.run_for(1s);
    }
    up.world.run_for(0s);

    REQUIRE(lines.size() == 4);
    for (const std::string& line : lines) {
        CHECK(line.find('\n') == std::string::npos);
        CHECK(line.find("secret") == std::string::npos);
    }
    const auto fine = nlohmann::json::parse(lines[0]);
    CHECK(fine["time"] == "2026-01-01T00:00:00.250Z");
    CHECK(fine["operation"] == "chat/completions");
    CHECK(fine["model"] == "scripted");
    CHECK(fine["outcome"] == "complete");
    CHECK(fine["latency_ms"] == 250.0);
    CHECK(fine["output_tokens"] == 2);
    CHECK(fine["cost"] == 25e-6);
    CHECK(fine["attempts"] == 1);
    const auto refused = nlohmann::json::parse(lines[1]);
    CHECK(refused["outcome"] == "failed");
    CHECK(refused["error"] == "rate limited");
    CHECK(refused["status"] == 429);
    CHECK(refused["code"] == "rate_limit_exceeded");
    CHECK(refused["request_id"] == "req_1");
    CHECK(refused["model"] == "m");
    CHECK_FALSE(refused.contains("cost"));
    CHECK(nlohmann::json::parse(lines[2])["outcome"] == "cut");
    CHECK(nlohmann::json::parse(lines[3])["outcome"] == "abandoned");
}

TEST_CASE("a log that throws harms nobody", "[monitor]") {
    upstream up;
    up.provider.always("a").then(lost);
    auto client = pipeline(up.provider) | monitor(up.figures).log_to([](std::string_view) {
        throw std::runtime_error("disk full");
    });
    CHECK(said(up.world, client, ask_for(false)) == "error: connection lost");
    CHECK(said(up.world, client, ask_for(true)) == "a|||");
    {
        auto dropped = up.world.wait(client(ask_for(true)));
    }
    CHECK(up.figures.snapshot().ended == 3);
}

TEST_CASE("the figures are reported every period until the handle goes", "[monitor]") {
    upstream up;
    up.provider.always("a");
    std::vector<std::pair<duration, std::uint64_t>> told;
    {
        auto reporting = report_every(up.figures, up.world.clock(), 10s, [&](const auto& now) {
            told.emplace_back(up.world.elapsed(), now.ended);
        });
        up.world.run_for(15s);
        up.ask(false);
        up.world.run_for(10s);
    }
    up.world.run();
    REQUIRE(told.size() == 2);
    CHECK(told[0] == std::pair<duration, std::uint64_t>(10s, 0));
    CHECK(told[1] == std::pair<duration, std::uint64_t>(20s, 1));
    CHECK(up.world.clock().timers().size() == 0);
    CHECK_THROWS_AS(report_every(up.figures, up.world.clock(), 0s, [](const auto&) {}),
                    std::invalid_argument);
}

TEST_CASE("a cancelled call is counted wherever it was cancelled", "[monitor]") {
    const auto script = says("a b").after(100ms).first_after(100ms).every(50ms);
    metrics figures;
    cancel_everywhere(
        [&](const scripted& provider) {
            return any_service(pipeline(provider) | timeout(10s) | retry() | stream() |
                               monitor(figures));
        },
        script, 350ms, 50ms);
    const auto seen = figures.snapshot();
    CHECK(seen.in_flight == 0);
    CHECK(seen.abandoned > 0);
    CHECK(seen.errors == 0);
    CHECK(seen.ended == 2 * 8 * 12);
}

}  // namespace test_layer_monitor
