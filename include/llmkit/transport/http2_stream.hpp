// llmkit/transport/http2_stream.hpp: one call on a shared connection, as both its ends see it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/bytes.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/headers.hpp>
#include <llmkit/transport/hold.hpp>

namespace llmkit::detail {

class http2_session;
struct http2_stream;

/// Whether a request that failed may be sent once more, as the server has not looked at it.
enum class http2_again : std::uint8_t {
    no,
    untouched,  ///< it never left, or the server says that it did nothing with it
    stale,      ///< the connection had been closed before anything came back
    http1,      ///< the server wants it over HTTP/1.1
};

/// What the limit of a stream calls, on the clock's thread.
struct http2_cut {
    std::weak_ptr<http2_stream> of;
    cut_why why;
    void operator()(expiry how) const;
};

/// Shared by the caller and, until nghttp2 has let go of it, the session. All but `on` is guarded by
/// the session's mutex.
struct http2_stream {
    explicit http2_stream(std::shared_ptr<http2_session> session) : on(std::move(session)) {}

    /// The answer is complete or will never be.
    bool over() const { return ended || failure.has_value(); }
    void fail(error why, http2_again how = http2_again::no) {
        if (over()) return;
        failure = std::move(why);
        again = how;
    }

    const std::shared_ptr<http2_session> on;
    bell changed;
    std::int32_t id = 0;
    std::size_t place = 0;  // among the session's streams

    bytes body;  // of the request
    std::size_t body_sent = 0;
    std::uint64_t heard_before = 0;  // bytes that had come when it was sent
    bool sent = false;               // its head has left

    int status = 0;
    std::shared_ptr<headers> fields;
    std::size_t head_bytes = 0;
    std::size_t interim = 0;  // answers with 1xx
    std::string data;         // that nobody has read yet
    std::uint64_t dropped = 0;
    bool head = false;       // the answer's head is complete
    bool ended = false;      // the answer is
    bool unwanted = false;   // what still comes is dropped
    bool was_reset = false;  // the peer is told so
    bool peer_reset = false;
    bool closed = false;   // nghttp2 has let go of it
    bool seated = false;   // counts as one of the streams that the peer allows
    bool stirred = false;  // is in the list of those that changed
    std::optional<error> failure;
    http2_again again = http2_again::no;
    std::optional<cutoff<http2_cut>> last_words;  // how long the end is waited for
};

}  // namespace llmkit::detail
