// llmkit/cache/store_policy.hpp: how a store on another machine is spoken with, and what came of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <llmkit/core/limit.hpp>
#include <llmkit/core/reading.hpp>

namespace llmkit {

/// The bounds of the connections to one server of a store.
struct store_policy {
    /// Kept to it, in each io_context that uses it; commands of all callers share them.
    std::size_t connections = 1;
    duration connect = std::chrono::seconds(1);  ///< name, address, TLS and password together
    /// A connection on which nothing came for so long although commands wait for replies is cut.
    duration silence = std::chrono::seconds(2);
    /// After a failure so long, then twice as long each time up to `retry_most`, nobody connects,
    /// and commands fail at once. Up to half of it is left off by chance, so that not all come back
    /// at the same moment.
    duration retry_first = std::chrono::milliseconds(100);
    duration retry_most = std::chrono::seconds(2);
    std::size_t max_commands = 10'000;              ///< waiting for replies, a connection
    std::size_t max_bytes = std::size_t{64} << 20;  ///< of commands still to be sent, likewise
};
static_assert(std::is_trivially_destructible_v<store_policy>);

/// What became of the commands to a store.
struct store_figures {
    // At this moment:
    std::size_t connections = 0;  ///< that are open
    std::size_t waiting = 0;      ///< commands without a reply
    // Since the store was made:
    std::uint64_t commands = 0;   ///< given to it
    std::uint64_t replies = 0;    ///< that somebody still waited for
    std::uint64_t failures = 0;   ///< commands that ended without a reply and not by their caller
    std::uint64_t given_up = 0;   ///< commands whose caller was cancelled or out of time
    std::uint64_t connected = 0;  ///< connections made
    std::uint64_t unreached = 0;  ///< connections that could not be made
    std::uint64_t lost = 0;       ///< connections that ended while in use, or were cut
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
    duration reply_time{};  ///< from asking to the reply, all replies together

    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        const double seconds = std::chrono::duration<double>(reply_time).count();
        return {
            reading::now("connections", connections, "Open connections."),
            reading::now("waiting", waiting, "Commands without a reply."),
            reading::total("commands", commands, "Commands given to the store."),
            reading::total("replies", replies, "Replies that somebody waited for."),
            reading::total("failures", failures, "Commands that ended without a reply."),
            reading::total("given_up", given_up, "Commands whose caller did not wait."),
            reading::total("connected", connected, "Connections made."),
            reading::total("unreached", unreached, "Connections that could not be made."),
            reading::total("lost", lost, "Connections that ended while in use."),
            reading::total("sent_bytes", bytes_sent, "Bytes of commands."),
            reading::total("received_bytes", bytes_received, "Bytes of replies."),
            reading::total("reply_seconds", seconds, "From asking to the reply, all together."),
        };
    }
    /// Of several servers together.
    store_figures& operator+=(const store_figures& other) {
        connections += other.connections;
        waiting += other.waiting;
        commands += other.commands;
        replies += other.replies;
        failures += other.failures;
        given_up += other.given_up;
        connected += other.connected;
        unreached += other.unreached;
        lost += other.lost;
        bytes_sent += other.bytes_sent;
        bytes_received += other.bytes_received;
        reply_time += other.reply_time;
        return *this;
    }
};
static_assert(std::is_trivially_destructible_v<store_figures>);

}  // namespace llmkit
