// The table, and the lines that other programs read.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "callers.hpp"
#include "workload.hpp"

namespace demo {

inline std::string grouped(std::size_t number) {
    std::string text = std::to_string(number);
    for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
    return text;
}

inline std::string to_table(const std::vector<figures>& stages) {
    std::string text;
    const auto row = [&](std::string_view name, auto cell) {
        text += fmt::format("{:<34}", name);
        for (const auto& stage : stages) text += fmt::format("{:>11}", cell(stage));
        text += "\n";
    };
    const auto seconds = [](double value) { return fmt::format("{:.2f} s", value); };
    const auto percent = [](double share) { return fmt::format("{:.2f} %", 100 * share); };
    using f = const figures&;
    row("", [](f s) { return s.name; });
    row("calls", [](f s) { return grouped(s.calls); });
    row("callers", [](f s) { return grouped(s.callers); });
    row("latency, mean", [&](f s) { return seconds(s.latency.mean()); });
    row("latency, p95", [&](f s) { return seconds(s.latency.quantile(0.95)); });
    row("time to first event, p95", [&](f s) { return seconds(s.first_event.quantile(0.95)); });
    row("throughput, calls a second", [](f s) { return fmt::format("{:.0f}", s.throughput); });
    row("callers waiting, at most", [](f s) { return grouped(s.in_flight_max); });
    row("upstream calls in flight, at most", [](f s) { return grouped(s.upstream_max); });
    row("upstream calls", [](f s) { return grouped(s.upstream); });
    row("connections opened", [](f s) { return grouped(s.connections); });
    row("connections allowed (pool)",
        [](f s) { return s.pool == 0 ? std::string("-") : grouped(s.pool); });
    row("hits (answered from the cache)", [&](f s) { return percent(s.share(s.hits)); });
    row("joins (shared a call)", [&](f s) { return percent(s.share(s.joins)); });
    row("cost of 1,000 calls", [](f s) { return fmt::format("${:.3f}", s.cost_per_thousand()); });
    row("errors", [&](f s) { return percent(s.error_rate()); });
    row("streams cut after content", [&](f s) { return percent(s.share(s.cut)); });
    row("all calls took", [](f s) { return fmt::format("{:.1f} s", s.took); });
    row("busy here: client, provider", [](f s) {
        return fmt::format("{:.0f}, {:.0f} %", 100 * s.client_cpu, 100 * s.server_cpu);
    });
    return text;
}

/// One line for each stage in which calls failed.
inline std::string errors_text(const std::vector<figures>& stages) {
    std::string text;
    for (const auto& stage : stages) {
        if (stage.errors.empty()) continue;
        text +=
            fmt::format("{} failed or were cut in \"{}\":", stage.failed + stage.cut, stage.name);
        for (const auto& [kind, count] : stage.errors) text += fmt::format(" {} {},", count, kind);
        text.back() = '\n';
    }
    return text;
}

/// When this machine was too slow to be believed, it says so.
inline std::string warnings(const std::vector<figures>& stages) {
    std::string text;
    for (const auto& stage : stages) {
        if (stage.client_cpu > 0.85 || stage.server_cpu > 0.85) {
            text += fmt::format(
                "warning: \"{}\" kept a core of this machine busy (client {:.0f} %, "
                "provider {:.0f} %): its times are this machine's, not the "
                "workload's; raise time_scale\n",
                stage.name, 100 * stage.client_cpu, 100 * stage.server_cpu);
        } else if (stage.late_p99 > 0.1) {
            text += fmt::format(
                "warning: in \"{}\" timers came late (p99 {:.2f} s of the "
                "workload's time): other programs run on this machine, or it is "
                "too slow; its latencies are too high by about that much\n",
                stage.name, stage.late_p99);
        }
    }
    return text;
}

inline std::string result_lines(const figures& before, const figures& after) {
    std::string text;
    const auto line = [&text](std::string_view name, double value, std::string_view unit) {
        text += fmt::format("result demo.{} {:.4g} {}\n", name, value, unit);
    };
    line("latency_mean_before", before.latency.mean(), "s");
    line("latency_mean_after", after.latency.mean(), "s");
    line("ttfe_p95_after", after.first_event.quantile(0.95), "s");
    line("throughput_before", before.throughput, "calls/s");
    line("throughput_after", after.throughput, "calls/s");
    line("in_flight_max_after", static_cast<double>(after.in_flight_max), "calls");
    line("hit_rate_before", 100 * before.hit_rate(), "%");
    line("hit_rate_after", 100 * after.hit_rate(), "%");
    line("cost_before", before.cost, "USD");
    line("cost_after", after.cost, "USD");
    line("error_rate_before", 100 * before.error_rate(), "%");
    line("error_rate_after", 100 * after.error_rate(), "%");
    return text;
}

}  // namespace demo
