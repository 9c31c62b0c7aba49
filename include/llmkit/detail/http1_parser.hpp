// llmkit/detail/http1_parser.hpp: strict incremental parsers for HTTP/1.1 answers and requests.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/detail/http1_error.hpp>
#include <llmkit/detail/http1_fields.hpp>
#include <llmkit/detail/http1_message.hpp>
#include <llmkit/detail/http1_step.hpp>
#include <llmkit/detail/http_chars.hpp>

namespace llmkit::detail {

/// Reads "HTTP/1.0" or "HTTP/1.1"; -1 for other versions, -2 for what is no version.
constexpr int read_http_version(std::string_view text) {
    if (text == "HTTP/1.1") return 1;
    if (text == "HTTP/1.0") return 0;
    if (!text.starts_with("HTTP/") || text.size() == 5) return -2;
    for (const char c : text.substr(5))
        if (!is_digit(c) && c != '.') return -2;
    return -1;
}

/// The status line of an answer (RFC 9112 §4), and what it says of the body.
struct http1_status_line {
    // Set by the parser's `reset`:
    bool to_head = false;
    bool to_connect = false;
    // Read:
    int minor_version = 0;
    int status = 0;
    std::string reason;

    void clear() {
        minor_version = status = 0;
        reason.clear();
    }

    /// Whether bytes that come at `at` may still become a status line: another protocol on the
    /// port is told at its first byte.
    static bool plausible(std::string_view in, std::size_t at) {
        constexpr std::string_view magic = "HTTP/";
        for (std::size_t i = 0; i < in.size() && at + i < magic.size(); ++i)
            if (in[i] != magic[at + i]) return false;
        return true;
    }
    static bool skips_empty_line() { return false; }

    http1_error read(std::string_view line) {
        const std::size_t space = line.find(' ');
        minor_version = read_http_version(line.substr(0, space));
        if (minor_version == -1) return http1_error::unsupported_version;
        if (minor_version < 0 || space == std::string_view::npos)
            return http1_error::bad_start_line;
        line.remove_prefix(space + 1);
        if (line.size() < 3 || !is_digit(line[0]) || !is_digit(line[1]) || !is_digit(line[2]))
            return http1_error::bad_start_line;
        status = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
        line.remove_prefix(3);
        // Many servers leave out the space before an empty reason; nothing hangs on it.
        if (status < 100 || (!line.empty() && line.front() != ' '))
            return http1_error::bad_start_line;
        if (!line.empty()) line.remove_prefix(1);
        if (has_control(line))
            return line.find('\r') != std::string_view::npos ? http1_error::bare_line_break
                                                             : http1_error::bad_start_line;
        reason = line;
        return http1_error::none;
    }

    http1_error check(const http1_framing&) const {
        return status == 101 ? http1_error::unexpected_upgrade : http1_error::none;
    }
    bool interim() const { return status < 200; }

    http1_delimiter delimiter(const http1_framing& framing) const {
        if (to_head || status == 204 || status == 304) return http1_delimiter::none;
        if (to_connect && status >= 200 && status < 300) return http1_delimiter::none;
        if (framing.chunked()) return http1_delimiter::chunked;
        return framing.length() ? http1_delimiter::length : http1_delimiter::close;
    }
};

/// The first line of a request (RFC 9112 §3), and what it says of the body.
struct http1_request_line {
    int minor_version = 0;
    std::string method;
    std::string target;
    bool skipped_empty = false;

    void clear() {
        minor_version = 0;
        method.clear();
        target.clear();
        skipped_empty = false;
    }

    /// A TLS hello on a plain port is told at its first byte.
    static bool plausible(std::string_view in, std::size_t at) {
        return at > 0 || token_table[static_cast<unsigned char>(in.front())] ||
               in.front() == '\r' || in.front() == '\n';
    }
    /// One empty line before a request is forgiven, as RFC 9112 §2.2 asks.
    bool skips_empty_line() { return !std::exchange(skipped_empty, true); }

    http1_error read(std::string_view line) {
        const std::size_t first = line.find(' ');
        const std::size_t last = line.rfind(' ');
        if (first == std::string_view::npos || first == last) return http1_error::bad_start_line;
        const std::string_view verb = line.substr(0, first);
        const std::string_view where = line.substr(first + 1, last - first - 1);
        if (line.find('\r') != std::string_view::npos) return http1_error::bare_line_break;
        if (!is_token(verb) || where.empty()) return http1_error::bad_start_line;
        for (const char c : where) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= 0x20 || byte >= 0x7f) return http1_error::bad_start_line;
        }
        const bool plain = where.front() == '/';
        const bool all = where == "*" && verb == "OPTIONS";
        const bool absolute = where.starts_with("http://") || where.starts_with("https://");
        if (!plain && !all && !absolute && verb != "CONNECT") return http1_error::bad_start_line;
        minor_version = read_http_version(line.substr(last + 1));
        if (minor_version == -1) return http1_error::unsupported_version;
        if (minor_version < 0) return http1_error::bad_start_line;
        method = verb;
        target = where;
        return http1_error::none;
    }

    http1_error check(const http1_framing& framing) const {
        const bool sound = framing.hosts() == 1 || (framing.hosts() == 0 && minor_version == 0);
        return sound ? http1_error::none : http1_error::bad_host;
    }
    static bool interim() { return false; }

    static http1_delimiter delimiter(const http1_framing& framing) {
        if (framing.chunked()) return http1_delimiter::chunked;
        return framing.length() ? http1_delimiter::length : http1_delimiter::none;
    }
};

/// Parses the answers that come over one connection, one after another.
///
///     http1_response_parser parser;
///     parser.reset("POST");
///     for (std::string_view in = bytes;;) {
///         const auto [step, consumed, data] = parser.step(in);
///         in.remove_prefix(consumed);
///         if (step == http1_step::need_more) …            // read on; at the end: parser.finish()
///         if (step == http1_step::head) …                 // parser.status(), parser.fields()
///         if (step == http1_step::data) body += data;     // a view into `in`
///         if (step == http1_step::complete) break;        // then parser.keep_alive()
///         if (step == http1_step::failed) …               // describe(parser.error())
///     }
///
/// Interim answers (1xx) are skipped, but 101 is refused. Bytes after `complete` are left alone: a
/// server has no business sending them, so a connection that has some is not to be used again.
class http1_response_parser : public http1_message<http1_status_line> {
public:
    explicit http1_response_parser(const http1_limits& limits = {}) : http1_message(limits) {
        reset();
    }

    /// Before each answer: the method of the request, as answers to HEAD and CONNECT differ.
    void reset(std::string_view method = "GET") {
        restart();
        start_.to_head = method == "HEAD";
        start_.to_connect = method == "CONNECT";
    }

    /// 200 to 999.
    int status() const { return start_.status; }
    /// May be empty.
    const std::string& reason() const { return start_.reason; }
};

/// Parses the requests that come over one connection, one after another; used as the other. Bytes
/// after `complete` are the next request: call `reset()` and go on.
class http1_request_parser : public http1_message<http1_request_line> {
public:
    explicit http1_request_parser(const http1_limits& limits = {}) : http1_message(limits) {
        reset();
    }

    /// Before each request.
    void reset() { restart(); }

    const std::string& method() const { return start_.method; }
    /// As it came: "/path?query", "*", an absolute URL, or CONNECT's "host:port".
    const std::string& target() const { return start_.target; }
    /// Whether the client waits for "100 Continue" before it sends the body.
    bool expects_continue() const { return framing_.expects_continue(); }
};

}  // namespace llmkit::detail
