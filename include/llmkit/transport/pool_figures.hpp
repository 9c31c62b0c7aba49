// llmkit/transport/pool_figures.hpp: how many connections there are, and what became of them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include <llmkit/core/provenance.hpp>
#include <llmkit/core/reading.hpp>

namespace llmkit {

/// The connections of a transport.
struct pool_figures {
    // At this moment:
    std::size_t open = 0;     ///< connected or connecting, idle ones included
    std::size_t idle = 0;     ///< kept for the next call
    std::size_t waiting = 0;  ///< calls in the queue for one
    // Since the transport was made:
    std::uint64_t opened = 0;       ///< connected, with proxy and TLS
    std::uint64_t failed = 0;       ///< could not be connected, or not in time
    std::uint64_t reused = 0;       ///< given to a further call
    std::uint64_t closed_idle = 0;  ///< too old, or in the way of another, or closed by the server
    std::uint64_t waited = 0;       ///< calls that had to wait for one
    duration wait_time{};           ///< how long they waited, all together
    std::uint64_t tls_handshakes = 0;
    std::uint64_t tls_resumed = 0;  ///< of these, those that went on with an earlier session

    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        const double waited_s = std::chrono::duration<double>(wait_time).count();
        return {
            reading::now("open", open, "Connections, idle ones and those being made included."),
            reading::now("idle", idle, "Connections kept for the next call."),
            reading::now("waiting", waiting, "Calls that wait for a connection."),
            reading::total("opened", opened, "Connections made."),
            reading::total("failed", failed, "Connections that could not be made."),
            reading::total("reused", reused, "Connections given to a further call."),
            reading::total("closed_idle", closed_idle,
                           "Connections closed while nobody used them."),
            reading::total("waited", waited, "Calls that had to wait for a connection."),
            reading::total("wait_seconds", waited_s, "How long those calls waited."),
            reading::total("tls_handshakes", tls_handshakes, "TLS handshakes."),
            reading::total("tls_resumed", tls_resumed, "TLS handshakes that resumed a session."),
        };
    }
};
static_assert(std::is_trivially_destructible_v<pool_figures>);

}  // namespace llmkit
