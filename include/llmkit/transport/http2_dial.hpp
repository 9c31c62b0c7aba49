// llmkit/transport/http2_dial.hpp: a connection that speaks HTTP/2, from the pool or a new one.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/http2_framing.hpp>
#include <llmkit/transport/multiplex.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// What `http2()` was told.
struct http2_options {
    bool prior_knowledge = false;
    std::size_t max_streams = 256;
    std::uint32_t stream_window = 256 * 1024;
    std::uint32_t connection_window = 16 * 1024 * 1024;
    duration ping_after = std::chrono::seconds(15);
    duration ping_limit = std::chrono::seconds(10);
};

/// Where and how a session connects.
struct http2_dial {
    http2_dial(url where, exchange_limits within) : to(std::move(where)), limits(within) {}
    url to;
    exchange_limits limits;
};

inline http2_bounds bounds_of(const http2_options& options, const http_policy& policy) {
    http2_bounds bounds;
    bounds.stream_window = options.stream_window;
    bounds.connection_window = options.connection_window;
    bounds.head_bytes = std::max<std::size_t>(policy.max_head, 1024);
    return bounds;
}

/// Takes in what came while a connection was idle. False: it is of no use any more.
inline bool http2_catch_up(wire& line, http2_framing& framing, asio::mutable_buffer room) {
    std::error_code failed;
    for (;;) {
        const std::size_t count = line.try_read(room, failed);
        if (failed) return failed == asio::error::would_block;
        if (!framing.receive({static_cast<const char*>(room.data()), count})) return false;
        if (!framing.usable()) return false;
    }
}

/// A connection with its framing in a place of the pool: the one that was idle there, or a new one.
/// An empty lease: the server speaks HTTP/1.1 only, and the connection waits for a call that does.
inline task<result<connection_pool::lease>> http2_connect(multiplex_site site,
                                                          http2_options options,
                                                          connection_pool::lease place,
                                                          http2_dial how) {
    auto hold = std::make_shared<connection_hold>(site.time, std::move(place));
    connection_hold::use opening(*hold);
    if (!hold->connected()) {
        auto open = co_await site.open(hold, how.to, how.limits);
        if (!open) co_return open.error();
        if (how.to.secure() ? *open == "h2" : options.prior_knowledge)
            hold->connection().session =
                std::make_shared<http2_framing>(bounds_of(options, site.policy));
    }
    auto lease = opening.take();
    if (!lease.connection()->session) {
        lease.connection()->rest();
        lease.keep();
    }
    co_return lease;
}

}  // namespace llmkit::detail
