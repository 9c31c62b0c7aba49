#include <llmkit/metrics/registry.hpp>

#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "test.hpp"

namespace test_metrics_registry {

using namespace std::chrono_literals;
using llmkit::call_record;
using llmkit::metrics;
using llmkit::named_count;
using llmkit::token_usage;

namespace {

using time_point = metrics::time_point;
constexpr time_point start = time_point(1h);

bool about(double seen, double wanted) { return std::abs(seen - wanted) < 1e-9; }

void one_call(const metrics& figures, const call_record& record, time_point at = start) {
    figures.call_started(at);
    figures.call_ended(record, at + record.latency);
}

call_record fine(std::string_view model = "gpt-4o-mini") {
    call_record record;
    record.model = model;
    record.latency = 2s;
    record.first_event = 300ms;
    record.attempts = 1;
    record.missed = true;
    record.usage = {100, 50, 20, 10, true};
    record.cost = 0.25;
    record.bytes = 1000;
    return record;
}

}  // namespace

TEST_CASE("metrics that saw nothing show nothing, and divide nothing by zero", "[metrics]") {
    const auto seen = metrics().snapshot();
    CHECK(seen.started == 0);
    CHECK(seen.ended == 0);
    CHECK(seen.window == 0ns);
    CHECK(seen.hit_rate() == 0);
    CHECK(seen.saved_rate() == 0);
    CHECK(seen.error_rate() == 0);
    CHECK(seen.calls_per_second() == 0);
    CHECK(seen.models.empty());
    CHECK(seen.errors_by_kind.empty());
    CHECK(seen.latency.count() == 0);
    CHECK(metrics().snapshot(start).window == 0ns);
}

TEST_CASE("a call that went well is counted with its time, tokens and cost", "[metrics]") {
    metrics figures;
    one_call(figures, fine());
    const auto seen = figures.snapshot();
    CHECK(seen.started == 1);
    CHECK(seen.ended == 1);
    CHECK(seen.errors == 0);
    CHECK(seen.upstream == 1);
    CHECK(seen.retries == 0);
    CHECK(seen.misses == 1);
    CHECK(seen.bytes == 1000);
    CHECK(seen.tokens == token_usage{100, 50, 20, 10, true});
    CHECK(seen.tokens_saved == token_usage{});
    CHECK(about(seen.cost, 0.25));
    CHECK(seen.cost_known == 1);
    CHECK(seen.cost_unknown == 0);
    CHECK(seen.latency.max() == 2s);
    CHECK(seen.first_event.max() == 300ms);
    CHECK(seen.window == 2s);
    CHECK(about(seen.calls_per_second(), 0.5));
    REQUIRE(seen.models.size() == 1);
    CHECK(seen.models[0].name == "gpt-4o-mini");
    CHECK(seen.models[0].ended == 1);
}

TEST_CASE("errors are counted by kind, cut streams and callers who left apart", "[metrics]") {
    metrics figures;
    for (int i = 0; i < 3; ++i) {
        auto record = fine();
        record.error = i == 0 ? "timeout" : "rate limited";
        record.attempts = 3;
        record.cost.reset();
        one_call(figures, record);
    }
    auto cut = fine();
    cut.error = "connection lost";
    cut.after_content = true;
    one_call(figures, cut);
    auto left = fine();
    left.error = "cancelled";
    left.abandoned = true;
    left.latency = 50s;
    one_call(figures, left);
    for (int i = 0; i < 5; ++i) one_call(figures, fine());

    const auto seen = figures.snapshot();
    CHECK(seen.ended == 10);
    CHECK(seen.errors == 3);
    CHECK(seen.cut == 1);
    CHECK(seen.abandoned == 1);
    CHECK(about(seen.error_rate(), 0.3));
    CHECK(seen.errors_by_kind == std::vector<named_count>{{"rate limited", 2}, {"timeout", 1}});
    CHECK(seen.upstream == 9 + 7);
    CHECK(seen.retries == 6);
    CHECK(seen.cost_unknown == 3);
    CHECK(about(seen.cost, 7 * 0.25));
    CHECK(seen.latency.count() == 9);
    CHECK(seen.latency.max() == 2s);
}

TEST_CASE("hits and joins save tokens, cost nothing, and count no attempts", "[metrics]") {
    metrics figures;
    auto hit = fine();
    hit.missed = false;
    hit.cost.reset();
    hit.cache_level = "memory";
    one_call(figures, hit);
    hit.stale = true;
    one_call(figures, hit);
    hit.cache_level = "redis";
    one_call(figures, hit);
    hit.cache_level = {};
    one_call(figures, hit);
    auto join = fine();
    join.joined = true;
    join.cost.reset();
    one_call(figures, join);
    one_call(figures, fine());

    const auto seen = figures.snapshot();
    CHECK(seen.hits == 4);
    CHECK(seen.stale_hits == 3);
    CHECK(seen.misses == 2);
    CHECK(seen.joins == 1);
    CHECK(about(seen.hit_rate(), 4.0 / 6));
    CHECK(about(seen.saved_rate(), 5.0 / 6));
    CHECK(seen.hits_by_level ==
          std::vector<named_count>{{"memory", 2}, {"cache", 1}, {"redis", 1}});
    CHECK(seen.upstream == 1);
    CHECK(seen.tokens.input == 100);
    CHECK(seen.tokens_saved == token_usage{500, 250, 100, 50, true});
    CHECK(about(seen.cost, 0.25));
    CHECK(seen.cost_unknown == 0);
    CHECK(seen.cost_known == 6);
}

TEST_CASE("a call that both joined and hit is a hit, so that nothing is counted twice",
          "[metrics]") {
    metrics figures;
    auto both = fine();
    both.cache_level = "memory";
    both.joined = true;
    one_call(figures, both);
    const auto seen = figures.snapshot();
    CHECK(seen.hits == 1);
    CHECK(seen.joins == 0);
    CHECK(seen.misses == 0);
    CHECK(about(seen.saved_rate(), 1));
}

TEST_CASE("unknown usage and unknown cost stay unknown", "[metrics]") {
    metrics figures;
    auto silent = fine();
    silent.usage = {};
    silent.cost.reset();
    one_call(figures, silent);
    const auto seen = figures.snapshot();
    CHECK(seen.usage_unknown == 1);
    CHECK_FALSE(seen.tokens.known);
    CHECK(seen.cost_known == 0);
    CHECK(seen.cost_unknown == 1);
}

TEST_CASE("calls in flight and their highest number are seen at once", "[metrics]") {
    metrics figures;
    const metrics copy = figures;
    for (int i = 0; i < 3; ++i) figures.call_started(start + i * 1s);
    CHECK(copy.snapshot().in_flight == 3);
    CHECK(copy.snapshot().started == 3);
    CHECK(copy.snapshot().ended == 0);
    figures.call_ended(fine(), start + 5s);
    figures.call_ended(fine(), start + 4s);
    figures.call_started(start + 6s);
    const auto seen = copy.snapshot();
    CHECK(seen.in_flight == 2);
    CHECK(seen.in_flight_max == 3);
    CHECK(seen.started == 4);
    CHECK(seen.window == 5s);
    CHECK(copy.snapshot(start + 20s).window == 20s);
    CHECK(about(copy.snapshot(start + 20s).calls_per_second(), 0.1));
    CHECK(copy.snapshot(start - 1s).window == 0s);
}

TEST_CASE("gaps between events are kept apart from the calls", "[metrics]") {
    metrics figures;
    figures.event_gap(20ms);
    figures.event_gap(40ms);
    const auto seen = figures.snapshot();
    CHECK(seen.between_events.count() == 2);
    CHECK(seen.between_events.mean() == 30ms);
    CHECK(seen.latency.count() == 0);
}

TEST_CASE("names beyond the bound count as other, and lose no call", "[metrics]") {
    metrics figures;
    for (int i = 0; i < 200; ++i) {
        auto record = fine();
        const std::string name = "name " + std::to_string(i);
        record.model = name;
        if (i % 2 == 0) {
            record.error = name;
        } else {
            record.cache_level = name;
        }
        one_call(figures, record);
    }
    const auto seen = figures.snapshot();
    CHECK(seen.ended == 200);
    REQUIRE(seen.models.size() == 65);
    CHECK(seen.models[0].name == "other");
    CHECK(seen.models[0].ended == 200 - 64);
    REQUIRE(seen.errors_by_kind.size() == 33);
    CHECK(seen.errors_by_kind[0] == named_count{"other", 100 - 32});
    REQUIRE(seen.hits_by_level.size() == 9);
    CHECK(seen.hits_by_level[0] == named_count{"other", 100 - 8});
}

TEST_CASE("a model's name is made fit for a log before it is kept", "[metrics]") {
    metrics figures;
    for (int i = 0; i < 3; ++i) {
        one_call(figures, fine("evil\nname\xff"));
        one_call(figures, fine(std::string(5000, 'x')));
        one_call(figures, fine(""));
    }
    const auto seen = figures.snapshot();
    REQUIRE(seen.models.size() == 3);
    CHECK(seen.models[0].name == "evil?name?");
    CHECK(seen.models[0].ended == 3);
    CHECK(seen.models[2].name == std::string(120, 'x'));
    CHECK(seen.models[1].name == "unnamed");
}

TEST_CASE("threads that record together lose nothing", "[metrics]") {
    metrics figures;
    auto work = [&](int offset) {
        for (int i = 0; i < 5'000; ++i) {
            const std::string model = "model " + std::to_string((i + offset) % 80);
            auto record = fine(model);
            if (i % 10 == 0) record.error = "timeout";
            one_call(figures, record, start + i * 1ms);
            figures.event_gap(10ms);
            if (i % 500 == 0) (void)figures.snapshot();
        }
    };
    std::thread other(work, 40);
    work(0);
    other.join();
    const auto seen = figures.snapshot();
    CHECK(seen.ended == 10'000);
    CHECK(seen.started == 10'000);
    CHECK(seen.in_flight == 0);
    CHECK(seen.in_flight_max <= 2);
    CHECK(seen.errors == 1'000);
    CHECK(seen.errors_by_kind == std::vector<named_count>{{"timeout", 1'000}});
    CHECK(seen.between_events.count() == 10'000);
    CHECK(seen.models.size() == 65);
    CHECK(seen.tokens.input == 1'000'000);
    std::uint64_t sum = 0;
    for (const auto& model : seen.models) sum += model.ended;
    CHECK(sum == 10'000);
}

}  // namespace test_metrics_registry
