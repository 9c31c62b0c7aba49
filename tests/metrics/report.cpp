#include <llmkit/metrics/report.hpp>

#include <chrono>
#include <string>

#include <llmkit/metrics/registry.hpp>

#include "metrics/texts.hpp"

namespace test_metrics_report {

using metrics_test::check_has;
using metrics_test::has;
using namespace std::chrono_literals;

namespace {

llmkit::metrics_snapshot some() {
    llmkit::metrics figures;
    const llmkit::metrics::time_point start(1h);
    const auto end = [&](const llmkit::call_record& record) {
        figures.call_started(start);
        figures.call_ended(record, start + 10s);
    };
    llmkit::call_record record;
    record.model = "gpt-4o-mini";
    record.latency = 1500ms;
    record.first_event = 300ms;
    record.attempts = 2;
    record.missed = true;
    record.usage = {1'234'567, 50, 20, 10, true};
    record.cost = 0.25;
    record.bytes = 2'500;
    for (int i = 0; i < 3; ++i) end(record);
    record.cost.reset();
    record.error = "rate limited";
    end(record);
    record.error = {};
    record.missed = false;
    record.cache_level = "memory";
    record.model = "a-model-with-a-rather-long-name";
    end(record);
    figures.event_gap(20us);
    figures.call_started(start);
    return figures.snapshot();
}

}  // namespace

TEST_CASE("durations, sizes and counts are written with units that suit", "[report]") {
    using namespace llmkit::detail;
    CHECK(time_text(0ns) == "0");
    CHECK(time_text(7ns) == "7 ns");
    CHECK(time_text(20500ns) == "20.5 µs");
    CHECK(time_text(999'600ns) == "1.00 ms");
    CHECK(time_text(350ms) == "350 ms");
    CHECK(time_text(999'900us) == "1.00 s");
    CHECK(time_text(1234ms) == "1.23 s");
    CHECK(time_text(1h) == "3600 s");
    CHECK(bytes_text(999) == "999 B");
    CHECK(bytes_text(1500) == "1.5 kB");
    CHECK(bytes_text(2'500'000'000) == "2.50 GB");
    CHECK(grouped(std::uint64_t{0}) == "0");
    CHECK(grouped(std::uint64_t{999}) == "999");
    CHECK(grouped(std::uint64_t{1000}) == "1,000");
    CHECK(grouped(std::uint64_t{123456789}) == "123,456,789");
    CHECK(grouped(std::int64_t{-1234}) == "-1,234");
}

TEST_CASE("the table shows every figure with its name and unit", "[report]") {
    const std::string table = to_table(some());
    check_has(table, {"5 ended, 1 in flight (at most 1), 0.5 a second over 10.0 s",
                      "1 (20.0 %): rate limited 1", "8 attempts, 4 of them retries",
                      "1 (20.0 %): memory 1; 0 stale; 4 misses",
                      "4,938,268 in (80 cached), 200 out (40 reasoning)", "$0.7500 (unknown for 1)",
                      "12.5 kB", "between events", "a-model-with-a-rather-long-name"});
}

TEST_CASE("the rows of the table are aligned", "[report]") {
    const std::string table = to_table(some());
    INFO(table);
    const auto end_of = [&](const char* row, const char* cell) {
        const std::size_t line = table.find(row);
        REQUIRE(line != std::string::npos);
        std::size_t columns = 0;
        const std::size_t stop = table.find(cell, line);
        for (std::size_t i = line; i < stop; ++i) {
            columns += (static_cast<unsigned char>(table[i]) & 0xC0) != 0x80;
        }
        return columns + std::string(cell).size();
    };
    CHECK(end_of("latency ", "1.50 s\n") == end_of("first event ", "300 ms\n"));
    CHECK(end_of("gpt-4o-mini ", "$") == end_of("a-model-with-a", "$"));
}

TEST_CASE("an empty table is still a table", "[report]") {
    const std::string table = llmkit::to_table({});
    check_has(table, {"0 ended, 0 in flight", "$0.0000"});
    CHECK_FALSE(has(table, "nan"));
    CHECK_FALSE(has(table, "model "));
}

TEST_CASE("a cost that nobody knows is called unknown everywhere", "[report]") {
    llmkit::metrics figures;
    figures.call_started({});
    llmkit::call_record record;
    record.model = "m";
    figures.call_ended(record, {});
    const auto seen = figures.snapshot();
    CHECK(has(to_table(seen), "cost            unknown"));
    CHECK(has(to_line(seen), "cost_usd=unknown cost_unknown_calls=1"));
    CHECK(to_json(seen)["cost_usd"].is_null());
    CHECK(to_json(seen)["cost_unknown_calls"] == 1);
}

TEST_CASE("the JSON has every figure as a number", "[report]") {
    const auto json = to_json(some());
    CHECK(json["ended"] == 5);
    CHECK(json["started"] == 6);
    CHECK(json["in_flight"] == 1);
    CHECK(json["errors_by_kind"]["rate limited"] == 1);
    CHECK(json["hits_by_level"]["memory"] == 1);
    CHECK(json["hit_rate"] == 0.2);
    CHECK(json["cost_usd"] == 0.75);
    CHECK(json["cost_unknown_calls"] == 1);
    CHECK(json["tokens"]["input"] == 4 * 1'234'567);
    CHECK(json["tokens_saved"]["input"] == 1'234'567);
    CHECK(json["latency"]["max_s"] == 1.5);
    CHECK(json["latency"]["count"] == 5);
    CHECK(json["window_s"] == 10.0);
    CHECK(json["models"]["gpt-4o-mini"]["retries"] == 4);
    CHECK(nlohmann::json::parse(json.dump()) == json);
    CHECK(llmkit::to_json({})["errors_by_kind"].is_object());
    CHECK(llmkit::to_json({})["models"].is_object());
}

TEST_CASE("the log line is one line of names and values", "[report]") {
    const std::string line = to_line(some());
    INFO(line);
    CHECK_FALSE(has(line, "\n"));
    check_has(line,
              {"calls=5 per_second=0.5 in_flight=1 ", " error_rate=0.2000 ", " hit_rate=0.2000 ",
               " cost_usd=0.7500 cost_unknown_calls=1 latency_mean_s=1.5 "});
}

}  // namespace test_metrics_report
