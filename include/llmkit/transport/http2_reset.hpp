// llmkit/transport/http2_reset.hpp: what it means to a call that its stream ended before its answer.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/error.hpp>
#include <llmkit/transport/http2_stream.hpp>

namespace llmkit::detail {

/// Tells a stream that was closed with this code (RFC 9113 §7) why, and whether its request may be
/// sent again.
inline void close_early(http2_stream& stream, std::uint32_t code) {
    if (code == NGHTTP2_PROTOCOL_ERROR && !stream.peer_reset)
        return stream.fail(
            error(error_kind::protocol, "the server's answer breaks the rules of HTTP/2"));
    const char* const name = nghttp2_http2_strerror(code);
    error why(error_kind::connection_lost,
              fmt::format("the server gave the request up {} ({})",
                          stream.head ? "in the middle of its answer" : "without an answer", name));
    http2_again how = http2_again::no;
    if (code == NGHTTP2_REFUSED_STREAM || !stream.sent) how = http2_again::untouched;
    if (code == NGHTTP2_HTTP_1_1_REQUIRED) how = http2_again::http1;
    if (stream.head) how = http2_again::no;
    stream.fail(std::move(why), how);
}

}  // namespace llmkit::detail
