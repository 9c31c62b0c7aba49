// llmkit/metrics/report.hpp: the figures as a table for people, JSON for programs, a line for logs.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <llmkit/metrics/snapshot.hpp>

namespace llmkit {

namespace detail {

inline std::string grouped(std::uint64_t number) {  // 1,234,567
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}
inline std::string grouped(std::int64_t number) {
    const auto size = static_cast<std::uint64_t>(number);
    return number < 0 ? "-" + grouped(0 - size) : grouped(size);
}

/// Whole numbers without a point, others with three digits behind it.
inline std::string number_text(double number) {
    const double whole = std::nearbyint(number);
    if (whole == number && std::abs(number) < 1e15)
        return grouped(static_cast<std::int64_t>(whole));
    return fmt::format("{:.3f}", number);
}

inline double seconds(std::chrono::nanoseconds length) {
    return std::chrono::duration<double>(length).count();
}

/// Three digits and the unit that suits: 1.23 s, 45.6 ms, 789 µs. Hours stay seconds, to compare.
inline std::string time_text(std::chrono::nanoseconds length) {
    if (length.count() == 0) return "0";
    const double ns = static_cast<double>(length.count());
    const auto [unit, name] = ns >= 999.5e6   ? std::pair(1e9, "s")
                              : ns >= 999.5e3 ? std::pair(1e6, "ms")
                              : ns >= 999.5   ? std::pair(1e3, "µs")
                                              : std::pair(1.0, "ns");
    const double value = ns / unit;
    const int digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return fmt::format("{:.{}f} {}", value, unit == 1.0 ? 0 : digits, name);
}

inline std::string bytes_text(std::uint64_t bytes) {
    const auto size = static_cast<double>(bytes);
    if (bytes < 1'000) return fmt::format("{} B", bytes);
    if (bytes < 1'000'000) return fmt::format("{:.1f} kB", size / 1e3);
    if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", size / 1e6);
    return fmt::format("{:.2f} GB", size / 1e9);
}

inline std::string percent(double share) { return fmt::format("{:.1f} %", share * 100); }

/// What is known, and how many calls that leaves out: an unknown cost is never shown as nothing.
inline std::string cost_text(const call_figures& figures) {
    if (figures.cost_known == 0 && figures.cost_unknown > 0) return "unknown";
    std::string text = fmt::format("${:.{}f}", figures.cost, figures.cost < 1 ? 4 : 2);
    if (figures.cost_unknown > 0) {
        text += fmt::format(" (unknown for {})", grouped(figures.cost_unknown));
    }
    return text;
}

inline std::string names_text(const std::vector<named_count>& counts) {
    std::string text;
    for (const auto& [name, count] : counts) {
        text += fmt::format("{}{} {}", text.empty() ? ": " : ", ", name, grouped(count));
    }
    return text;
}

inline std::string tokens_text(const token_usage& tokens) {
    return fmt::format("{} in ({} cached), {} out ({} reasoning)", grouped(tokens.input),
                       grouped(tokens.cached_input), grouped(tokens.output),
                       grouped(tokens.reasoning));
}

inline std::string histogram_row(std::string_view name, const histogram_snapshot& times) {
    return fmt::format("{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", name,
                       grouped(times.count()), time_text(times.mean()), time_text(times.p50()),
                       time_text(times.p90()), time_text(times.p95()), time_text(times.p99()),
                       time_text(times.max()));
}

inline nlohmann::json histogram_json(const histogram_snapshot& times) {
    return {{"count", times.count()},        {"mean_s", seconds(times.mean())},
            {"min_s", seconds(times.min())}, {"p50_s", seconds(times.p50())},
            {"p90_s", seconds(times.p90())}, {"p95_s", seconds(times.p95())},
            {"p99_s", seconds(times.p99())}, {"max_s", seconds(times.max())}};
}

inline nlohmann::json tokens_json(const token_usage& tokens) {
    return {{"input", tokens.input},
            {"cached_input", tokens.cached_input},
            {"output", tokens.output},
            {"reasoning", tokens.reasoning}};
}

inline nlohmann::json counts_json(const std::vector<named_count>& counts) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [name, count] : counts) object[name] = count;
    return object;
}

/// "connections open 3, idle 2": names as they are said, whole numbers without a point.
inline std::string readings_text(const std::vector<reading>& all) {
    std::string text;
    for (const reading& each : all) {
        std::string name(each.name);
        std::replace(name.begin(), name.end(), '_', ' ');
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, number_text(each.value));
    }
    return text;
}

inline nlohmann::json readings_json(const std::vector<watched_figures>& watched) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [part, readings] : watched) {
        nlohmann::json& into = object[part] = nlohmann::json::object();
        for (const reading& each : readings) into[std::string(each.name)] = each.value;
    }
    return object;
}

inline nlohmann::json figures_json(const call_figures& figures) {
    nlohmann::json object = {
        {"ended", figures.ended},
        {"errors", figures.errors},
        {"error_rate", figures.error_rate()},
        {"cut_streams", figures.cut},
        {"abandoned", figures.abandoned},
        {"upstream_attempts", figures.upstream},
        {"retries", figures.retries},
        {"hits", figures.hits},
        {"hit_rate", figures.hit_rate()},
        {"stale_hits", figures.stale_hits},
        {"misses", figures.misses},
        {"joins", figures.joins},
        {"saved_rate", figures.saved_rate()},
        {"bytes", figures.bytes},
        {"tokens", tokens_json(figures.tokens)},
        {"tokens_saved", tokens_json(figures.tokens_saved)},
        {"usage_unknown_calls", figures.usage_unknown},
        {"cost_usd", nullptr},
        {"cost_unknown_calls", figures.cost_unknown},
        {"latency", histogram_json(figures.latency)},
        {"first_event", histogram_json(figures.first_event)},
    };
    if (figures.cost_known > 0 || figures.cost_unknown == 0) object["cost_usd"] = figures.cost;
    return object;
}

}  // namespace detail

/// A table to read in a terminal: counts, rates, cost, and how long things took.
///
///     fmt::print("{}", llmkit::to_table(figures.snapshot()));
///
/// UTF-8, lines of about 90 columns, each ended by a newline. For people: the layout may change.
inline std::string to_table(const metrics_snapshot& seen) {
    using namespace detail;
    std::string text;
    const auto row = [&text](std::string_view name, const std::string& value) {
        text += fmt::format("{:<16}{}\n", name, value);
    };
    row("calls",
        fmt::format("{} ended, {} in flight (at most {}), {:.1f} a second over {}",
                    grouped(seen.ended), grouped(seen.in_flight), grouped(seen.in_flight_max),
                    seen.calls_per_second(), time_text(seen.window)));
    row("errors", fmt::format("{} ({}){}", grouped(seen.errors), percent(seen.error_rate()),
                              names_text(seen.errors_by_kind)));
    row("streams", fmt::format("{} cut after content, {} abandoned", grouped(seen.cut),
                               grouped(seen.abandoned)));
    row("upstream", fmt::format("{} attempts, {} of them retries", grouped(seen.upstream),
                                grouped(seen.retries)));
    row("cache hits", fmt::format("{} ({}){}; {} stale; {} misses", grouped(seen.hits),
                                  percent(seen.hit_rate()), names_text(seen.hits_by_level),
                                  grouped(seen.stale_hits), grouped(seen.misses)));
    row("joins", fmt::format("{} (with hits {})", grouped(seen.joins), percent(seen.saved_rate())));
    row("tokens",
        tokens_text(seen.tokens) +
            (seen.usage_unknown > 0 ? fmt::format("; {} calls unknown", grouped(seen.usage_unknown))
                                    : std::string()));
    row("tokens saved", tokens_text(seen.tokens_saved));
    row("cost", cost_text(seen));
    row("bytes", bytes_text(seen.bytes));
    for (const auto& [part, readings] : seen.watched) row(part, readings_text(readings));
    text += fmt::format("\n{:<16}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", "count", "mean",
                        "p50", "p90", "p95", "p99", "max");
    text += histogram_row("latency", seen.latency);
    text += histogram_row("first event", seen.first_event);
    text += histogram_row("between events", seen.between_events);
    if (seen.models.empty()) return text;

    std::size_t width = 14;
    for (const auto& model : seen.models) width = std::max(width, model.name.size());
    text += fmt::format("\n{:<{}}  {:>10}{:>10}{:>10}{:>10}{:>10}{:>10}  {}\n", "model", width,
                        "calls", "errors", "hits", "joins", "mean", "p95", "cost");
    for (const auto& model : seen.models) {
        text += fmt::format("{:<{}}  {:>10}{:>10}{:>10}{:>10}{:>10}{:>10}  {}\n", model.name, width,
                            grouped(model.ended), grouped(model.errors), grouped(model.hits),
                            grouped(model.joins), time_text(model.latency.mean()),
                            time_text(model.latency.p95()), cost_text(model));
    }
    return text;
}

/// The same for programs. Durations are in seconds (`…_s`), rates 0…1; `cost_usd` is the cost of
/// the calls whose cost is known, null when it is known of none, and `cost_unknown_calls` the rest.
/// `watched` holds an object for each part that `metrics::watch` was given.
inline nlohmann::json to_json(const metrics_snapshot& seen) {
    nlohmann::json object = detail::figures_json(seen);
    object["window_s"] = detail::seconds(seen.window);
    object["started"] = seen.started;
    object["in_flight"] = seen.in_flight;
    object["in_flight_max"] = seen.in_flight_max;
    object["calls_per_second"] = seen.calls_per_second();
    object["errors_by_kind"] = detail::counts_json(seen.errors_by_kind);
    object["hits_by_level"] = detail::counts_json(seen.hits_by_level);
    object["between_events"] = detail::histogram_json(seen.between_events);
    object["watched"] = detail::readings_json(seen.watched);
    object["models"] = nlohmann::json::object();
    for (const auto& model : seen.models)
        object["models"][model.name] = detail::figures_json(model);
    return object;
}

/// One line for a log, `name=value` by blanks, without a newline; durations in seconds.
inline std::string to_line(const metrics_snapshot& seen) {
    const std::string cost = seen.cost_known == 0 && seen.cost_unknown > 0
                                 ? std::string("unknown")
                                 : fmt::format("{:.4f}", seen.cost);
    return fmt::format(
        "calls={} per_second={:.1f} in_flight={} in_flight_max={} error_rate={:.4f} cut={} "
        "abandoned={} retries={} hit_rate={:.4f} saved_rate={:.4f} tokens_in={} tokens_out={} "
        "cost_usd={} cost_unknown_calls={} latency_mean_s={:.4g} latency_p95_s={:.4g} "
        "first_event_p95_s={:.4g}",
        seen.ended, seen.calls_per_second(), seen.in_flight, seen.in_flight_max, seen.error_rate(),
        seen.cut, seen.abandoned, seen.retries, seen.hit_rate(), seen.saved_rate(),
        seen.tokens.input, seen.tokens.output, cost, seen.cost_unknown,
        detail::seconds(seen.latency.mean()), detail::seconds(seen.latency.p95()),
        detail::seconds(seen.first_event.p95()));
}

}  // namespace llmkit
