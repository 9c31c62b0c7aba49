// llmkit/transport/tunnel.hpp: a connection through an HTTP proxy to the server behind it.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/proxy_address.hpp>
#include <llmkit/transport/url.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// The error for a proxy that wants to know who we are, or does not believe it.
inline error proxy_login_error(const proxy_address& by, int status, const headers& fields) {
    bool basic = false;
    bool other = false;
    for (const auto [name, offer] : fields) {
        if (!same_ignoring_case(name, "Proxy-Authenticate")) continue;
        const bool known = same_ignoring_case(offer.substr(0, offer.find(' ')), "Basic");
        (known ? basic : other) = true;
    }
    const bool known = !by.authorization().empty();
    std::string what = fmt::format("the proxy {} {}", by.name(),
                                   known ? "does not accept the user name and password given for it"
                                         : "asks for a user name and password");
    if (other && !basic)
        what += ", and does not offer Basic authentication, the one that is supported";
    return error(error_kind::configuration, std::move(what))
        .with_status(status)
        .with_code("proxy_login")
        .with_advice(
            "Give them in the proxy's URL, http://user:password@host:port, in the "
            "environment (HTTPS_PROXY, HTTP_PROXY) or to proxy().");
}

/// The error for a proxy that made no tunnel.
inline error tunnel_error(const proxy_address& by, std::string_view target, int status,
                          const headers& fields) {
    // Some say 401 to a wrong password, though that is a server's word (tinyproxy 1.11).
    if (status == 407 || status == 401) return proxy_login_error(by, status, fields);
    if (status >= 500)
        return error(error_kind::connect,
                     fmt::format("the proxy {} could not connect to {}", by.name(), target))
            .with_status(status)
            .with_code("proxy_failed")
            .with_advice("Check the host's name, and that the proxy can reach it.");
    return error(error_kind::configuration,
                 fmt::format("the proxy {} does not allow connections to {}", by.name(), target))
        .with_status(status)
        .with_code("proxy_refused")
        .with_advice(
            "Have the proxy allow it, or name the host in NO_PROXY (or the second "
            "argument of proxy()) if it can be reached without.");
}

/// What the proxy is asked for: host and port, both always written.
inline std::string tunnel_target(const url& to) {
    const bool v6 = to.host().find(':') != std::string::npos;
    return fmt::format("{}{}{}:{}", v6 ? "[" : "", to.host(), v6 ? "]" : "", to.port());
}

/// Asks the proxy at the other end of `line` for a connection to the server of `to` (CONNECT, RFC
/// 9110 §9.3.6). Its answer is parsed strictly, with a head of at most 16 KiB. The caller keeps
/// both, and cuts the line when it takes too long.
inline task<result<void>> open_tunnel(wire& line, const proxy_address& by, const url& to) {
    const std::string target = tunnel_target(to);
    headers fields;
    if (!by.authorization().empty()) fields.add("Proxy-Authorization", by.authorization());
    std::string head;
    std::string why;
    if (!write_request_head(head, "CONNECT", target, target, fields, http1_body::none(), why))
        co_return error(error_kind::invalid_request, std::move(why));

    outgoing left{asio::buffer(head), asio::const_buffer()};
    std::error_code failed;
    sent how = line.try_write(left);
    while (how == sent::later && !failed) {
        failed = co_await line.wait(asio::socket_base::wait_write);
        if (!failed) how = line.try_write(left);
    }

    http1_limits bounds;
    bounds.head_bytes = 16 * 1024;
    bounds.interim_responses = 10;
    http1_response_parser answer(bounds);
    answer.reset("CONNECT");
    std::array<char, 2048> buffer;
    std::string_view unread;
    for (http1_step step = http1_step::need_more; step != http1_step::head;) {
        const http1_progress got = answer.step(unread);
        unread.remove_prefix(got.consumed);
        step = got.step;
        if (step == http1_step::failed)
            co_return error(error_kind::protocol, fmt::format("the proxy {} answered wrongly: {}",
                                                              by.name(), describe(answer.error())))
                .with_advice("Check that this is the address of an HTTP proxy.");
        if (step != http1_step::need_more) continue;
        const std::size_t count = co_await line.read_some(asio::buffer(buffer), failed);
        if (failed == asio::error::operation_aborted) throw_cancelled();
        if (failed)
            co_return error(error_kind::connect,
                            fmt::format("the proxy {} closed the connection when it was asked for "
                                        "a connection to {}",
                                        by.name(), target))
                .with_code("proxy_failed")
                .with_advice("Check that this is the address of an HTTP proxy.");
        unread = std::string_view(buffer.data(), count);
    }
    const int status = answer.status();
    if (status < 200 || status >= 300) co_return tunnel_error(by, target, status, answer.fields());
    // Neither TLS nor HTTP begins with the server: whatever came was not meant for us.
    if (!unread.empty())
        co_return error(error_kind::protocol,
                        fmt::format("the proxy {} sent something behind its answer", by.name()));
    co_return result<void>();
}

}  // namespace llmkit::detail
