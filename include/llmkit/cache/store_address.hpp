// llmkit/cache/store_address.hpp: where a store listens: a URL of its own kind, taken apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/un.h>

#include <llmkit/core/result.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// The schemes of one kind of store, such as "redis", "rediss" and "redis+unix".
struct store_schemes {
    std::string_view plain;
    std::string_view secure;  ///< over TLS; may be empty: there is none
    std::string_view unix;    ///< at a path of this machine; may be empty
    std::uint16_t port = 0;   ///< when none is written
};

/// Where to connect and who we are there. Only `name` may stand in messages.
class store_address {
public:
    store_address() = default;
    store_address(std::string at, std::uint16_t on, bool encrypted = false)
        : host(std::move(at)), port(on), secure(encrypted) {}

    /// Reads "scheme://user:password@host:port/rest", in which all but scheme and host may be left
    /// out, or "scheme+unix://user:password@/path?rest". User and password are percent-encoded. An
    /// error is one of kind `configuration`, and never quotes the text.
    static result<store_address> parse(std::string_view text, const store_schemes& of) {
        const std::size_t colon = text.find("://");
        const std::string_view scheme =
            colon == std::string_view::npos ? std::string_view() : text.substr(0, colon);
        store_address out;
        out.scheme_ = std::string(of.plain);
        const auto is = [&](std::string_view one) {
            return !one.empty() && same_ignoring_case(scheme, one);
        };
        if (is(of.secure)) {
            out.secure = true;
            out.scheme_ = std::string(of.secure);
        } else if (!is(of.plain) && !is(of.unix)) {
            return wrong(of, "begins with another scheme");
        }
        text.remove_prefix(colon + 3);
        std::size_t end = text.find_first_of("/?#");
        if (end == std::string_view::npos) end = text.size();
        std::string_view authority = text.substr(0, end);
        if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
            const std::string_view who = authority.substr(0, at);
            const std::size_t between = std::min(who.find(':'), who.size());
            if (!decode(who.substr(0, between), out.user) ||
                !decode(who.substr(std::min(between + 1, who.size())), out.password))
                return wrong(of, "has a user or password that is wrongly percent-encoded");
            authority.remove_prefix(at + 1);
        }
        text.remove_prefix(end);
        if (const std::size_t mark = text.find('?'); mark != std::string_view::npos) {
            out.query = std::string(text.substr(mark + 1));
            text = text.substr(0, mark);
        }
        if (text.find('#') != std::string_view::npos)
            return wrong(of, "goes on with a '#', which is percent-encoded in a password");
        if (is(of.unix)) {
            constexpr std::size_t most = sizeof(sockaddr_un::sun_path) - 1;
            if (!authority.empty() || !decode(text, out.socket) || out.socket.size() < 2 ||
                out.socket.size() > most || out.socket.find('\0') != std::string::npos)
                return wrong(of, "is not that of a Unix socket: write " + std::string(of.unix) +
                                     ":///run/store.sock, at most 107 bytes of path");
            return out;
        }
        if (!decode(text.substr(text.empty() ? 0 : 1), out.rest))
            return wrong(of, "is wrongly percent-encoded after the host");
        return out.read_host(authority, of);
    }

    /// For messages: who is spoken with, without user and password.
    std::string name() const {
        if (!socket.empty()) return "the Unix socket " + socket;
        const bool v6 = host.find(':') != std::string::npos;
        return (scheme_.empty() ? "" : scheme_ + "://") + (v6 ? '[' + host + ']' : host) + ':' +
               std::to_string(port);
    }
    /// The same store on another host: what a cluster says of its nodes.
    store_address at(std::string other, std::uint16_t on) const {
        store_address moved = *this;
        moved.host = std::move(other);
        moved.port = on;
        moved.socket.clear();
        return moved;
    }

    std::string host;
    std::uint16_t port = 0;
    bool secure = false;
    std::string socket;  ///< a Unix socket's path; then there is no host
    std::string user;
    std::string password;
    std::string rest;   ///< what follows the host and '/'
    std::string query;  ///< what follows the '?', still encoded

private:
    static error wrong(const store_schemes& of, std::string what) {
        return error(error_kind::configuration, "the store's URL " + std::move(what))
            .with_advice("Write it like " + std::string(of.plain) +
                         "://:password@host:" + std::to_string(of.port) + ".");
    }
    result<store_address> read_host(std::string_view authority, const store_schemes& of) {
        const std::size_t closed = authority.rfind(']');
        const std::size_t from = closed == std::string_view::npos ? 0 : closed;
        const bool with_port = authority.find(':', from) != std::string_view::npos;
        std::string text = "http://" + std::string(authority);
        if (!with_port) text += ':' + std::to_string(of.port);
        std::string why;
        const auto where = url::parse(text, why);
        if (!where) return wrong(of, "names no host and port: " + why);
        host = where->host();
        port = where->port();
        return *this;
    }
    static bool decode(std::string_view text, std::string& out) {
        out.clear();
        for (std::size_t i = 0; i < text.size(); ++i) {
            char c = text[i];
            if (c == '%') {
                const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
                const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
                if (high < 0 || low < 0) return false;
                c = static_cast<char>(high * 16 + low);
                i += 2;
            }
            out += c;
        }
        return true;
    }

    std::string scheme_;
};

}  // namespace llmkit::detail
