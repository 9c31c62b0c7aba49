// llmkit/metrics/snapshot.hpp: what happened to a pipeline's calls, as plain values to read.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <llmkit/core/facts.hpp>
#include <llmkit/core/reading.hpp>
#include <llmkit/metrics/histogram.hpp>

namespace llmkit {

/// How one call went, for `metrics::call_ended`. The views are read during that call only.
struct call_record {
    std::string_view model;                               ///< who answered, or was asked
    std::chrono::nanoseconds latency{};                   ///< from the call to the answer's end
    std::optional<std::chrono::nanoseconds> first_event;  ///< from the call to its first event
    std::string_view error;        ///< the name of the error's kind; empty when all went well
    bool after_content = false;    ///< failed after content had reached the caller: a cut stream
    bool abandoned = false;        ///< the caller left: cancelled, or dropped the stream
    unsigned attempts = 0;         ///< upstream calls made for it; ignored on hits and joins
    std::string_view cache_level;  ///< where it was found: "memory", "redis", …; empty: no hit
    bool stale = false;            ///< the hit was past its time
    bool missed = false;           ///< a cache was asked and had nothing
    bool joined = false;           ///< shared the upstream call of another
    token_usage usage;             ///< tokens of hits and joins count as saved
    std::optional<double> cost;    ///< dollars; empty is unknown, except on hits and joins: nothing
    std::uint64_t bytes = 0;       ///< of the answer
};
// A record may stand as a temporary in a co_await expression only while this holds (g++ 12).
static_assert(std::is_trivially_destructible_v<call_record>);

/// How often a name occurred.
struct named_count {
    std::string name;
    std::uint64_t count = 0;

    friend bool operator==(const named_count&, const named_count&) = default;
};

/// The figures of one model, or of all together. Only ended calls are counted here.
///
/// Every ended call is one of: fine, an error, a cut stream, abandoned. A hit or a join is how a
/// call was answered, whichever way it ended.
struct call_figures {
    std::uint64_t ended = 0;
    std::uint64_t errors = 0;     ///< failed before any content reached the caller
    std::uint64_t cut = 0;        ///< streams that failed after content reached the caller
    std::uint64_t abandoned = 0;  ///< left by their callers
    std::uint64_t upstream = 0;   ///< attempts made at providers
    std::uint64_t retries = 0;    ///< attempts beyond the first of each call
    std::uint64_t hits = 0;       ///< answered from a cache, stale ones included
    std::uint64_t stale_hits = 0;
    std::uint64_t misses = 0;         ///< a cache was asked in vain
    std::uint64_t joins = 0;          ///< shared another call's upstream call
    std::uint64_t bytes = 0;          ///< of all answers
    token_usage tokens;               ///< of upstream calls; `known` when any provider told
    token_usage tokens_saved;         ///< of hits and joins
    std::uint64_t usage_unknown = 0;  ///< upstream answers whose provider told no usage
    double cost = 0;                  ///< dollars, of the calls whose cost is known
    std::uint64_t cost_known = 0;     ///< calls whose cost is known; hits and joins cost nothing
    std::uint64_t cost_unknown = 0;   ///< calls whose cost is unknown, and not in `cost`
    histogram_snapshot latency;       ///< of calls not abandoned, failures included
    histogram_snapshot first_event;

    /// Of all ended calls, how many were answered from a cache: 0…1.
    double hit_rate() const { return share(hits); }
    /// Of all ended calls, how many needed no upstream call of their own: 0…1.
    double saved_rate() const { return share(hits + joins); }
    /// Of all ended calls, how many failed before content; cut streams are apart: 0…1.
    double error_rate() const { return share(errors); }

private:
    double share(std::uint64_t part) const {
        return ended == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(ended);
    }
};

/// The figures of one model.
struct model_figures : call_figures {
    std::string name;
};

/// What a watched part of the program showed.
struct watched_figures {
    std::string part;
    std::vector<reading> readings;
};

/// Everything a `metrics` has seen, at one moment.
struct metrics_snapshot : call_figures {
    std::chrono::nanoseconds window{};  ///< from the first call to the moment of the snapshot
    std::uint64_t started = 0;
    std::int64_t in_flight = 0;  ///< calls whose answer has not ended
    std::int64_t in_flight_max = 0;
    std::vector<named_count> errors_by_kind;  ///< the most frequent first, then by name
    std::vector<named_count> hits_by_level;   ///< the most frequent first, then by name
    std::vector<model_figures> models;        ///< the busiest first, then by name
    histogram_snapshot between_events;
    std::vector<watched_figures> watched;  ///< in the order in which they were named

    /// Ended calls a second over the window; 0 while there is no window.
    double calls_per_second() const {
        const double seconds = std::chrono::duration<double>(window).count();
        return seconds > 0 ? static_cast<double>(ended) / seconds : 0.0;
    }
};

}  // namespace llmkit
