// llmkit/detail/http1_write.hpp: writes the heads and chunks of HTTP/1.1 messages.
#pragma once

#include <algorithm>
#include <array>
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

/// Puts texts one after another; gives the place behind the last one.
inline char* put_all(char* to, std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) to = std::copy(text.begin(), text.end(), to);
    return to;
}
inline std::size_t size_of_all(std::initializer_list<std::string_view> texts) {
    std::size_t size = 0;
    for (const std::string_view text : texts) size += text.size();
    return size;
}
/// Appends texts, none of which lies in `out`.
inline void append_all(std::string& out, std::initializer_list<std::string_view> texts) {
    const std::size_t begin = out.size();
    out.resize(begin + size_of_all(texts));
    put_all(out.data() + begin, texts);
}

/// How the body that follows a head is framed, and so which framing header is written: none,
/// `Content-Length`, or `Transfer-Encoding: chunked`.
class http1_body {
public:
    static constexpr http1_body none() { return {kind::none, 0}; }
    static constexpr http1_body sized(std::uint64_t bytes) { return {kind::sized, bytes}; }
    static constexpr http1_body chunked() { return {kind::chunked, 0}; }

    /// That header, and the empty line after the last one.
    class ending {
    public:
        operator std::string_view() const { return {text_.data(), size_}; }

    private:
        friend class http1_body;
        std::array<char, 48> text_;
        std::size_t size_ = 0;
    };
    ending end_of_head() const {
        ending out;
        char* to = out.text_.data();
        if (kind_ == kind::chunked) to = put_all(to, {"Transfer-Encoding: chunked\r\n"});
        if (kind_ == kind::sized) {
            to = put_all(to, {"Content-Length: "});
            to = put_all(std::to_chars(to, to + 20, size_).ptr, {"\r\n"});
        }
        to = put_all(to, {"\r\n"});
        out.size_ = static_cast<std::size_t>(to - out.text_.data());
        return out;
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
        if ((name.size() == 14 && same_ignoring_case(name, "content-length")) ||
            (name.size() == 17 && same_ignoring_case(name, "transfer-encoding"))) {
            why = std::string("header '")
                      .append(name)
                      .append("' is written by the transport itself: take it out");
            return false;
        }
    }
    return true;
}

/// Whether a request's head may go on the wire, or `why` not, without quoting any value.
inline bool sendable_request(std::string_view method, std::string_view target,
                             std::string_view host, const headers& fields, std::string& why) {
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
    for (const auto [name, value] : fields)
        hosts += name.size() == 4 && same_ignoring_case(name, "host");
    if (hosts > 1 || (hosts == 0 && has_control(host))) {
        why = hosts > 1 ? "the request has several Host headers: keep one"
                        : "the request's host holds a control character: remove it";
        return false;
    }
    return sendable(fields, why);
}

/// The head of a request that is `sendable_request`. A `Host` among the headers replaces `host`.
/// Refers to what it is made of.
class http1_request_head {
public:
    http1_request_head(std::string_view method, std::string_view target, std::string_view host,
                       const headers& fields, http1_body body)
        : ending_(body.end_of_head()) {
        const bool own = fields.contains("host");
        parts_ = {method,
                  " ",
                  target,
                  own ? " HTTP/1.1\r\n" : " HTTP/1.1\r\nHost: ",
                  own ? std::string_view() : host,
                  own ? "" : "\r\n",
                  fields.lines()};
    }

    std::size_t size() const {
        std::size_t sum = std::string_view(ending_).size();
        for (const std::string_view part : parts_) sum += part.size();
        return sum;
    }
    /// Needs room for `size()`; gives the place behind the last byte.
    char* put(char* to) const {
        for (const std::string_view part : parts_) to = std::copy(part.begin(), part.end(), to);
        return put_all(to, {ending_});
    }
    void append_to(std::string& out) const {
        const std::size_t begin = out.size();
        out.resize(begin + size());
        put(out.data() + begin);
    }

private:
    http1_body::ending ending_;
    std::array<std::string_view, 7> parts_;
};

/// Both: appends nothing and says `why` when something in the head may not be sent.
///
///     std::string out, why;
///     write_request_head(out, "POST", url.target(), url.authority(), fields,
///                        http1_body::sized(body.size()), why);
inline bool write_request_head(std::string& out, std::string_view method, std::string_view target,
                               std::string_view host, const headers& fields, http1_body body,
                               std::string& why) {
    why.clear();
    if (!sendable_request(method, target, host, fields, why)) return false;
    http1_request_head(method, target, host, fields, body).append_to(out);
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
    append_all(out, {"HTTP/1.1 ", std::to_string(status), " ", reason, "\r\n", fields.lines(),
                     body.end_of_head()});
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
