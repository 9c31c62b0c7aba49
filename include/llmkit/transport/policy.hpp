// llmkit/transport/policy.hpp: the bounds of a transport: connections, waiting, time, sizes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// What an `http` transport may use and how long it may take. A request may ask for less.
///
///     auto client = llmkit::http(executor, llmkit::tls(),
///                                {.max_connections = 400, .connect = 2s});
///
/// Trivially destructible, so it is safe in `co_await` expressions with g++ 12 as well.
struct http_policy {
    std::size_t max_connections = 100;  ///< open at once, to all hosts together, at least 1
    std::size_t max_per_host = 100;     ///< of these, to one scheme, host and port, at least 1
    std::size_t max_idle = 20;          ///< of these, kept open without a call, to all hosts
    /// How long they are kept. No timer keeps a program alive for it: whoever next uses the
    /// transport closes what is older.
    duration idle_timeout = std::chrono::seconds(30);
    std::size_t max_queued = 10'000;   ///< calls waiting for a connection; one more is `refused`
    duration queue = duration::max();  ///< how long they wait; then `timeout`, code `queue_limit`

    duration connect = std::chrono::seconds(5);  ///< address, connection, TLS handshake together
    /// How long one of several addresses is waited for before the next is tried as well (RFC 8305);
    /// at least 10 ms, `max`: only when one has failed.
    duration attempt_delay = std::chrono::milliseconds(250);
    duration first_event = duration::max();        ///< from sending to the answer's head
    duration idle = duration::max();               ///< between two pieces of the body
    duration total = std::chrono::minutes(10);     ///< everything, waiting in the queue included
    std::size_t max_head = 64 * 1024;              ///< bytes of the answer's head
    std::uint64_t max_body = 64ULL * 1024 * 1024;  ///< bytes of the answer's body

    duration keep_names = std::chrono::seconds(10);  ///< how long a host's addresses are used again
    std::size_t max_names = 256;                     ///< hosts whose addresses are kept
    /// Host names looked up at once, each by a thread of its own while that lasts; at least 1.
    std::size_t max_lookups = 4;
};
static_assert(std::is_trivially_destructible_v<http_policy>);

}  // namespace llmkit
