// llmkit/transport/route.hpp: which way a transport goes: direct, by proxies, by a Unix socket.
#pragma once

#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/un.h>

#include <llmkit/core/result.hpp>
#include <llmkit/transport/no_proxy.hpp>
#include <llmkit/transport/proxy_address.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit {

namespace detail {

/// What a connection for a URL leads to: its host, unless one of these is set. Points into a route.
struct hop {
    const proxy_address* proxy = nullptr;
    const std::string* socket = nullptr;  ///< a Unix socket's path

    /// A proxy that is told the whole URL of each request; otherwise it is asked for a tunnel.
    bool forwards(const url& to) const { return proxy && !to.secure(); }
    bool tunnels(const url& to) const { return proxy && to.secure(); }

    /// What calls of one transport must have in common to share connections.
    const std::string& pool_key(const url& to) const {
        return forwards(to) ? proxy->pool_key() : to.origin();
    }
};

/// The value of an environment variable; null when it is not set.
using environment = std::function<const char*(const char* name)>;

inline const char* process_environment(const char* name) { return std::getenv(name); }

}  // namespace detail

/// The way to a transport's servers, for `http_options::route`; made by the functions below. A way
/// that cannot be used is an error of kind `configuration` at the first call.
class route {
public:
    /// Where to connect for `to`.
    result<detail::hop> towards(const url& to) const {
        if (unusable_) return *unusable_;
        detail::hop out;
        if (!socket_.empty()) out.socket = &socket_;
        const auto& by = to.secure() ? https_ : http_;
        if (!by || except_.covers(to) || (spares_loopback_ && detail::no_proxy_list::loopback(to)))
            return out;
        if (!*by) return by->error();
        out.proxy = &**by;
        return out;
    }

private:
    route() = default;
    friend route direct();
    friend route proxy(std::string_view where, std::string_view except);
    friend route unix_socket(std::string path);
    friend route environment_proxies(const detail::environment& get);

    std::optional<result<detail::proxy_address>> http_;
    std::optional<result<detail::proxy_address>> https_;
    detail::no_proxy_list except_;
    bool spares_loopback_ = false;
    std::string socket_;
    std::optional<error> unusable_;
};

/// Straight to the URL's host, whatever the environment says.
///
///     auto options = llmkit::http_options().route(llmkit::direct());
inline route direct() { return route(); }

/// Through an HTTP proxy: http URLs are handed to it, https URLs go through a tunnel (CONNECT), in
/// which TLS is agreed on with the server itself, so that the proxy sees the host and nothing else.
///
///     auto options = llmkit::http_options().route(
///         llmkit::proxy("http://user:password@proxy.example:3128", "localhost,.internal"));
///
/// `except` names hosts that are reached without it, written as for NO_PROXY; nothing is excepted
/// by itself. The port is 80 if none is given. Special characters in user and password are
/// percent-encoded. The proxy itself is spoken to in clear, so its password is too.
inline route proxy(std::string_view where, std::string_view except = {}) {
    route out;
    auto by = detail::proxy_address::parse(where, "the URL given to proxy()");
    if (!by) out.unusable_ = by.error();
    out.http_ = by;
    out.https_ = std::move(by);
    out.except_ = detail::no_proxy_list(except);
    return out;
}

/// To a server on this machine that listens on a Unix domain socket, whatever host a URL names: the
/// host only stands in the `Host` header. Proxies are not used.
///
///     auto options = llmkit::http_options().route(llmkit::unix_socket("/run/llm.sock"));
///     // then, for instance, base URL http://localhost/v1
///
/// A path that begins with '@' names a socket in Linux's abstract namespace. At most 107 bytes.
inline route unix_socket(std::string path) {
    route out;
    constexpr std::size_t most = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty() || path.size() > most || path.find('\0') != std::string::npos)
        out.unusable_ =
            error(error_kind::configuration,
                  path.size() > most
                      ? "the path of the Unix socket has " + std::to_string(path.size()) +
                            " bytes, more than the " + std::to_string(most) + " there may be"
                      : "the path given to unix_socket() is empty or holds a zero byte")
                .with_advice("Give the path of the server's socket, such as /run/llm.sock.");
    out.socket_ = std::move(path);
    return out;
}

/// As the environment says, read once, now; what transports do unless told otherwise. `https_proxy`
/// for https URLs, `http_proxy` for http URLs, `all_proxy` for what neither of them says; `no_proxy`
/// names hosts that are reached directly. Upper case works as well, and lower case comes first.
///
/// `localhost` and loopback addresses are always reached directly. HTTP_PROXY in upper case is
/// ignored where REQUEST_METHOD is set: in a CGI program whoever sends a request sets it by a header
/// ("httpoxy").
inline route environment_proxies(const detail::environment& get = detail::process_environment) {
    const auto value = [&](const char* lower,
                           const char* upper) -> std::pair<const char*, const char*> {
        for (const char* name : {lower, upper}) {
            const char* const text = name ? get(name) : nullptr;
            if (text && *text) return {name, text};
        }
        return {nullptr, nullptr};
    };
    const auto all = value("all_proxy", "ALL_PROXY");
    const auto read = [&](std::pair<const char*, const char*> set) {
        std::optional<result<detail::proxy_address>> out;
        if (!set.first) set = all;
        if (set.first)
            out = detail::proxy_address::parse(set.second,
                                               std::string("the environment's ") + set.first);
        return out;
    };
    const bool in_cgi = get("REQUEST_METHOD") != nullptr;
    route out;
    out.http_ = read(value("http_proxy", in_cgi ? nullptr : "HTTP_PROXY"));
    out.https_ = read(value("https_proxy", "HTTPS_PROXY"));
    if (const auto set = value("no_proxy", "NO_PROXY"); set.first)
        out.except_ = detail::no_proxy_list(set.second);
    out.spares_loopback_ = true;
    return out;
}

}  // namespace llmkit
