// llmkit/transport/proxy_address.hpp: an HTTP proxy, as its URL says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/result.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// RFC 4648 §4.
inline std::string base64(std::string_view in) {
    static constexpr char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < in.size(); i += 3) {
        const auto byte = [&](std::size_t at) -> std::uint32_t {
            return at < in.size() ? static_cast<unsigned char>(in[at]) : 0;
        };
        const std::uint32_t three = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
        for (std::size_t k = 0; k < 4; ++k)
            out += i + k > in.size() ? '=' : digits[three >> (18 - 6 * k) & 63];
    }
    return out;
}

/// Where a proxy is, and how we say who we are. Its user name and password appear in no message.
class proxy_address {
public:
    /// Reads "http://user:password@host:port"; scheme, user and port (80) may be left out, and what
    /// is special in user or password is percent-encoded. `source` is where the text came from, for
    /// messages, which never quote it. An error is one of kind `configuration`.
    static result<proxy_address> parse(std::string_view text, std::string_view source) {
        const auto fail = [&](std::string what, std::string advice) {
            return error(error_kind::configuration, std::string(source) + ' ' + std::move(what))
                .with_advice(std::move(advice));
        };
        constexpr std::string_view form = "Write it like http://user:password@host:3128.";
        const std::size_t colon = text.find("://");
        const std::string_view scheme = text.substr(0, colon);
        if (colon != std::string_view::npos) {
            text.remove_prefix(colon + 3);
            if (same_ignoring_case(scheme, "https"))
                return fail(
                    "names a proxy that is spoken to over TLS (https://), which is not "
                    "supported",
                    "Give the proxy's http:// address: https URLs are encrypted through "
                    "it all the same.");
            if (!same_ignoring_case(scheme, "http"))
                return fail("names a proxy of another kind than HTTP",
                            "Only http:// proxies are supported; SOCKS is not.");
        }
        const std::size_t end = text.find_first_of("/?#");
        std::string_view authority = text.substr(0, end);
        if (end != std::string_view::npos && text.substr(end) != "/")
            return fail("goes on after the proxy's host and port",
                        std::string(form) + " A '/', '?' or '#' in a password is percent-encoded.");
        proxy_address out;
        if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
            if (!out.identify(authority.substr(0, at)))
                return fail(
                    "has a user name or password that is wrongly percent-encoded, or a ':' "
                    "in the user name",
                    std::string(form));
            authority.remove_prefix(at + 1);
        }
        std::string why;
        const auto where = url::parse("http://" + std::string(authority), why);
        if (!where) return fail("is no proxy's address: " + why, std::string(form));
        out.where_ = *where;
        out.pool_key_ = "proxy " + out.name();
        return out;
    }

    const std::string& host() const { return where_->host(); }
    std::uint16_t port() const { return where_->port(); }
    /// "http://proxy.example:3128": for messages.
    std::string name() const { return where_->origin(); }
    /// What connections to it are pooled by.
    const std::string& pool_key() const { return pool_key_; }
    /// The value of `Proxy-Authorization` (RFC 7617); empty when it has no user.
    const std::string& authorization() const { return authorization_; }

private:
    proxy_address() = default;

    bool identify(std::string_view text) {
        std::string decoded;
        bool has_colon = false;
        for (std::size_t i = 0; i < text.size(); ++i) {
            char c = text[i];
            if (c == '%') {
                if (i + 2 >= text.size()) return false;
                const int high = hex_digit(text[i + 1]);
                const int low = hex_digit(text[i + 2]);
                if (high < 0 || low < 0) return false;
                c = static_cast<char>(high * 16 + low);
                if (c == ':' && !has_colon) return false;
                i += 2;
            } else if (c == ':') {
                has_colon = true;
            }
            decoded += c;
        }
        if (!has_colon) decoded += ':';
        authorization_ = "Basic " + base64(decoded);
        return true;
    }

    std::optional<url> where_;
    std::string pool_key_;
    std::string authorization_;
};

}  // namespace llmkit::detail
