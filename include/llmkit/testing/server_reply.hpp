// llmkit/testing/server_reply.hpp: what a test's server shall do in answer to one request.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/provenance.hpp>
#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::testing {

/// One request as `http_server` received it.
class server_request {
public:
    server_request() {}

    std::string method;          ///< "POST"
    std::string target;          ///< "/v1/chat/completions?api-version=1"
    headers fields;              ///< all headers, in order
    std::string body;            ///< the whole body, its framing undone
    std::size_t connection = 0;  ///< which connection it came on, counted from 0
    std::size_t number = 0;      ///< which request on that connection, counted from 0
};

/// How an answer ends once everything in it has been written.
enum class reply_end : std::uint8_t {
    keep,   ///< properly; the connection stays open
    close,  ///< the connection is closed, whatever was still owed
    reset,  ///< the connection is reset (RST): what the client has not read yet is lost
    stall,  ///< nothing more comes until the client goes away
};

/// A script of what the server does: headers, then body, pieces, pauses and accidents in order.
///
///     server_reply().body("{}");                                          // 200, whole
///     server_reply(429).header("Retry-After", "1").body("{}");
///     server_reply().pause(50ms).event("one").pause(20ms).event("two");   // chunked, as SSE
///     server_reply().event("one").close();                                // cut in mid-stream
///     server_reply().announce(100).raw("only this").close();              // 100 bytes promised
///     server_reply().event("one").raw("what?\r\n").close();               // no chunk size
///     server_reply().raw("SSH-2.0-OpenSSH_9.2\r\n").close();              // not even HTTP
///     server_reply().reset();                                             // nothing but an RST
///     server_reply().stall();                                             // silence
///
/// Pauses count from the arrival of the request: a late one does not delay those after it. The head
/// is written just before the first piece of a body; a script without one answers with an empty
/// body, unless it ends in an accident. A chunked body is ended properly unless an accident does.
/// A HEAD is answered by `announce` alone.
class server_reply {
public:
    /// Throws std::invalid_argument when the status is not from 200 to 999.
    explicit server_reply(int status = 200) : status_(status) {
        if (status < 200 || status > 999) {
            throw std::invalid_argument("a status must be from 200 to 999; raw() sends others");
        }
    }

    /// Adds a header; throws std::invalid_argument when it may not be sent (see `raw`), or when the
    /// head has been written.
    server_reply& header(std::string_view name, std::string_view value) {
        if (begun()) throw std::invalid_argument("a header after the head: call header() first");
        if (auto wrong = headers::problem(name, value); !wrong.empty()) {
            throw std::invalid_argument(wrong);
        }
        fields_.add(name, value);
        return *this;
    }

    /// Nothing happens for so long; also before the head.
    server_reply& pause(duration span) {
        steps_.emplace_back(span);
        return *this;
    }

    /// The whole body, with its Content-Length.
    server_reply& body(std::string_view text) {
        announce(text.size());
        return raw(text);
    }
    /// Promises a body of so many bytes; `raw` sends what of it comes.
    server_reply& announce(std::uint64_t size) {
        begin(detail::http1_body::sized(size));
        shape_ = shape::sized;
        return *this;
    }

    /// One piece of a chunked body; nothing for empty text, which would end it.
    server_reply& chunk(std::string_view text) {
        begin_chunked();
        detail::write_chunk(wire(), text);
        return *this;
    }
    /// One server-sent event with this data, as a chunk of its own. The answer's type becomes
    /// text/event-stream unless a header says otherwise.
    server_reply& event(std::string_view data) {
        if (!begun() && !fields_.contains("Content-Type")) {
            fields_.add("Content-Type", "text/event-stream");
        }
        return chunk(std::string("data: ").append(data).append("\n\n"));
    }
    /// Text in chunks of `size` bytes with a pause after each.
    server_reply& trickle(std::string_view text, std::size_t size, duration span) {
        for (std::size_t at = 0; at < text.size(); at += std::max<std::size_t>(size, 1)) {
            chunk(text.substr(at, std::max<std::size_t>(size, 1)));
            pause(span);
        }
        return *this;
    }

    /// These bytes as they are. Before anything of a body: in place of the head, too.
    server_reply& raw(std::string_view text) {
        if (shape_ == shape::none) shape_ = shape::raw;
        wire() += text;
        return *this;
    }

    server_reply& close() { return ends(reply_end::close); }  ///< see reply_end
    server_reply& reset() { return ends(reply_end::reset); }  ///< see reply_end
    server_reply& stall() { return ends(reply_end::stall); }  ///< see reply_end

    // For the server:

    /// After `pause`, these bytes are written.
    class step {
    public:
        explicit step(duration span = duration::zero()) : pause(span) {}
        duration pause;
        std::string wire;
    };
    /// The steps with their proper end.
    std::vector<step> finished() && {
        if (shape_ == shape::none && end_ == reply_end::keep) body("");
        if (shape_ == shape::chunked && end_ == reply_end::keep) detail::write_last_chunk(wire());
        return std::move(steps_);
    }
    /// An answer that says `Connection: close`, or that no client could tell the end of, closes.
    reply_end end() const {
        if (end_ != reply_end::keep) return end_;
        const auto connection = fields_.get("Connection");
        const bool says_close = connection && detail::same_ignoring_case(*connection, "close");
        return says_close ? reply_end::close : reply_end::keep;
    }

private:
    enum class shape : std::uint8_t { none, sized, chunked, raw };

    bool begun() const { return shape_ != shape::none; }
    std::string& wire() {
        if (steps_.empty()) steps_.emplace_back();
        return steps_.back().wire;
    }
    void begin(detail::http1_body framing) {
        if (begun()) throw std::invalid_argument("this reply has a body already");
        std::string why;
        if (!detail::write_response_head(wire(), status_, "", fields_, framing, why)) {
            throw std::invalid_argument(why);
        }
    }
    void begin_chunked() {
        if (shape_ == shape::chunked || shape_ == shape::raw) return;
        begin(detail::http1_body::chunked());
        shape_ = shape::chunked;
    }
    server_reply& ends(reply_end how) {
        end_ = how;
        return *this;
    }

    int status_;
    headers fields_;
    shape shape_ = shape::none;
    reply_end end_ = reply_end::keep;
    std::vector<step> steps_;
};

}  // namespace llmkit::testing
