// llmkit/cache/store_dial.hpp: from a store's address to an open connection.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <asio/local/stream_protocol.hpp>

#include <llmkit/cache/store_address.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/timed_out.hpp>
#include <llmkit/detail/happy_eyeballs.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/dial.hpp>
#include <llmkit/transport/resolver.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// What connecting to stores needs of one io_context: shared by all servers of a store.
struct store_network {
    store_network(const executor& on, encryption with)
        : time(on),
          sockets(socket_registry_service::of(time.base())),
          names(std::make_shared<resolver>(sockets, time, http_policy())),
          secure(std::move(with)) {}

    const clock_handle time;
    const std::shared_ptr<socket_registry> sockets;
    const std::shared_ptr<resolver> names;
    const encryption secure;
};

/// A socket connected to where `to` says.
inline task<result<stream_socket>> reach_store(std::shared_ptr<const store_network> net,
                                               store_address to, limit until) {
    addresses found;
    std::vector<stream_endpoint> endpoints;
    if (!to.socket.empty()) {
        std::string path = to.socket;
        if (path.front() == '@') path.front() = '\0';
        endpoints.push_back(asio::local::stream_protocol::endpoint(path));
    } else {
        auto looked = co_await resolver::find(net->names, to.host, until);
        if (!looked) co_return looked.error();
        found = in_turn(std::move(*looked));
        for (const auto& each : found) endpoints.push_back(asio::ip::tcp::endpoint(each, to.port));
    }
    auto race = std::make_shared<dialing>(net->sockets, net->time, std::move(endpoints),
                                          http_policy().attempt_delay);
    auto out = co_await dialing::run(std::move(race), until);
    if (out.socket) {
        if (out.which > 0) net->names->prefer(to.host, found[out.which]);
        co_return std::move(*out.socket);
    }
    if (to.socket.empty()) net->names->forget(to.host);
    if (out.ended == woke::by_close) co_return closed_meanwhile();
    if (out.ended == woke::by_limit)
        co_return error(error_kind::timeout, "nobody answered at " + to.name());
    if (out.failed == asio::error::bad_descriptor)
        co_return error(error_kind::closed, "the io_context has ended");
    co_return error(error_kind::connect,
                    fmt::format("cannot connect to {} ({})", to.name(), out.failed.message()))
        .with_advice("Check that the store runs and that its address is right.");
}

/// Connects `line`, encrypted where the address says so. Whoever cuts it meanwhile ends this too.
inline task<result<void>> open_store(std::shared_ptr<const store_network> net, store_address to,
                                     std::shared_ptr<wire> line, limit until) {
    if (to.secure && !net->secure)
        co_return error(error_kind::configuration,
                        "the store's URL asks for TLS, and none was given")
            .with_advice(
                "Include <llmkit/transport/tls.hpp> and give tls() among the store's options.");
    auto reached = co_await reach_store(net, to, until);
    if (!reached) co_return reached.error();
    if (!line->adopt(std::move(*reached)))
        co_return error(error_kind::closed, "the store was closed while connecting");
    if (!to.secure) co_return result<void>();
    channel_peer peer;
    peer.host = to.host;
    peer.port = to.port;
    std::error_code not_ip;
    static_cast<void>(asio::ip::make_address(to.host, not_ip));
    peer.host_is_ip = !not_ip;
    auto over = net->secure.maker().make(peer);
    if (!over) co_return over.error();
    co_return co_await line->encrypt(std::move(*over));
}

}  // namespace llmkit::detail
