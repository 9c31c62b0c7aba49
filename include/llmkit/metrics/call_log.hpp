// llmkit/metrics/call_log.hpp: one ended call as one line of JSON.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <llmkit/metrics/snapshot.hpp>

namespace llmkit {

/// Receives one line for each ended call, without a newline. Runs where the call ended, perhaps in
/// a destructor and on any thread; what it throws is dropped.
using call_log_sink = std::function<void(std::string_view line)>;

namespace detail {

/// What a line tells beside the figures. Neither prompts nor answers, keys, or messages of
/// providers, which may quote them.
struct call_log_entry {
    call_record record;
    std::chrono::system_clock::time_point wall;
    std::string_view operation;
    std::string_view request_id;
    std::string_view code;
    int status = 0;
    bool streamed = false;
};

/// "2026-01-01T00:00:00.000Z" (RFC 3339).
inline std::string wall_text(std::chrono::system_clock::time_point at) {
    using namespace std::chrono;
    const auto day = floor<days>(at);
    const year_month_day date(day);
    const hh_mm_ss<milliseconds> time(floor<milliseconds>(at - day));
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       time.hours().count(), time.minutes().count(), time.seconds().count(),
                       time.subseconds().count());
}

inline std::string call_log_line(const call_log_entry& entry) {
    const call_record& call = entry.record;
    const auto ms = [](std::chrono::nanoseconds span) {
        return static_cast<double>(span.count() / 1000) / 1000.0;
    };
    nlohmann::ordered_json line;
    line["time"] = wall_text(entry.wall);
    line["operation"] = entry.operation;
    line["model"] = call.model;
    line["streamed"] = entry.streamed;
    line["outcome"] = call.abandoned       ? "abandoned"
                      : call.error.empty() ? "complete"
                      : call.after_content ? "cut"
                                           : "failed";
    if (!call.error.empty()) line["error"] = call.error;
    if (entry.status != 0) line["status"] = entry.status;
    if (!entry.code.empty()) line["code"] = entry.code;
    if (!entry.request_id.empty()) line["request_id"] = entry.request_id;
    line["latency_ms"] = ms(call.latency);
    if (call.first_event) line["first_event_ms"] = ms(*call.first_event);
    line["attempts"] = call.attempts;
    if (!call.cache_level.empty()) line["cache"] = call.cache_level;
    if (call.stale) line["stale"] = true;
    if (call.joined) line["joined"] = true;
    if (call.usage.known) {
        line["input_tokens"] = call.usage.input;
        line["output_tokens"] = call.usage.output;
        line["cached_input_tokens"] = call.usage.cached_input;
        line["reasoning_tokens"] = call.usage.reasoning;
    }
    if (call.cost) line["cost"] = *call.cost;
    line["bytes"] = call.bytes;
    // A provider's strings need not be UTF-8.
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace detail
}  // namespace llmkit
