// llmkit/transport/connect.hpp: from a URL to an open connection: name, address, encryption.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <asio/local/stream_protocol.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/dial.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/pool_figures.hpp>
#include <llmkit/transport/resolver.hpp>
#include <llmkit/transport/route.hpp>
#include <llmkit/transport/tunnel.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// What came of connecting so far.
struct connect_counts {
    std::atomic<std::uint64_t> opened{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<std::uint64_t> tls_handshakes{0};
    std::atomic<std::uint64_t> tls_resumed{0};

    void add_to(pool_figures& sum) const {
        sum.opened += opened;
        sum.failed += failed;
        sum.tls_handshakes += tls_handshakes;
        sum.tls_resumed += tls_resumed;
    }
};

/// What connecting needs; one a transport.
struct connector {
    connector(std::shared_ptr<socket_registry> in, clock_handle clock, const http_policy& policy,
              encryption with, route along, name_lookup ask = system_lookup)
        : sockets(std::move(in)),
          time(std::move(clock)),
          names(std::make_shared<resolver>(sockets, time, policy, std::move(ask))),
          secure(std::move(with)),
          way(std::move(along)),
          attempt_delay(policy.attempt_delay) {}

    const std::shared_ptr<socket_registry> sockets;
    const clock_handle time;
    const std::shared_ptr<resolver> names;
    const encryption secure;
    const route way;
    const duration attempt_delay;
    mutable connect_counts counts;
};

/// The limits of connecting: the policy's or the request's own, and the whole call's.
struct connect_limits {
    connect_limits(time_point now, const exchange_limits& each, const limit& whole)
        : limits(each), total(whole), until(whole.earliest(after(now, each.connect))) {
        until.owner = whole.owner;
    }
    /// The error for a wait that ended before what it waited for.
    error ended(woke why, std::string_view doing) const {
        const bool whole = total.effective() <= until.effective();
        const cut_why by_limit = whole ? cut_why::total : cut_why::connect;
        return cut_error(why == woke::by_close ? cut_why::closed : by_limit, limits, doing);
    }
    exchange_limits limits;
    limit total;
    limit until;
};

inline constexpr std::string_view check_proxy =
    "Check that the proxy runs and where it is said to be: in the environment (HTTPS_PROXY, "
    "HTTP_PROXY, ALL_PROXY) or in proxy().";

/// The error for a server, or a proxy before it, that is not to be reached.
inline error connect_error(const hop& by, const url& to, const dialed& how) {
    const std::string why = how.failed.message();
    if (how.failed == asio::error::bad_descriptor)
        return error(error_kind::closed, "the io_context has ended");
    if (by.socket) {
        const error out(error_kind::connect,
                        fmt::format("cannot connect to the Unix socket {} ({})", *by.socket, why));
        if (how.failed == asio::error::access_denied)
            return out.with_advice("Give this user the right to write to the socket.");
        return out.with_advice("Check that the server runs, and that it listens at this path.");
    }
    const std::string tried =
        how.tried > 1 ? fmt::format(", {} addresses tried", how.tried) : std::string();
    if (by.proxy)
        return error(error_kind::connect, fmt::format("cannot connect to the proxy {} ({}{})",
                                                      by.proxy->name(), why, tried))
            .with_advice(std::string(check_proxy));
    return error(error_kind::connect,
                 fmt::format("cannot connect to {} ({}{})", to.authority(), why, tried));
}

/// A socket that is connected to where `by` leads. The caller keeps `to`.
inline task<result<stream_socket>> reach(std::shared_ptr<const connector> with, hop by,
                                         const url& to, connect_limits limits) {
    const std::string& host = by.proxy ? by.proxy->host() : to.host();
    const std::uint16_t port = by.proxy ? by.proxy->port() : to.port();
    addresses found;
    std::vector<stream_endpoint> endpoints;
    if (by.socket) {
        std::string path = *by.socket;
        if (path.front() == '@') path.front() = '\0';
        endpoints.push_back(asio::local::stream_protocol::endpoint(path));
    } else {
        auto looked = co_await resolver::find(with->names, host, limits.until);
        if (!looked) {
            const error_kind kind = looked.error().kind();
            if (kind != error_kind::closed && kind != error_kind::timeout) {
                if (!by.proxy) co_return looked.error();
                const auto why = looked.error().message();
                co_return error(kind, fmt::format("the proxy {}: {}", by.proxy->name(), why))
                    .with_advice(std::string(check_proxy));
            }
            co_return limits.ended(kind == error_kind::closed ? woke::by_close : woke::by_limit,
                                   "looking up the host name");
        }
        found = in_turn(std::move(*looked));
        for (const auto& each : found) endpoints.push_back(asio::ip::tcp::endpoint(each, port));
    }
    auto race = std::make_shared<dialing>(with->sockets, with->time, std::move(endpoints),
                                          with->attempt_delay);
    auto out = co_await dialing::run(std::move(race), limits.until);
    if (!out.socket) {
        if (!by.socket) with->names->forget(host);
        if (out.ended != woke::by_bell) co_return limits.ended(out.ended, "connecting");
        co_return connect_error(by, to, out);
    }
    // Whoever comes next need not wait for those that did not answer.
    if (out.which > 0) with->names->prefer(host, found[out.which]);
    co_return std::move(*out.socket);
}

/// What is offered by ALPN; the server chooses.
inline constexpr std::string_view http1_only[] = {"http/1.1"};
inline constexpr std::string_view http2_or_1[] = {"h2", "http/1.1"};

/// Connects the place that `hold` has, as `establish` says, which counts what comes of it.
inline task<result<void>> open_line(std::shared_ptr<connection_hold> hold,
                                    std::shared_ptr<const connector> with, hop by, const url& to,
                                    connect_limits until,
                                    std::span<const std::string_view> protocols) {
    const exchange_limits& limits = until.limits;
    auto reached = co_await reach(with, by, to, until);
    if (!reached) co_return reached.error();

    wire& line = hold->connection().line;
    if (!line.adopt(std::move(*reached))) co_return cut_error(hold->why(), limits, "connecting");
    if (by.tunnels(to)) {
        auto through = co_await open_tunnel(line, *by.proxy, to);
        if (hold->why() != cut_why::none)
            co_return cut_error(hold->why(), limits, "asking the proxy for a connection");
        if (!through) co_return through.error();
    }
    if (!to.secure()) co_return result<void>();

    channel_peer peer;
    peer.host = to.host();
    peer.port = to.port();
    peer.host_is_ip = to.host_is_ip();
    peer.protocols = protocols;
    auto over = with->secure.maker().make(peer);
    if (!over) co_return over.error();
    auto greeted = co_await line.encrypt(std::move(*over));
    if (hold->why() != cut_why::none) co_return cut_error(hold->why(), limits, "agreeing on TLS");
    if (!greeted) co_return greeted.error();
    ++with->counts.tls_handshakes;
    if (line.resumed()) ++with->counts.tls_resumed;
    co_return result<void>();
}

/// Opens the connection that `hold` has a place for. The caller is a user of the hold and
/// keeps `to`.
inline task<result<void>> establish(std::shared_ptr<connection_hold> hold,
                                    std::shared_ptr<const connector> with, const url& to,
                                    exchange_limits limits, limit total,
                                    std::span<const std::string_view> protocols = http1_only) {
    const auto by = with->way.towards(to);
    if (!by) co_return by.error();
    connection_hold::span patience(*hold, limits.connect, cut_why::connect);
    const connect_limits until(hold->time().now(), limits, total);
    auto open = co_await open_line(hold, with, *by, to, until, protocols);
    ++(open ? with->counts.opened : with->counts.failed);
    co_return open;
}

}  // namespace llmkit::detail
