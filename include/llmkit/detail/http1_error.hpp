// llmkit/detail/http1_error.hpp: what may be wrong with an HTTP/1.1 message, and its limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

namespace llmkit::detail {

/// How much of each part of a message is taken before it is refused. Counts include line ends.
struct http1_limits {
    std::size_t line_bytes = 16 * 1024;         ///< the start line and each header line
    std::size_t head_bytes = 64 * 1024;         ///< start line and all headers together
    std::size_t fields = 100;                   ///< header lines; trailer lines again as many
    std::size_t chunk_line_bytes = 1024;        ///< one chunk-size line
    std::size_t chunk_extension_bytes = 65536;  ///< extensions of all chunks together
    std::size_t trailer_bytes = 8 * 1024;       ///< all trailer lines together
    std::size_t interim_responses = 100;        ///< 1xx before the answer
    std::uint64_t body_bytes = std::numeric_limits<std::uint64_t>::max();  ///< without framing
};
static_assert(std::is_trivially_destructible_v<http1_limits>);

/// Why a message was refused.
enum class http1_error : std::uint8_t {
    none,
    not_http,
    bad_start_line,
    unsupported_version,
    unexpected_upgrade,
    line_too_long,
    head_too_large,
    too_many_fields,
    bare_line_break,
    folded_field,
    space_before_colon,
    bad_field_name,
    bad_field_value,
    bad_content_length,
    conflicting_lengths,
    length_and_coding,
    unknown_coding,
    coding_in_http10,
    bad_host,
    too_many_interim,
    bad_chunk,
    chunk_line_too_long,
    extensions_too_large,
    trailers_too_large,
    body_too_large,
    truncated,
};

/// What is wrong and what to do, for a person. Never quotes the message.
constexpr std::string_view describe(http1_error error) {
    switch (error) {
        case http1_error::none:
            return "no error";
        case http1_error::not_http:
            return "the peer does not speak HTTP/1.1 on this port: check the port, and whether the "
                   "URL should begin with https:// or http://";
        case http1_error::bad_start_line:
            return "the message's first line is malformed: the peer, or a proxy on the way, is "
                   "broken or is no HTTP server";
        case http1_error::unsupported_version:
            return "the peer answered with an HTTP version other than 1.0 or 1.1: check the port";
        case http1_error::unexpected_upgrade:
            return "the server switched protocols without being asked (101): check the path of the "
                   "URL, which may be a WebSocket's";
        case http1_error::line_too_long:
            return "a line of the message's head is longer than the limit: raise the limit on line "
                   "bytes if this is expected";
        case http1_error::head_too_large:
            return "the message's headers are larger than the limit: raise the limit on head bytes "
                   "if this is expected";
        case http1_error::too_many_fields:
            return "the message has more headers than the limit: raise the limit on fields if this "
                   "is expected";
        case http1_error::bare_line_break:
            return "a line of the message's head does not end in CR LF, or holds a lone CR: the "
                   "peer, or a proxy on the way, is broken";
        case http1_error::folded_field:
            return "a header is folded over several lines, which HTTP no longer allows: mend the "
                   "peer or the proxy that writes it";
        case http1_error::space_before_colon:
            return "a header has a space before its colon, which HTTP forbids: mend the peer or "
                   "the "
                   "proxy that writes it";
        case http1_error::bad_field_name:
            return "a header line has no valid name: the peer, or a proxy on the way, is broken";
        case http1_error::bad_field_value:
            return "a header's value holds a control character: mend the peer that writes it";
        case http1_error::bad_content_length:
            return "Content-Length is not a number: mend the peer or the proxy that writes it";
        case http1_error::conflicting_lengths:
            return "the message has several differing Content-Length headers: refused, as it may "
                   "be an attack; mend the peer or the proxy that writes it";
        case http1_error::length_and_coding:
            return "the message has both Content-Length and Transfer-Encoding: refused, as it may "
                   "be an attack; mend the peer or the proxy that writes it";
        case http1_error::unknown_coding:
            return "the message's Transfer-Encoding is something else than 'chunked': the peer "
                   "sent "
                   "what it was not asked for";
        case http1_error::coding_in_http10:
            return "the message is HTTP/1.0 and has a Transfer-Encoding, which that version lacks: "
                   "mend the peer or the proxy that writes it";
        case http1_error::bad_host:
            return "an HTTP/1.1 request needs exactly one Host header";
        case http1_error::too_many_interim:
            return "the server sent more interim (1xx) answers than the limit without an answer";
        case http1_error::bad_chunk:
            return "the body's chunk framing is broken: the connection lost bytes, or the peer or "
                   "a "
                   "proxy claims 'chunked' wrongly";
        case http1_error::chunk_line_too_long:
            return "a chunk-size line is longer than the limit: the peer is broken or hostile";
        case http1_error::extensions_too_large:
            return "the chunk extensions are larger than the limit: the peer is broken or hostile";
        case http1_error::trailers_too_large:
            return "the trailers after the body are larger than the limit: raise the limit on "
                   "trailer bytes if this is expected";
        case http1_error::body_too_large:
            return "the body is larger than the limit: ask for less, or raise the limit on body "
                   "bytes";
        case http1_error::truncated:
            return "the connection closed in the middle of the message: the peer or the network "
                   "failed; asking again may help";
    }
    return "unknown HTTP error";
}

/// The status with which a server refuses a request that failed to parse.
constexpr int refusal_status(http1_error error) {
    switch (error) {
        case http1_error::line_too_long:
        case http1_error::head_too_large:
        case http1_error::too_many_fields:
        case http1_error::trailers_too_large:
            return 431;
        case http1_error::body_too_large:
            return 413;
        case http1_error::unknown_coding:
            return 501;
        case http1_error::unsupported_version:
            return 505;
        default:
            return 400;
    }
}

}  // namespace llmkit::detail
