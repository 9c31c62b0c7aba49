// llmkit/transport/url.hpp: where a request goes: http or https, host, port, path, query.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/detail/ip_literal.hpp>

namespace llmkit {

/// An absolute http or https URL, checked once and immutable (RFC 3986; RFC 9110 §4.2). Copies share
/// one text.
///
///     std::string why;
///     auto base = url::parse("https://api.openai.com/v1", why);    // nothing: `why` says why
///     auto chat = base->join("chat/completions", why);
///     chat->target();                                               // "/v1/chat/completions"
///
/// Strict, because two programs that read one URL differently are how requests go astray: no
/// spaces, controls or non-ASCII bytes, no user name or password, no fragment, no shortened or
/// octal IPv4 addresses. Percent-encodings are kept as written. Messages never quote the path, the
/// query or a password, as these may hold secrets.
class url {
public:
    /// Reads a URL; or nothing, and `why` says what is wrong and what to do.
    static std::optional<url> parse(std::string_view text, std::string& why);

    /// This URL with an operation appended to its path; the query of both is kept, this one's
    /// first. One '/' stands between them, whoever brought it. The operation may not climb out
    /// ("..", also as "%2e%2e").
    std::optional<url> join(std::string_view operation, std::string& why) const;

    /// "http" or "https".
    std::string_view scheme() const { return parts_->scheme(); }
    /// Whether it asks for TLS.
    bool secure() const { return parts_->secure; }
    /// Lower case; an IPv6 address without its brackets.
    const std::string& host() const { return parts_->host; }
    /// Whether the host is a written IPv4 or IPv6 address, for which TLS sends no server name.
    bool host_is_ip() const { return detail::is_ipv6(host()) || detail::is_ipv4(host()); }
    /// 1 to 65535; 80 or 443 when not written.
    std::uint16_t port() const { return parts_->port; }
    /// Begins with '/'.
    const std::string& path() const { return parts_->path; }
    /// Without the '?'; empty when there is none.
    const std::string& query() const { return parts_->query; }

    /// Path and query, as they stand in a request line.
    const std::string& target() const { return parts_->target; }

    /// Host and port as in a `Host` header: brackets around IPv6, no default port.
    std::string_view authority() const {
        return std::string_view(origin()).substr(secure() ? 8 : 7);
    }

    /// Scheme, host and port: what two URLs share that may share a connection. Holds no secret.
    const std::string& origin() const { return parts_->origin; }

    /// The whole URL. Its query may hold a secret: show `origin()` in messages.
    std::string text() const { return origin() + target(); }

    friend bool operator==(const url& a, const url& b) {
        return a.origin() == b.origin() && a.target() == b.target();
    }

private:
    struct parts {
        bool secure = false;
        std::uint16_t port = 80;
        std::string host;
        std::string path;
        std::string query;
        // Of the others, so that no call makes them anew:
        std::string origin;
        std::string target;

        std::string_view scheme() const { return secure ? "https" : "http"; }
        bool read_host(std::string_view text, std::string& why);
        bool read_port(std::string_view text, std::string& why);
    };

    explicit url(parts checked) {
        parts& p = checked;
        p.origin.assign(p.scheme()).append("://");
        const bool v6 = p.host.find(':') != std::string::npos;
        p.origin.append(v6 ? "[" : "").append(p.host).append(v6 ? "]" : "");
        if (p.port != (p.secure ? 443 : 80)) p.origin.append(":").append(std::to_string(p.port));
        p.target = p.query.empty() ? p.path : p.path + '?' + p.query;
        parts_ = std::make_shared<const parts>(std::move(checked));
    }
    static bool check_characters(std::string_view text, std::string& why);

    std::shared_ptr<const parts> parts_;  // null once moved from
};

inline std::optional<url> url::parse(std::string_view text, std::string& why) {
    why.clear();
    if (text.empty()) {
        why = "the URL is empty: give one such as https://api.openai.com/v1";
        return std::nullopt;
    }
    if (!check_characters(text, why)) return std::nullopt;

    parts out;
    const std::size_t colon = text.find("://");
    const std::string_view scheme = text.substr(0, colon);
    if (colon == std::string_view::npos) {
        why = "the URL has no scheme: put http:// or https:// in front of it";
        return std::nullopt;
    }
    if (detail::same_ignoring_case(scheme, "https")) {
        out.secure = true;
        out.port = 443;
    } else if (!detail::same_ignoring_case(scheme, "http")) {
        why = "the URL must begin with http:// or https://, no other scheme is spoken";
        return std::nullopt;
    }
    text.remove_prefix(colon + 3);

    const std::size_t end = text.find_first_of("/?#");
    std::string_view authority = text.substr(0, end);
    std::string_view rest = end == std::string_view::npos ? std::string_view() : text.substr(end);
    if (authority.find('@') != std::string_view::npos) {
        why =
            "the URL holds a user name or password before '@': take it out and pass the key or an "
            "Authorization header instead";
        return std::nullopt;
    }
    if (rest.find('#') != std::string_view::npos) {
        why = "the URL holds a '#' fragment, which is never sent: take it out, or write %23";
        return std::nullopt;
    }

    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) {
            why = "the URL's IPv6 address lacks its closing ']'";
            return std::nullopt;
        }
        const std::string_view address = authority.substr(1, close - 1);
        if (!detail::is_ipv6(address)) {
            why = address.find('%') != std::string_view::npos
                      ? "an IPv6 address with a zone ('%') is not supported in a URL"
                      : "what stands in '[…]' is no IPv6 address: write it like [::1]";
            return std::nullopt;
        }
        for (const char c : address) out.host += detail::to_lower(c);
        authority.remove_prefix(close + 1);
        if (!authority.empty() && authority.front() != ':') {
            why = "after the IPv6 address's ']' only ':port' or '/' may follow";
            return std::nullopt;
        }
    } else {
        const std::size_t at = authority.find(':');
        if (at != std::string_view::npos && authority.find(':', at + 1) != std::string_view::npos) {
            why =
                "the URL's host holds several ':': put an IPv6 address in brackets, like "
                "http://[::1]:8080";
            return std::nullopt;
        }
        if (!out.read_host(authority.substr(0, at), why)) return std::nullopt;
        authority.remove_prefix(at == std::string_view::npos ? authority.size() : at);
    }
    if (authority.starts_with(':') && !out.read_port(authority.substr(1), why)) return std::nullopt;

    const std::size_t mark = rest.find('?');
    out.path = rest.substr(0, mark);
    if (out.path.empty()) out.path = "/";
    if (mark != std::string_view::npos) out.query = rest.substr(mark + 1);
    return url(std::move(out));
}

inline std::optional<url> url::join(std::string_view operation, std::string& why) const {
    why.clear();
    if (!check_characters(operation, why)) return std::nullopt;
    if (operation.find('#') != std::string_view::npos) {
        why = "the operation holds a '#': write %23";
        return std::nullopt;
    }
    const std::size_t mark = operation.find('?');
    std::string_view path = operation.substr(0, mark);
    const std::string_view query =
        mark == std::string_view::npos ? std::string_view() : operation.substr(mark + 1);

    std::string plain;  // with the dots decoded, as a server sees them
    for (std::size_t i = 0; i < path.size(); ++i) {
        const bool dot =
            path[i] == '%' && path[i + 1] == '2' && detail::to_lower(path[i + 2]) == 'e';
        plain += dot ? '.' : path[i];
        if (dot) i += 2;
    }
    for (std::string_view left = plain; !left.empty();) {
        const std::size_t slash = left.find('/');
        const std::string_view segment = left.substr(0, slash);
        if (segment == "." || segment == "..") {
            why = "the operation holds a '.' or '..' segment: name it relative to the base URL";
            return std::nullopt;
        }
        left.remove_prefix(slash == std::string_view::npos ? left.size() : slash + 1);
    }

    parts out = *parts_;
    if (path.starts_with('/')) path.remove_prefix(1);
    if (!path.empty()) {
        if (!out.path.ends_with('/')) out.path += '/';
        out.path += path;
    }
    if (!query.empty()) {
        if (!out.query.empty()) out.query += '&';
        out.query += query;
    }
    return url(std::move(out));
}

inline bool url::parts::read_host(std::string_view text, std::string& why) {
    if (text.empty()) {
        why = "the URL has no host: write it like https://api.openai.com/v1";
        return false;
    }
    std::size_t label = 0;
    bool sound = text.size() <= 253;
    for (const char c : text) {
        if (!detail::is_alpha(c) && !detail::is_digit(c) && c != '-' && c != '_' && c != '.')
            sound = false;
        if (c == '.' && label == 0) sound = false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63) sound = false;
        host += detail::to_lower(c);
    }
    if (!sound) {
        why =
            "the URL's host is no host name: use letters, digits, '-' and '.', at most 63 between "
            "dots and 253 in all (names with other letters in their 'xn--' form)";
        return false;
    }
    // "127.1" or "0x7f.1" would be a name to us and an address to the resolver.
    std::string_view last = host;
    if (last.ends_with('.')) last.remove_suffix(1);
    last.remove_prefix(last.rfind('.') + 1);
    bool number = last.starts_with("0x");
    if (!number) {
        number = true;
        for (const char c : last) number = number && detail::is_digit(c);
    }
    if (number && !detail::is_ipv4(host)) {
        why =
            "the URL's host looks like an IPv4 address but is none: write four numbers from 0 to "
            "255 without leading zeros";
        return false;
    }
    return true;
}

inline bool url::parts::read_port(std::string_view text, std::string& why) {
    std::uint32_t value = 0;
    bool sound = !text.empty() && text.size() <= 5;
    for (const char c : text) {
        sound = sound && detail::is_digit(c);
        if (sound) value = value * 10 + static_cast<std::uint32_t>(c - '0');
    }
    if (!sound || value == 0 || value > 65535) {
        why =
            "the URL's port is no number from 1 to 65535: correct it, or leave it out with its ':'";
        return false;
    }
    port = static_cast<std::uint16_t>(value);
    return true;
}

inline bool url::check_characters(std::string_view text, std::string& why) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f) {
            why = c == ' '
                      ? "the URL holds a space: remove it, or write %20"
                      : "the URL holds a line break or another control character: remove it (text "
                        "read from a file often ends in a newline)";
            return false;
        }
        if (byte >= 0x80) {
            why =
                "the URL holds a character outside ASCII: percent-encode it as UTF-8 (%C3%A9), or "
                "write the host in its 'xn--' form";
            return false;
        }
        if (std::string_view("\"<>\\^`{|}").find(c) != std::string_view::npos) {
            why =
                std::string("the URL holds a '") + c +
                "', which must be percent-encoded (or is it a placeholder still to be filled in?)";
            return false;
        }
        if (c == '%' && (i + 2 >= text.size() || detail::hex_digit(text[i + 1]) < 0 ||
                         detail::hex_digit(text[i + 2]) < 0)) {
            why =
                "the URL holds a '%' without two hexadecimal digits after it: write %25 for itself";
            return false;
        }
    }
    return true;
}

}  // namespace llmkit
