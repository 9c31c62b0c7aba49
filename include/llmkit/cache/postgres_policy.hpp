// llmkit/cache/postgres_policy.hpp: what may be said about answers in PostgreSQL, and what it tells.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <llmkit/core/provenance.hpp>
#include <llmkit/core/reading.hpp>

namespace llmkit {

struct postgres_policy {
    /// Connections at most. One is always kept; more are opened while calls wait for one.
    std::size_t connections = 4;
    /// Statements on their way at once on each connection.
    std::size_t pipeline = 16;
    /// Calls that may wait for a connection; more are refused.
    std::size_t max_waiting = 1024;
    /// Answers that wait to be written take at most so many bytes of memory; more are refused.
    std::size_t max_pending_bytes = std::size_t{16} << 20;

    /// What the entries may come to in the table, without PostgreSQL's own bookkeeping; what was not
    /// asked for the longest goes first. 0: no bound.
    std::uint64_t max_bytes = std::uint64_t{4} << 30;
    /// Older answers are not given, whatever their TTL, and are removed.
    duration max_age = std::chrono::hours(24 * 30);
    /// How often what is of no more use is removed.
    duration sweep = std::chrono::seconds(60);

    /// An attempt to connect may take so long: address, TLS, log-in and a look at the table.
    duration connect = std::chrono::seconds(5);
    /// A server that says nothing for so long is taken for lost.
    duration answer = std::chrono::seconds(2);
    /// The pause after an attempt that failed; doubled after each further one.
    duration retry = std::chrono::milliseconds(100);
    /// It grows no longer than this: how late a server that is back is noticed.
    duration max_retry = std::chrono::seconds(5);
    /// A connection beside the first that nobody uses for so long is closed.
    duration idle = std::chrono::seconds(60);
    /// The last handle waits at most so long for what is still to be written.
    duration close_limit = std::chrono::seconds(2);
};
static_assert(std::is_trivially_destructible_v<postgres_policy>);

struct postgres_stats {
    // At this moment:
    std::size_t open = 0;           ///< connections that can be used
    std::size_t waiting = 0;        ///< calls that wait for one
    std::size_t pending_bytes = 0;  ///< of answers that wait to be written
    std::uint64_t bytes = 0;        ///< of all entries in the table, when last counted
    // Since the store was made:
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t writes = 0;
    std::uint64_t evictions = 0;    ///< removed for room
    std::uint64_t expirations = 0;  ///< removed because too old
    std::uint64_t dropped = 0;      ///< not written: too large, no room to wait
    std::uint64_t refused = 0;      ///< calls that failed at once: no connection, or too many wait
    std::uint64_t unreadable = 0;   ///< found, but cut short, changed, or of another version
    std::uint64_t failures = 0;     ///< statements that PostgreSQL could not carry out
    std::uint64_t opened = 0;       ///< connections made
    std::uint64_t not_opened = 0;   ///< attempts that failed
    std::uint64_t lost = 0;         ///< connections that ended while they were wanted

    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        return {
            reading::now("open", open, "Connections to PostgreSQL."),
            reading::now("waiting", waiting, "Calls that wait for a connection."),
            reading::now("pending_bytes", pending_bytes, "Answers that wait to be written."),
            reading::now("stored_bytes", bytes, "Entries in the table when last counted."),
            reading::total("hits", hits, "Answers found."),
            reading::total("misses", misses, "Answers not found."),
            reading::total("writes", writes, "Answers written."),
            reading::total("evictions", evictions, "Answers removed for room."),
            reading::total("expirations", expirations, "Answers removed because too old."),
            reading::total("dropped", dropped, "Answers not written: too large, or no room."),
            reading::total("refused", refused, "Calls that failed at once."),
            reading::total("unreadable", unreadable, "Entries that could not be read."),
            reading::total("failures", failures, "Statements that failed."),
            reading::total("opened", opened, "Connections made."),
            reading::total("not_opened", not_opened, "Connections that could not be made."),
            reading::total("lost", lost, "Connections that ended while they were wanted."),
        };
    }
};
static_assert(std::is_trivially_destructible_v<postgres_stats>);

}  // namespace llmkit
