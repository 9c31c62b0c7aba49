// llmkit/detail/http1_write.hpp: writes the heads and chunks of HTTP/1.1 messages.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

/// How the body that follows a head is framed, and so which framing header is written: none,
/// `Content-Length`, or `Transfer-Encoding: chunked`.
class http1_body {
public:
    static constexpr http1_body none() { return {kind::none, 0}; }
    static constexpr http1_body sized(std::uint64_t bytes) { return {kind::sized, bytes}; }
    static constexpr http1_body chunked() { return {kind::chunked, 0}; }

    void write_field(std::string& out) const {
        if (kind_ == kind::sized)
            out.append("Content-Length: ").append(std::to_string(size_)).append("\r\n");
        if (kind_ == kind::chunked) out.append("Transfer-Encoding: chunked\r\n");
    }

private:
    enum class kind : unsigned char { none, sized, chunked };
    constexpr http1_body(kind what, std::uint64_t size) : kind_(what), size_(size) {}
    kind kind_;
    std::uint64_t size_;
};
static_assert(std::is_trivially_destructible_v<http1_body>);

/// What forbids these headers on the wire, in words; empty when nothing does. The framing headers
/// are the writer's own: a second one would let a body be read in two ways.
inline std::string unsendable(const headers& fields) {
    for (const auto [name, value] : fields) {
        if (!headers::valid_name(name) || !headers::valid_value(value))
            return headers::problem(name, value);
        if (same_ignoring_case(name, "content-length") ||
            same_ignoring_case(name, "transfer-encoding"))
            return std::string("header '")
                .append(name)
                .append("' is written by the transport itself: take it out");
    }
    return {};
}

inline void write_fields(std::string& out, const headers& fields) {
    for (const auto [name, value] : fields)
        out.append(name).append(": ").append(value).append("\r\n");
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
    bool visible = !target.empty();
    for (const char c : target)
        visible =
            visible && static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
    if (!visible) {
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
    why = unsendable(fields);
    if (!why.empty()) return false;

    out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
    if (hosts == 0) out.append("Host: ").append(host).append("\r\n");
    write_fields(out, fields);
    body.write_field(out);
    out.append("\r\n");
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
    why = unsendable(fields);
    if (!why.empty()) return false;
    out.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason);
    out.append("\r\n");
    write_fields(out, fields);
    body.write_field(out);
    out.append("\r\n");
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
    out.append("0\r\n");
    write_fields(out, trailers);
    out.append("\r\n");
}

}  // namespace llmkit::detail
