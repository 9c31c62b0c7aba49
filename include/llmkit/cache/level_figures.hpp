// llmkit/cache/level_figures.hpp: what the levels of a tiered cache did, as plain values to read.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/level_health.hpp>
#include <llmkit/core/reading.hpp>
#include <llmkit/detail/lasting_text.hpp>
#include <llmkit/metrics/histogram.hpp>

namespace llmkit {

/// What one level did since the cache was made.
struct level_stats {
    std::string_view name;
    bool instant = false;  ///< then bytes and latency are not counted
    level_state state = level_state::up;
    std::uint64_t hits = 0;        ///< look-ups that it answered
    std::uint64_t misses = 0;      ///< and those for which it had nothing of use
    std::uint64_t errors = 0;      ///< look-ups, writes and erasures that failed
    std::uint64_t timeouts = 0;    ///< and those that were not done in time
    std::uint64_t skipped = 0;     ///< look-ups and writes spared while it was down
    std::uint64_t probes = 0;      ///< look-ups beside the calls, to see whether it is up again
    std::uint64_t writes = 0;      ///< promotions included
    std::uint64_t bytes_read = 0;  ///< of its hits
    std::uint64_t bytes_written = 0;
    histogram_snapshot latency;  ///< of its look-ups
};

/// The same of all levels, and of what waits to be written.
struct tiered_stats {
    std::vector<level_stats> levels;  ///< from the first to the last
    std::size_t waiting = 0;          ///< entries to be written behind the calls
    std::size_t waiting_bytes = 0;    ///< with those that are being written
    std::uint64_t dropped = 0;        ///< entries for which there was no room or no time

    /// The same for `metrics::watch`: "redis_hits", "redis_up", …
    std::vector<reading> readings() const;
};

namespace detail {

/// Counted from any thread, by level.
struct level_counts {
    std::atomic<std::uint64_t> hits{0}, misses{0}, errors{0}, timeouts{0}, skipped{0}, probes{0},
        writes{0}, bytes_read{0}, bytes_written{0};
    histogram latency;

    static void add(std::atomic<std::uint64_t>& to, std::uint64_t n = 1) {
        to.fetch_add(n, std::memory_order_relaxed);
    }
    level_stats read() const {
        const auto at = [](const std::atomic<std::uint64_t>& count) {
            return count.load(std::memory_order_relaxed);
        };
        level_stats now;
        now.hits = at(hits);
        now.misses = at(misses);
        now.errors = at(errors);
        now.timeouts = at(timeouts);
        now.skipped = at(skipped);
        now.probes = at(probes);
        now.writes = at(writes);
        now.bytes_read = at(bytes_read);
        now.bytes_written = at(bytes_written);
        now.latency = latency.snapshot();
        return now;
    }
};

inline double in_seconds(std::chrono::nanoseconds span) {
    return std::chrono::duration<double>(span).count();
}

}  // namespace detail

inline std::vector<reading> tiered_stats::readings() const {
    std::vector<reading> all;
    std::vector<std::string> names;
    for (const level_stats& level : levels) {
        std::string name(level.name);
        const auto same = std::count(names.begin(), names.end(), name);
        names.push_back(name);
        if (same > 0) name += "_" + std::to_string(same + 1);
        const auto called = [&](std::string_view what) {
            return detail::lasting_text(name + "_" + std::string(what));
        };
        const auto count = [&](std::string_view what, std::uint64_t value, std::string_view help) {
            all.push_back(reading::total(called(what), value, help));
        };
        all.push_back(reading::now(called("up"), level.state == level_state::up ? 1 : 0,
                                   "1, or 0 while the level is skipped."));
        count("hits", level.hits, "Look-ups that this level answered.");
        count("misses", level.misses, "Look-ups for which this level had nothing.");
        count("writes", level.writes, "Answers written into this level.");
        count("errors", level.errors, "Look-ups, writes and erasures that failed.");
        count("timeouts", level.timeouts, "Look-ups, writes and erasures that took too long.");
        count("skipped", level.skipped, "Look-ups and writes spared while the level was down.");
        count("probes", level.probes, "Look-ups that tried whether the level is up again.");
        if (level.instant) continue;
        count("written_bytes", level.bytes_written, "Of the answers written into this level.");
        count("read_bytes", level.bytes_read, "Of the answers that this level gave.");
        all.push_back(reading::now(called("p50_seconds"), detail::in_seconds(level.latency.p50()),
                                   "Half of the look-ups were within this."));
        all.push_back(reading::now(called("p99_seconds"), detail::in_seconds(level.latency.p99()),
                                   "99 of 100 look-ups were within this."));
    }
    all.push_back(reading::now("waiting", waiting, "Answers that wait to be written."));
    all.push_back(reading::now("waiting_bytes", waiting_bytes, "Of the answers not yet written."));
    all.push_back(reading::total("dropped", dropped, "Answers that there was no room to write."));
    return all;
}

}  // namespace llmkit
