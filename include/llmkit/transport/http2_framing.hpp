// llmkit/transport/http2_framing.hpp: a client's end of HTTP/2: requests and bytes in, answers and bytes out.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/http2_head.hpp>
#include <llmkit/transport/http2_reset.hpp>
#include <llmkit/transport/http2_stream.hpp>

namespace llmkit::detail {

/// What one connection asks of its peer and puts up with.
struct http2_bounds {
    std::uint32_t stream_window = 0;      ///< bytes of a body that may come before it is read
    std::uint32_t connection_window = 0;  ///< of all bodies together, before they are taken in
    std::size_t head_bytes = 0;           ///< names and values of an answer's fields
    std::size_t fields = 100;
    std::size_t trailer_bytes = 8 * 1024;
    std::size_t interim = 100;       ///< answers with 1xx before the one
    std::size_t idle_frames = 5000;  ///< frames in a row that bring nothing
};

/// nghttp2's session without sockets, threads and time. RFC 9113, 7541.
///
/// It keeps the streams until they are closed, and notes in `stirred` which ones changed.
class http2_framing {
public:
    using stream_ptr = std::shared_ptr<http2_stream>;

    explicit http2_framing(const http2_bounds& bounds) : bounds_(bounds) {
        nghttp2_session_callbacks* calls = nullptr;
        nghttp2_option* options = nullptr;
        if (nghttp2_session_callbacks_new(&calls) != 0) throw std::bad_alloc();
        const std::unique_ptr<nghttp2_session_callbacks, void (*)(nghttp2_session_callbacks*)>
            free_calls(calls, nghttp2_session_callbacks_del);
        if (nghttp2_option_new(&options) != 0) throw std::bad_alloc();
        const std::unique_ptr<nghttp2_option, void (*)(nghttp2_option*)> free_options(
            options, nghttp2_option_del);
        nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_begin_frame);
        nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
        nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_frame_sent);
        nghttp2_session_callbacks_set_on_frame_not_send_callback(calls, on_frame_not_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(calls, on_invalid);
        nghttp2_session_callbacks_set_send_data_callback(calls, send_data);
        nghttp2_option_set_no_auto_window_update(options, 1);
        nghttp2_option_set_max_outbound_ack(options, 200);
        if (nghttp2_session_client_new2(&session_, calls, this, options) != 0)
            throw std::bad_alloc();

        const std::array<nghttp2_settings_entry, 3> settings{{
            {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
            {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bounds.stream_window},
            {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(bounds.head_bytes)},
        }};
        nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
        nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                              static_cast<std::int32_t>(bounds.connection_window));
    }
    http2_framing(const http2_framing&) = delete;
    http2_framing& operator=(const http2_framing&) = delete;
    ~http2_framing() { nghttp2_session_del(session_); }

    /// Opens a stream for a request whose head has been checked. False: no more on this connection.
    bool open(const stream_ptr& stream, const http_request& ask) {
        if (!usable()) return false;
        const auto head = head_.of(ask);
        stream->body = ask.body();
        stream->heard_before = heard_;
        nghttp2_data_provider body{};
        body.source.ptr = stream.get();
        body.read_callback = read_body;
        const std::int32_t id =
            nghttp2_submit_request(session_, nullptr, head.data(), head.size(),
                                   stream->body.empty() ? nullptr : &body, stream.get());
        if (id < 0) return false;
        stream->id = id;
        stream->place = streams_.size();
        streams_.push_back(stream);
        return true;
    }

    /// Nobody wants the rest: the peer is told.
    void reset(http2_stream& stream) {
        stream.unwanted = true;
        if (stream.closed || std::exchange(stream.was_reset, true)) return;
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL);
    }

    /// The reader has taken so much: the peer may send as much more.
    void consumed(http2_stream& stream, std::size_t count) {
        if (!stream.closed && !stream.ended)
            nghttp2_session_consume_stream(session_, stream.id, count);
    }

    void ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

    /// Takes what came. False: nothing more can be said.
    bool receive(std::string_view in) {
        heard_ += in.size();
        const auto taken = nghttp2_session_mem_recv(
            session_, reinterpret_cast<const std::uint8_t*>(in.data()), in.size());
        if (taken < 0) {
            if (broken_.empty()) broken_ = nghttp2_strerror(static_cast<int>(taken));
            return false;
        }
        if (body_came_ > 0) {
            nghttp2_session_consume_connection(session_, body_came_);
            body_came_ = 0;
        }
        return true;
    }

    /// Appends what is to be sent, about `enough` bytes at a time.
    void produce(std::string& out, std::size_t enough) {
        out_ = &out;
        while (out.size() < enough) {
            const std::uint8_t* piece = nullptr;
            const auto size = nghttp2_session_mem_send(session_, &piece);
            if (size <= 0) {
                if (size < 0 && broken_.empty()) broken_ = nghttp2_strerror(static_cast<int>(size));
                break;
            }
            out.append(reinterpret_cast<const char*>(piece), static_cast<std::size_t>(size));
        }
        out_ = nullptr;
    }
    /// False once all has been said, by either side, or the peer has broken a rule.
    bool wants_read() const { return nghttp2_session_want_read(session_) != 0; }
    bool wants_write() const { return nghttp2_session_want_write(session_) != 0; }

    /// Why the connection cannot go on, in words; empty when nothing was wrong.
    const std::string& broken() const { return broken_; }
    /// Whether another request may be made.
    bool usable() const { return nghttp2_session_check_request_allowed(session_) != 0; }
    /// The peer takes no new requests here.
    bool going_away() const { return going_away_; }
    /// The peer has said what it allows.
    bool settled() const { return settled_; }
    /// The peer has read our settings, which came before the first request.
    bool acknowledged() const { return acknowledged_; }
    /// Streams that the peer allows at once.
    std::size_t limit() const {
        return nghttp2_session_get_remote_settings(session_,
                                                   NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    }
    std::uint64_t heard() const { return heard_; }
    std::size_t answers() const { return answers_; }  ///< complete ones
    /// The streams that are not closed yet, and those that changed since this was emptied.
    std::vector<stream_ptr>& streams() { return streams_; }
    std::vector<stream_ptr>& stirred() { return stirred_; }

private:
    static http2_framing& self_of(void* user) { return *static_cast<http2_framing*>(user); }
    static http2_stream* stream_of(nghttp2_session* session, std::int32_t id) {
        return static_cast<http2_stream*>(nghttp2_session_get_stream_user_data(session, id));
    }

    void stir(http2_stream& stream) {
        if (std::exchange(stream.stirred, true)) return;
        stirred_.push_back(streams_[stream.place]);
    }

    static ssize_t read_body(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t room,
                             std::uint32_t* flags, nghttp2_data_source* source, void*) {
        const auto& stream = *static_cast<http2_stream*>(source->ptr);
        if (stream.unwanted) return NGHTTP2_ERR_DEFERRED;  // its reset is on its way
        const std::size_t left = stream.body.size() - stream.body_sent;
        const std::size_t count = std::min(room, left);
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (count == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(count);
    }
    static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* head,
                         std::size_t count, nghttp2_data_source* source, void* user) {
        http2_framing& self = self_of(user);
        auto& stream = *static_cast<http2_stream*>(source->ptr);
        self.out_->append(reinterpret_cast<const char*>(head), 9);
        self.out_->append(stream.body.view().substr(stream.body_sent, count));
        stream.body_sent += count;
        self.empty_ = 0;
        return 0;
    }

    static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* head, void* user) {
        http2_framing& self = self_of(user);
        if (head->type == NGHTTP2_PUSH_PROMISE) {  // forbidden by our settings
            self.broken_ = "an answer to what nobody has asked (PUSH_PROMISE)";
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        if (++self.empty_ <= self.bounds_.idle_frames) return 0;
        self.broken_ = fmt::format(
            "more than {} frames in a row that bring nothing, the last of "
            "type {}",
            self.bounds_.idle_frames, head->type);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        http2_framing& self = self_of(user);
        http2_stream* const stream = stream_of(session, frame->hd.stream_id);
        self.reading_ = stream;
        if (!stream) return 0;
        stream->head_bytes = 0;
        if (stream->head) return 0;  // trailers
        stream->status = 0;
        stream->fields = std::make_shared<headers>();
        stream->fields->reserve(16, 512);
        return 0;
    }
    static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                         std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                         std::uint8_t, void* user) {
        http2_framing& self = self_of(user);
        http2_stream* const stream = self.reading_;
        if (!stream || stream->unwanted) return 0;
        const std::string_view key(reinterpret_cast<const char*>(name), name_size);
        const std::string_view text(reinterpret_cast<const char*>(value), value_size);
        self.empty_ = 0;
        stream->head_bytes += name_size + value_size + 4;
        const auto& bounds = self.bounds_;
        if (stream->head) {  // trailers mean nothing to us
            if (stream->head_bytes <= bounds.trailer_bytes) return 0;
            return self.too_large(*stream, "the answer's trailers are too large");
        }
        if (stream->head_bytes > bounds.head_bytes)
            return self.too_large(*stream, "the answer's head is larger than the limit");
        if (key == ":status") {
            for (const char c : text) stream->status = stream->status * 10 + (c - '0');
            return 0;
        }
        if (stream->fields->size() >= bounds.fields)
            return self.too_large(*stream, "the answer's head has too many fields");
        stream->fields->add(key, text);
        return 0;
    }
    int too_large(http2_stream& stream, const char* what) {
        stream.fail(error(error_kind::too_large, what));
        stir(stream);
        reading_ = nullptr;
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
    }

    static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id,
                       const std::uint8_t* data, std::size_t size, void* user) {
        http2_framing& self = self_of(user);
        self.body_came_ += size;
        self.empty_ = 0;
        http2_stream* const stream = stream_of(session, id);
        if (!stream) return 0;
        if (stream->unwanted || stream->over()) {
            stream->dropped += size;
            if (stream->dropped > unread_bytes) self.reset(*stream);
            return 0;
        }
        if (stream->data.empty()) stream->data.reserve(size);
        stream->data.append(reinterpret_cast<const char*>(data), size);
        self.stir(*stream);
        return 0;
    }

    static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        http2_framing& self = self_of(user);
        const auto& head = frame->hd;
        if (head.type == NGHTTP2_GOAWAY) self.going_away_ = true;
        if (head.type == NGHTTP2_SETTINGS)
            (head.flags & NGHTTP2_FLAG_ACK ? self.acknowledged_ : self.settled_) = true;
        if (head.type == NGHTTP2_RST_STREAM) {
            if (auto* stream = stream_of(session, head.stream_id)) stream->peer_reset = true;
        }
        if (head.type != NGHTTP2_HEADERS && head.type != NGHTTP2_DATA) return 0;
        http2_stream* const stream = stream_of(session, head.stream_id);
        if (!stream) return 0;
        if (head.type == NGHTTP2_HEADERS && !stream->head) {
            if (stream->status >= 100 && stream->status < 200) {
                if (++stream->interim > self.bounds_.interim)
                    self.refuse(*stream, "the server sent too many interim answers");
                return 0;
            }
            stream->head = true;
            self.stir(*stream);
        }
        if (!(head.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
        if (!stream->over()) ++self.answers_;
        if (!stream->failure) stream->ended = true;
        self.stir(*stream);
        // An answer that comes before the whole request is the end of the request, too.
        if (stream->body_sent < stream->body.size()) self.reset(*stream);
        return 0;
    }
    void refuse(http2_stream& stream, std::string why) {
        stream.fail(error(error_kind::protocol, std::move(why)));
        stir(stream);
        reset(stream);
    }

    /// nghttp2 ends the stream or the connection for it; here is why.
    static int on_invalid(nghttp2_session* session, const nghttp2_frame* frame, int code,
                          void* user) {
        http2_stream* const stream = stream_of(session, frame->hd.stream_id);
        if (!stream || stream->over()) return 0;
        stream->fail(error(error_kind::protocol,
                           fmt::format("the server's answer breaks the rules of HTTP/2 ({})",
                                       nghttp2_strerror(code))));
        self_of(user).stir(*stream);
        return 0;
    }

    static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        http2_framing& self = self_of(user);
        if (frame->hd.type == NGHTTP2_HEADERS) {
            if (auto* stream = stream_of(session, frame->hd.stream_id)) stream->sent = true;
        }
        if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
            self.broken_.empty()) {
            const std::string_view detail(reinterpret_cast<const char*>(frame->goaway.opaque_data),
                                          frame->goaway.opaque_data_len);
            self.broken_ = nghttp2_http2_strerror(frame->goaway.error_code);
            if (!detail.empty()) self.broken_.append(", ").append(detail);
        }
        return 0;
    }

    /// For any other reason the stream is closed as one that the peer has refused.
    static int on_frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int code,
                                 void*) {
        if (code != NGHTTP2_ERR_FRAME_SIZE_ERROR) return 0;
        if (auto* stream = stream_of(session, frame->hd.stream_id))
            stream->fail(error(error_kind::invalid_request,
                               "the request's head is larger than the 64 KiB that HTTP/2 allows"));
        return 0;
    }

    static int on_close(nghttp2_session* session, std::int32_t id, std::uint32_t code, void* user) {
        http2_stream* const stream = stream_of(session, id);
        if (!stream) return 0;
        http2_framing& self = self_of(user);
        self.stir(*stream);
        stream->closed = true;
        if (self.reading_ == stream) self.reading_ = nullptr;
        stream->body = bytes();
        if (!stream->over()) close_early(*stream, code);
        // Out of the list; the last one takes its place.
        const std::size_t place = stream->place;
        std::swap(self.streams_[place], self.streams_.back());
        self.streams_[place]->place = place;
        self.streams_.pop_back();
        return 0;
    }

    // How much of an answer that nobody wants is put up with before its stream is reset.
    static constexpr std::size_t unread_bytes = 4096;

    const http2_bounds bounds_;
    nghttp2_session* session_ = nullptr;
    std::vector<stream_ptr> streams_;
    std::vector<stream_ptr> stirred_;
    http2_stream* reading_ = nullptr;  // whose head is coming
    std::string* out_ = nullptr;
    std::string broken_;
    std::uint64_t heard_ = 0;
    std::size_t body_came_ = 0;
    std::size_t answers_ = 0;
    std::size_t empty_ = 0;
    bool going_away_ = false;
    bool settled_ = false;
    bool acknowledged_ = false;
    http2_head head_;
};

}  // namespace llmkit::detail
