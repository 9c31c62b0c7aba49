// llmkit/transport/http2_warm_up.hpp: an HTTP/2 connection before the first call needs it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/http2_dial.hpp>
#include <llmkit/transport/http2_framing.hpp>
#include <llmkit/transport/multiplex.hpp>
#include <llmkit/transport/url.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// Exchanges settings with the peer until both sides have acknowledged those of the other. What
/// came later would come unasked, and an idle connection on which something came is not used again.
inline task<result<void>> http2_settle(wire& line, http2_framing& framing) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(4096);
    std::string out;
    std::error_code failed;
    for (;;) {
        out.clear();
        framing.produce(out, 64 * 1024);
        outgoing left{asio::buffer(out), asio::const_buffer()};
        sent how = line.try_write(left);
        while (how == sent::later && !failed) {
            failed = co_await line.wait(asio::socket_base::wait_write);
            if (!failed) how = line.try_write(left);
        }
        if (framing.acknowledged() && !framing.wants_write()) co_return result<void>();
        std::size_t count = 0;
        if (!failed && how == sent::all)
            count = co_await line.read_some(asio::buffer(buffer.get(), 4096), failed);
        if (failed == asio::error::operation_aborted) throw_cancelled();
        if (failed || how == sent::failed) co_return lost_error(failed, false);
        if (!framing.receive(std::string_view(buffer.get(), count)))
            co_return error(error_kind::protocol,
                            "the server breaks the rules of HTTP/2: " + framing.broken());
    }
}

/// Opens one connection, on which all calls will find room, and leaves it idle in the pool; how
/// many are ready: one, or none when the pool has no place. Nothing when the server speaks HTTP/1.1
/// only; then the connection waits for a call that does.
inline task<result<std::optional<std::size_t>>> http2_warm_up(multiplex_site site,
                                                              http2_options options, url to,
                                                              exchange_limits limits) {
    auto place = connection_pool::acquire_now(site.pool, to.origin());
    if (!place) co_return std::optional<std::size_t>(0);
    auto hold = std::make_shared<connection_hold>(site.time, std::move(place));
    connection_hold::use opening(*hold);
    if (!hold->connected()) {
        auto open = co_await site.open(hold, to, limits);
        if (!open) co_return open.error();
        if (to.secure() ? *open == "h2" : options.prior_knowledge) {
            auto framing = std::make_shared<http2_framing>(bounds_of(options, site.policy));
            hold->connection().session = framing;
            connection_hold::span patience(*hold, limits.connect, cut_why::connect);
            auto settled = co_await http2_settle(hold->connection().line, *framing);
            if (hold->why() != cut_why::none)
                co_return cut_error(hold->why(), limits, "agreeing on HTTP/2");
            if (!settled) co_return settled.error();
        }
    }
    auto lease = opening.take();
    const bool shared = lease.connection()->session != nullptr;
    lease.connection()->used = true;  // it may be closed again by the time it is wanted
    lease.connection()->rest();
    lease.keep();
    if (!shared) co_return std::optional<std::size_t>();
    co_return std::optional<std::size_t>(1);
}

}  // namespace llmkit::detail
