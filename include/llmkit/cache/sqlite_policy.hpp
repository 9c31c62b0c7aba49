// llmkit/cache/sqlite_policy.hpp: what may be said about a file of answers, and what it tells.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <llmkit/core/provenance.hpp>
#include <llmkit/core/reading.hpp>

namespace llmkit {

struct sqlite_policy {
    /// What the answers may take of the file; what was not asked for the longest goes first.
    std::uint64_t max_bytes = std::uint64_t{1} << 30;
    /// Older answers are not given, whatever their TTL, and are removed.
    duration max_age = std::chrono::hours(24 * 30);
    /// What waits to be written takes at most so many bytes of memory; what comes then is dropped.
    std::size_t max_pending_bytes = std::size_t{16} << 20;
    /// Threads that read. One more writes.
    std::size_t readers = 2;
    /// Reads that may wait for a reader; more are misses.
    std::size_t max_waiting = 1024;
    /// A file that could not be opened is tried again by the first call so long after the last try.
    duration reopen_after = std::chrono::seconds(10);
    /// The last handle waits at most so long for what is still to be written.
    duration close_limit = std::chrono::seconds(2);
};
static_assert(std::is_trivially_destructible_v<sqlite_policy>);

struct sqlite_stats {
    std::uint64_t bytes = 0;  ///< of the file that answers take, after the last write
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t writes = 0;
    std::uint64_t evictions = 0;    ///< pushed out for room
    std::uint64_t expirations = 0;  ///< removed because too old
    std::uint64_t dropped = 0;      ///< not written: too large, no room to wait, read-only
    std::uint64_t unreadable = 0;   ///< found, but cut short, changed, or of another version
    std::uint64_t failures = 0;     ///< statements and transactions that SQLite could not carry out
    std::uint64_t recovered = 0;    ///< damaged files that were moved aside
    std::size_t pending_bytes = 0;  ///< waiting to be written

    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        return {
            reading::now("bytes", bytes, "Bytes of the file that answers take."),
            reading::now("pending_bytes", pending_bytes, "Bytes that wait to be written."),
            reading::total("hits", hits, "Look-ups that found an answer."),
            reading::total("misses", misses, "Look-ups that found none."),
            reading::total("writes", writes, "Answers written."),
            reading::total("evictions", evictions, "Answers pushed out for room."),
            reading::total("expirations", expirations, "Answers removed because too old."),
            reading::total("dropped", dropped, "Answers that were not written."),
            reading::total("unreadable", unreadable, "Answers found damaged or unknown."),
            reading::total("failures", failures, "What SQLite could not carry out."),
            reading::total("recovered", recovered, "Damaged files moved aside."),
        };
    }
};

}  // namespace llmkit
