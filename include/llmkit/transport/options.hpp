// llmkit/transport/options.hpp: what an http transport is made of and how far it may go.
#pragma once

#include <optional>
#include <utility>

#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/multiplex.hpp>
#include <llmkit/transport/policy.hpp>
#include <llmkit/transport/route.hpp>

namespace llmkit {

/// Everything that `http` can be told, in one place. What is left out has the default.
///
///     auto options = llmkit::http_options().tls(llmkit::tls()).policy({.max_connections = 400});
///     auto transport = llmkit::http(executor, options);
///
/// A builder with constructors, so it is safe in `co_await` expressions with g++ 12.
class http_options {
public:
    http_options() {}

    /// Encrypts https URLs; without it they are an error of kind `configuration`.
    http_options& tls(encryption how) {
        tls_ = std::move(how);
        return *this;
    }
    /// Bounds of connections, waiting, time and sizes.
    http_options& policy(const http_policy& bounds) {
        policy_ = bounds;
        return *this;
    }

    /// Shares connections among calls where the server speaks HTTP/2; without it HTTP/1.1 is
    /// spoken. From llmkit/transport/http2.hpp.
    http_options& http2(multiplexing how) {
        http2_ = std::move(how);
        return *this;
    }
    /// Which way servers are reached: `direct()`, `proxy(url)`, `unix_socket(path)`. Otherwise as the
    /// environment says when the transport is made (`environment_proxies()`).
    http_options& route(llmkit::route way) {
        route_ = std::move(way);
        return *this;
    }

    const encryption& tls() const { return tls_; }
    const multiplexing& http2() const { return http2_; }
    const http_policy& policy() const { return policy_; }
    const std::optional<llmkit::route>& route() const { return route_; }

private:
    encryption tls_;
    multiplexing http2_;
    http_policy policy_;
    std::optional<llmkit::route> route_;
};

}  // namespace llmkit
