// llmkit/transport/connect.hpp: from a URL to an open connection: name, address, encryption.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/resolver.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// Tries the addresses in turn.
inline task<result<void>> connect_any(connection_hold& hold, addresses found, std::uint16_t port,
                                      exchange_limits limits, std::string authority) {
    std::error_code failed;
    for (const auto& address : found) {
        failed = co_await hold.connection().line.connect(asio::ip::tcp::endpoint(address, port));
        if (hold.why() != cut_why::none) co_return cut_error(hold.why(), limits, "connecting");
        if (!failed) co_return result<void>();
        if (failed == asio::error::operation_aborted) throw_cancelled();
    }
    std::string tried = found.size() > 1 ? fmt::format(", {} addresses tried", found.size()) : "";
    co_return error(error_kind::connect,
                    fmt::format("cannot connect to {} ({}{})", authority, failed.message(), tried));
}

/// What is offered by ALPN; the server chooses.
inline constexpr std::string_view http1_only[] = {"http/1.1"};
inline constexpr std::string_view http2_or_1[] = {"h2", "http/1.1"};

/// Opens the connection that `hold` has a place for. The caller is a user of the hold and
/// keeps `to`.
inline task<result<void>> establish(std::shared_ptr<connection_hold> hold,
                                    std::shared_ptr<resolver> names, encryption secure,
                                    const url& to, exchange_limits limits, limit total,
                                    std::span<const std::string_view> protocols = http1_only) {
    connection_hold::span patience(*hold, limits.connect, cut_why::connect);
    limit until = total.earliest(after(hold->time().now(), limits.connect));
    until.owner = total.owner;
    auto found = co_await resolver::find(names, to.host(), until);
    if (!found) {
        const error_kind kind = found.error().kind();
        if (kind == error_kind::closed)
            co_return cut_error(cut_why::closed, limits, "looking up the host name");
        if (kind != error_kind::timeout) co_return found.error();
        const bool whole = total.effective() <= until.effective();
        co_return cut_error(whole ? cut_why::total : cut_why::connect, limits,
                            "looking up the host name");
    }
    auto linked = co_await connect_any(*hold, std::move(*found), to.port(), limits, to.authority());
    if (!linked) {
        names->forget(to.host());
        co_return linked.error();
    }
    if (!to.secure()) co_return result<void>();

    channel_peer peer;
    peer.host = to.host();
    peer.port = to.port();
    peer.host_is_ip = to.host_is_ip();
    peer.protocols = protocols;
    auto over = secure.maker().make(peer);
    if (!over) co_return over.error();
    auto greeted = co_await hold->connection().line.encrypt(std::move(*over));
    if (hold->why() != cut_why::none) co_return cut_error(hold->why(), limits, "agreeing on TLS");
    co_return greeted;
}

}  // namespace llmkit::detail
