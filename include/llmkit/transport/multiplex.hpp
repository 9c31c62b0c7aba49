// llmkit/transport/multiplex.hpp: many calls over one connection, so that nothing else needs nghttp2.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/policy.hpp>

namespace llmkit {

namespace detail {

/// Connects the place that `hold` has. Gives the protocol that was agreed on by TLS's ALPN; empty
/// without TLS, or when the server knows nothing of it.
using opener = std::function<task<result<std::string>>(std::shared_ptr<connection_hold> hold,
                                                       url to, exchange_limits limits)>;

/// What a transport lends to calls that share connections.
struct multiplex_site {
    clock_handle time;
    std::shared_ptr<connection_pool> pool;
    opener open;
    http_policy policy;
};

/// Calls that share connections. One for each transport.
class multiplexer {
public:
    virtual ~multiplexer() = default;
    /// Whether calls to `to` may share a connection.
    virtual bool takes(const url& to) const = 0;
    /// Sends one request, which has a problem-free head and which the caller keeps. Nothing, when
    /// it has turned out that this server speaks HTTP/1.1 only.
    virtual task<result<std::optional<http_response>>> send(const http_request& ask,
                                                            exchange_limits limits,
                                                            limit total) = 0;
    /// Opens a connection ahead of the first call; how many are ready. Nothing, when it has turned
    /// out that this server speaks HTTP/1.1 only.
    virtual task<result<std::optional<std::size_t>>> warm_up(url to, exchange_limits limits) = 0;
    /// Calls that wait for a connection to share, beside those that wait in the pool.
    virtual std::size_t waiting() const = 0;
};

class multiplexer_maker {
public:
    virtual ~multiplexer_maker() = default;
    virtual std::shared_ptr<multiplexer> make(multiplex_site site) const = 0;
};

}  // namespace detail

/// How a transport shares connections; made by `http2()` of llmkit/transport/http2.hpp. Empty: one
/// call at a time has a connection.
class multiplexing {
public:
    multiplexing() = default;
    explicit multiplexing(std::shared_ptr<const detail::multiplexer_maker> maker)
        : maker_(std::move(maker)) {}

    explicit operator bool() const { return maker_ != nullptr; }
    const detail::multiplexer_maker& maker() const { return *maker_; }

private:
    std::shared_ptr<const detail::multiplexer_maker> maker_;
};

}  // namespace llmkit
