// llmkit/detail/http1_write.hpp: writes the heads and chunks of HTTP/1.1 messages.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

/// Appends texts one after another, growing `out` once. None of them may lie in `out`.
inline void append_all(std::string& out, std::initializer_list<std::string_view> texts) {
    const std::size_t begin = out.size();
    std::size_t size = begin;
    for (const std::string_view text : texts) size += text.size();
    out.resize(size);
    char* to = out.data() + begin;
    for (const std::string_view text : texts) to = std::copy(text.begin(), text.end(), to);
}

/// How the body that follows a head is framed, and so which framing header is written: none,
/// `Content-Length`, or `Transfer-Encoding: chunked`.
class http1_body {
public:
    static constexpr http1_body none() { return {kind::none, 0}; }
    static constexpr http1_body sized(std::uint64_t bytes) { return {kind::sized, bytes}; }
    static constexpr http1_body chunked() { return {kind::chunked, 0}; }

    /// Writes that header, and the empty line after the last one.
    void end_head(std::string& out) const {
        if (kind_ == kind::none) return append_all(out, {"\r\n"});
        if (kind_ == kind::chunked) return append_all(out, {"Transfer-Encoding: chunked\r\n\r\n"});
        char digits[20];
        const char* const end = std::to_chars(digits, digits + sizeof digits, size_).ptr;
        append_all(out, {"Content-Length: ", std::string_view(digits, end), "\r\n\r\n"});
    }

private:
    enum class kind : unsigned char { none, sized, chunked };
    constexpr http1_body(kind what, std::uint64_t size) : kind_(what), size_(size) {}
    kind kind_;
    std::uint64_t size_;
};
static_assert(std::is_trivially_destructible_v<http1_body>);

/// Whether these headers may go on the wire, or `why` not, in words. The framing headers are the
/// writer's own: a second one would let a body be read in two ways.
inline bool sendable(const headers& fields, std::string& why) {
    for (const auto [name, value] : fields) {
        if (!headers::valid_name(name) || !headers::valid_value(value)) {
            why = headers::problem(name, value);
            return false;
        }
        if (same_ignoring_case(name, "content-length") ||
            same_ignoring_case(name, "transfer-encoding")) {
            why = std::string("header '")
                      .append(name)
                      .append("' is written by the transport itself: take it out");
            return false;
        }
    }
    return true;
}

/// Appends a request's head to `out`. A `Host` among the headers replaces `host`. Appends nothing
/// and says `why`, without quoting any value, when something in it may not be sent.
///
///     std::string out, why;
///     write_request_head(out, "POST", url.target(), url.authority(), fields,
///                        http1_body::sized(body.size()), why);
inline bool write_request_head(std::string& out, std::string_view method, std::string_view target,
                               std::string_view host, const headers& fields, http1_body body,
                               std::string& why) {
    why.clear();
    if (!is_token(method)) {
        why = "the request's method is no HTTP method: use GET, POST, …";
        return false;
    }
    if (target.empty() || !only_visible(target)) {
        why =
            "the request's path is empty or holds a space, a line break or a character outside "
            "ASCII: percent-encode it";
        return false;
    }
    std::size_t hosts = 0;
    for (const auto [name, value] : fields) hosts += same_ignoring_case(name, "host");
    if (hosts > 1 || (hosts == 0 && has_control(host))) {
        why = hosts > 1 ? "the request has several Host headers: keep one"
                        : "the request's host holds a control character: remove it";
        return false;
    }
    if (!sendable(fields, why)) return false;
    if (hosts == 0) {
        append_all(out, {method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n", fields.lines()});
    } else {
        append_all(out, {method, " ", target, " HTTP/1.1\r\n", fields.lines()});
    }
    body.end_head(out);
    return true;
}

/// Appends an answer's head to `out`; the same rules. A body framed by `none` lasts until the
/// connection closes, except after 1xx, 204 and 304.
inline bool write_response_head(std::string& out, int status, std::string_view reason,
                                const headers& fields, http1_body body, std::string& why) {
    why.clear();
    if (status < 100 || status > 999 || has_control(reason)) {
        why = "the answer's status is not from 100 to 999, or its reason holds a control character";
        return false;
    }
    if (!sendable(fields, why)) return false;
    append_all(out, {"HTTP/1.1 ", std::to_string(status), " ", reason, "\r\n", fields.lines()});
    body.end_head(out);
    return true;
}

/// Appends the line that stands before a chunk of `size` bytes. 0 would end the body.
inline void write_chunk_size(std::string& out, std::size_t size) {
    char digits[16];
    const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
    out.append(digits, end).append("\r\n");
}

/// Appends one chunk; nothing when `data` is empty, as an empty chunk would end the body.
inline void write_chunk(std::string& out, std::string_view data) {
    if (data.empty()) return;
    write_chunk_size(out, data.size());
    out.append(data).append("\r\n");
}

/// Appends what ends a chunked body. Trailers must be sound (`headers::problem`).
inline void write_last_chunk(std::string& out, const headers& trailers = {}) {
    append_all(out, {"0\r\n", trailers.lines(), "\r\n"});
}

}  // namespace llmkit::detail
