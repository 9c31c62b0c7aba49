// llmkit/metrics/prometheus.hpp: the figures in the text format that Prometheus scrapes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <llmkit/metrics/snapshot.hpp>

namespace llmkit {

namespace detail {

/// Writes metric families in the Prometheus text format 0.0.4.
class prometheus_writer {
public:
    explicit prometheus_writer(std::string_view prefix) : prefix_(prefix) {}

    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_.clear();
        for (const char c :
             prefix_.empty() ? std::string(name) : fmt::format("{}_{}", prefix_, name)) {
            const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
            name_ += letter || (c >= '0' && c <= '9' && !name_.empty()) ? c : '_';
        }
        text_ += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name_, help, type);
    }

    template <class Number>
    void sample(const std::string& labels, Number value, std::string_view suffix = {}) {
        text_ += name_;
        text_ += suffix;
        if (!labels.empty()) text_ += fmt::format("{{{}}}", labels);
        text_ += fmt::format(" {}\n", value);
    }

    void histogram(const std::string& labels, const histogram_snapshot& times) {
        // Limits in seconds: from a gap between two events to the longest answer.
        constexpr std::string_view limits[] = {"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
                                               "0.1",   "0.25",   "0.5",   "1",    "2.5",   "5",
                                               "10",    "30",     "60",    "120",  "300",   "600"};
        constexpr std::int64_t microseconds[] = {
            1'000,      2'500,      5'000,      10'000,      25'000,      50'000,
            100'000,    250'000,    500'000,    1'000'000,   2'500'000,   5'000'000,
            10'000'000, 30'000'000, 60'000'000, 120'000'000, 300'000'000, 600'000'000};
        static_assert(std::extent_v<decltype(limits)> == std::extent_v<decltype(microseconds)>);
        const std::string more = labels.empty() ? "" : labels + ",";
        for (std::size_t i = 0; i < std::extent_v<decltype(limits)>; ++i) {
            sample(fmt::format("{}le=\"{}\"", more, limits[i]),
                   times.count_within(std::chrono::microseconds(microseconds[i])), "_bucket");
        }
        sample(more + "le=\"+Inf\"", times.count(), "_bucket");
        sample(labels, std::chrono::duration<double>(times.sum()).count(), "_sum");
        sample(labels, times.count(), "_count");
    }

    static std::string label(std::string_view name, std::string_view value) {
        std::string text = fmt::format("{}=\"", name);
        for (const char c : value) {
            if (c == '\\' || c == '"') text += '\\';
            if (c == '\n') {
                text += "\\n";
            } else {
                text += c;
            }
        }
        return text + '"';
    }

    std::string take() { return std::move(text_); }

private:
    std::string prefix_, name_, text_;
};

}  // namespace detail

/// Everything in the Prometheus text format, to be served as `text/plain; version=0.0.4`.
///
///     reply(llmkit::to_prometheus(figures.snapshot()));
///
/// Names begin with `prefix` and an underscore; characters that may not stand in a name become
/// underscores. Times are in seconds; the buckets are exact to within 3 %. `…_cost_usd_total` holds
/// what is known, `…_cost_unknown_calls_total` counts the calls whose cost is not. What a watched
/// part shows is named after the part: `llmkit_transport_open`.
/// Format: https://prometheus.io/docs/instrumenting/exposition_formats/
inline std::string to_prometheus(const metrics_snapshot& seen, std::string_view prefix = "llmkit") {
    detail::prometheus_writer out(prefix);
    const auto label = &detail::prometheus_writer::label;

    out.family("calls_total", "counter", "Calls that ended, by model and outcome.");
    for (const auto& model : seen.models) {
        const std::string of = label("model", model.name) + ",";
        const std::uint64_t bad = model.errors + model.cut + model.abandoned;
        out.sample(of + R"(outcome="ok")", model.ended - bad);
        out.sample(of + R"(outcome="error")", model.errors);
        out.sample(of + R"(outcome="cut")", model.cut);
        out.sample(of + R"(outcome="abandoned")", model.abandoned);
    }
    out.family("errors_total", "counter", "Calls that failed before any content, by kind.");
    for (const auto& [kind, count] : seen.errors_by_kind) out.sample(label("kind", kind), count);
    out.family("cache_hits_total", "counter", "Calls answered from a cache, by level.");
    for (const auto& [level, count] : seen.hits_by_level) out.sample(label("level", level), count);

    const auto by_model = [&](std::string_view name, std::string_view help, auto member) {
        out.family(name, "counter", help);
        for (const auto& model : seen.models) {
            out.sample(label("model", model.name), model.*member);
        }
    };
    by_model("upstream_attempts_total", "Attempts made at providers.", &call_figures::upstream);
    by_model("retries_total", "Attempts beyond the first of a call.", &call_figures::retries);
    by_model("cache_stale_hits_total", "Hits that were past their time.",
             &call_figures::stale_hits);
    by_model("cache_misses_total", "Calls that a cache had no answer for.", &call_figures::misses);
    by_model("joins_total", "Calls that shared another call's upstream call.",
             &call_figures::joins);
    by_model("response_bytes_total", "Bytes of all answers.", &call_figures::bytes);
    by_model("cost_usd_total", "Dollars, of the calls whose cost is known.", &call_figures::cost);
    by_model("cost_unknown_calls_total", "Calls whose cost is unknown.",
             &call_figures::cost_unknown);
    by_model("usage_unknown_calls_total", "Answers whose provider told no token usage.",
             &call_figures::usage_unknown);

    const auto tokens = [&](std::string_view name, std::string_view help, auto member) {
        out.family(name, "counter", help);
        for (const auto& model : seen.models) {
            const token_usage& usage = model.*member;
            const std::string of = label("model", model.name) + ",";
            out.sample(of + R"(type="input")", usage.input);
            out.sample(of + R"(type="cached_input")", usage.cached_input);
            out.sample(of + R"(type="output")", usage.output);
            out.sample(of + R"(type="reasoning")", usage.reasoning);
        }
    };
    tokens("tokens_total",
           "Tokens of upstream calls; cached_input is part of input, reasoning of output.",
           &call_figures::tokens);
    tokens("tokens_saved_total", "Tokens of hits and joins.", &call_figures::tokens_saved);

    out.family("in_flight", "gauge", "Calls whose answer has not ended.");
    out.sample("", seen.in_flight);
    out.family("in_flight_max", "gauge", "The most calls that were in flight at once.");
    out.sample("", seen.in_flight_max);

    out.family("latency_seconds", "histogram", "From the call to the end of its answer.");
    for (const auto& model : seen.models) {
        out.histogram(label("model", model.name), model.latency);
    }
    out.family("first_event_seconds", "histogram", "From the call to its first event.");
    for (const auto& model : seen.models) {
        out.histogram(label("model", model.name), model.first_event);
    }
    out.family("between_events_seconds", "histogram", "Between two events of one stream.");
    out.histogram("", seen.between_events);
    for (const auto& [part, readings] : seen.watched) {
        for (const reading& each : readings) {
            out.family(fmt::format("{}_{}{}", part, each.name, each.counts ? "_total" : ""),
                       each.counts ? "counter" : "gauge", each.help);
            out.sample("", each.value);
        }
    }
    return out.take();
}

}  // namespace llmkit
