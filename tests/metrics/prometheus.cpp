#include <llmkit/metrics/prometheus.hpp>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <llmkit/metrics/registry.hpp>

#include "metrics/texts.hpp"

namespace test_metrics_prometheus {

using metrics_test::check_has;
using metrics_test::has;
using namespace std::chrono_literals;

namespace {

std::string some(std::string_view model = "gpt-4o-mini", std::string_view prefix = "llmkit") {
    llmkit::metrics figures;
    llmkit::call_record record;
    record.model = model;
    record.latency = 1500ms;
    record.first_event = 300ms;
    record.attempts = 2;
    record.usage = {100, 50, 20, 10, true};
    record.cost = 0.25;
    for (int i = 0; i < 4; ++i) {
        if (i == 2) record.error = "timeout";
        if (i == 3) record.after_content = true;
        figures.call_started({});
        figures.call_ended(record, {});
    }
    record = {};
    record.model = model;
    record.cache_level = "memory";
    record.latency = 1ms;
    figures.call_started({});
    figures.call_ended(record, {});
    figures.event_gap(20ms);
    figures.event_gap(2h);
    return to_prometheus(figures.snapshot(), prefix);
}

}  // namespace

TEST_CASE("counters and gauges are exported with their labels", "[prometheus]") {
    const std::string text = some();
    check_has(text, {"# TYPE llmkit_calls_total counter\n",
                     "llmkit_calls_total{model=\"gpt-4o-mini\",outcome=\"ok\"} 3\n",
                     "llmkit_calls_total{model=\"gpt-4o-mini\",outcome=\"error\"} 1\n",
                     "llmkit_calls_total{model=\"gpt-4o-mini\",outcome=\"cut\"} 1\n",
                     "llmkit_errors_total{kind=\"timeout\"} 1\n",
                     "llmkit_cache_hits_total{level=\"memory\"} 1\n",
                     "llmkit_retries_total{model=\"gpt-4o-mini\"} 4\n",
                     "llmkit_cost_usd_total{model=\"gpt-4o-mini\"} 1\n",
                     "llmkit_tokens_total{model=\"gpt-4o-mini\",type=\"input\"} 400\n",
                     "# TYPE llmkit_in_flight gauge\n", "llmkit_in_flight 0\n",
                     "llmkit_in_flight_max 1\n"});
}

TEST_CASE("a histogram's buckets grow, end in +Inf, and agree with its count", "[prometheus]") {
    const std::string text = some();
    check_has(text, {"# TYPE llmkit_latency_seconds histogram\n",
                     "llmkit_latency_seconds_bucket{model=\"gpt-4o-mini\",le=\"1\"} 1\n",
                     "llmkit_latency_seconds_bucket{model=\"gpt-4o-mini\",le=\"2.5\"} 5\n",
                     "llmkit_latency_seconds_bucket{model=\"gpt-4o-mini\",le=\"+Inf\"} 5\n",
                     "llmkit_latency_seconds_sum{model=\"gpt-4o-mini\"} 6.001\n",
                     "llmkit_latency_seconds_count{model=\"gpt-4o-mini\"} 5\n",
                     "llmkit_between_events_seconds_bucket{le=\"600\"} 1\n",
                     "llmkit_between_events_seconds_bucket{le=\"+Inf\"} 2\n",
                     "llmkit_between_events_seconds_count 2\n"});
    CHECK_FALSE(has(text, "{}"));
}

TEST_CASE("every line is a comment or a sample of the family announced last", "[prometheus]") {
    std::istringstream lines(some());
    std::string line, family, type;
    std::set<std::string> families, samples;
    while (std::getline(lines, line)) {
        INFO(line);
        if (line.starts_with("# HELP ")) {
            family = line.substr(7, line.find(' ', 7) - 7);
            CHECK(families.insert(family).second);
        } else if (line.starts_with("# TYPE ")) {
            CHECK(line.starts_with("# TYPE " + family + " "));
            type = line.substr(line.rfind(' ') + 1);
        } else {
            const std::size_t value = line.rfind(' ');
            REQUIRE(value != std::string::npos);
            CHECK(samples.insert(line.substr(0, value)).second);
            char* end = nullptr;
            CHECK(std::strtod(line.c_str() + value + 1, &end) >= 0);
            CHECK(*end == '\0');
            const std::string name = line.substr(0, line.find_first_of("{ "));
            if (type == "histogram") {
                CHECK((name == family + "_bucket" || name == family + "_sum" ||
                       name == family + "_count"));
            } else {
                CHECK(name == family);
                CHECK(name.ends_with("_total") == (type == "counter"));
            }
        }
    }
    CHECK(families.size() > 15);
}

TEST_CASE("label values are escaped, and prefixes made fit", "[prometheus]") {
    using llmkit::detail::prometheus_writer;
    CHECK(prometheus_writer::label("a", "q\"b\\c\nd") == "a=\"q\\\"b\\\\c\\nd\"");
    CHECK(has(some("we\"ird\\model"), "{model=\"we\\\"ird\\\\model\",outcome"));
    CHECK(has(some("m", "my-app 2"), "\nmy_app_2_in_flight 0\n"));
    CHECK(has(some("m", "2x"), "\n_x_in_flight 0\n"));
    CHECK(has(some("m", ""), "\nin_flight 0\n"));
}

TEST_CASE("metrics that saw nothing export families without samples of models", "[prometheus]") {
    const std::string text = llmkit::to_prometheus({});
    check_has(text, {"llmkit_in_flight 0\n", "llmkit_between_events_seconds_count 0\n"});
    CHECK_FALSE(has(text, "model="));
}

}  // namespace test_metrics_prometheus
