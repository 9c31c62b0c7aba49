// llmkit/testing/http2_server.hpp: an HTTP/2 server on this machine that does what a test says.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::testing {

/// A request as it came.
struct http2_ask {
    std::int32_t stream = 0;
    std::size_t connection = 0;  ///< counted from 0
    headers fields;              ///< `:method`, `:path` and the like among them
    std::string body;
    std::string_view operator[](std::string_view name) const {
        return fields.get(name).value_or(std::string_view());
    }
};

/// One client's connection. All members are called on the context's thread.
class http2_peer : public std::enable_shared_from_this<http2_peer> {
public:
    using handler = std::function<void(std::shared_ptr<http2_peer>, const http2_ask&)>;

    http2_peer(asio::ip::tcp::socket socket, std::size_t number, handler answer,
               std::uint32_t max_streams)
        : socket_(std::move(socket)), number_(number), answer_(std::move(answer)) {
        nghttp2_session_callbacks* calls = nullptr;
        nghttp2_session_callbacks_new(&calls);
        nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
        nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_close);
        nghttp2_option* options = nullptr;
        nghttp2_option_new(&options);
        nghttp2_option_set_no_auto_ping_ack(options, 1);
        nghttp2_session_server_new2(&session_, calls, this, options);
        nghttp2_option_del(options);
        nghttp2_session_callbacks_del(calls);
        const nghttp2_settings_entry limit{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams};
        nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &limit, 1);
    }
    http2_peer(const http2_peer&) = delete;
    http2_peer& operator=(const http2_peer&) = delete;
    ~http2_peer() { nghttp2_session_del(session_); }

    /// An answer; without `end` its body goes on by `data`.
    void respond(std::int32_t stream, int status, const headers& fields, std::string_view body,
                 bool end = true) {
        const std::string code = std::to_string(status);
        std::vector<nghttp2_nv> names{nv(":status", code)};
        for (const auto [name, value] : fields) names.push_back(nv(name, value));
        auto& out = out_[stream];
        out.text = body;
        out.end = end;
        nghttp2_data_provider source{};
        source.source.ptr = &out;
        source.read_callback = read_body;
        nghttp2_submit_response(session_, stream, names.data(), names.size(),
                                end && body.empty() ? nullptr : &source);
        flush();
    }
    void data(std::int32_t stream, std::string_view more, bool end) {
        auto& out = out_[stream];
        out.text += more;
        out.end = end;
        nghttp2_session_resume_data(session_, stream);
        flush();
    }
    /// 1xx.
    void interim(std::int32_t stream, int status) {
        const std::string code = std::to_string(status);
        const nghttp2_nv one = nv(":status", code);
        nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream, nullptr, &one, 1, nullptr);
        flush();
    }
    void reset(std::int32_t stream, std::uint32_t code) {
        nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, code);
        flush();
    }
    /// Takes no more; streams above `last` have not been looked at.
    void go_away(std::int32_t last, std::uint32_t code = NGHTTP2_NO_ERROR) {
        nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, code, nullptr, 0);
        flush();
    }
    void allow(std::uint32_t max_streams) {
        const nghttp2_settings_entry limit{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams};
        nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &limit, 1);
        flush();
    }
    /// From now on a PING has no answer.
    void ignore_pings() { answers_pings_ = false; }
    void close() {
        std::error_code ignored;
        socket_.close(ignored);
    }

    std::size_t pings() const { return pings_; }    ///< received
    std::size_t resets() const { return resets_; }  ///< received
    std::uint32_t last_reset() const { return last_reset_; }
    std::size_t sent(std::int32_t stream) { return out_[stream].sent; }  ///< bytes of its body
    std::size_t number() const { return number_; }

    static task<void> serve(std::shared_ptr<http2_peer> self) {
        self->flush();
        std::array<std::uint8_t, 16 * 1024> buffer;
        for (;;) {
            std::error_code failed;
            const std::size_t count = co_await self->socket_.async_read_some(
                asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            if (nghttp2_session_mem_recv(self->session_, buffer.data(), count) < 0) break;
            self->flush();
        }
        self->close();
    }

private:
    struct outgoing {
        std::string text;
        std::size_t sent = 0;
        bool end = false;
    };

    static nghttp2_nv nv(std::string_view name, std::string_view value) {
        return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
                value.size(), NGHTTP2_NV_FLAG_NONE};
    }
    static http2_peer& self_of(void* user) { return *static_cast<http2_peer*>(user); }
    static std::string_view text(const std::uint8_t* data, std::size_t size) {
        return {reinterpret_cast<const char*>(data), size};
    }

    static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                         std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                         std::uint8_t, void* user) {
        self_of(user).asks_[frame->hd.stream_id].fields.add(text(name, name_size),
                                                            text(value, value_size));
        return 0;
    }
    static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                       std::size_t size, void* user) {
        self_of(user).asks_[id].body += text(data, size);
        return 0;
    }
    static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        http2_peer& self = self_of(user);
        if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
            ++self.pings_;
            if (self.answers_pings_)
                nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
        }
        if (frame->hd.type == NGHTTP2_RST_STREAM) {
            ++self.resets_;
            self.last_reset_ = frame->rst_stream.error_code;
        }
        const bool whole = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
        if (!whole || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
            return 0;
        http2_ask ask = std::move(self.asks_[frame->hd.stream_id]);
        self.asks_.erase(frame->hd.stream_id);
        ask.stream = frame->hd.stream_id;
        ask.connection = self.number_;
        // Not from within nghttp2's callback, which must not be entered again.
        asio::post(self.socket_.get_executor(),
                   [me = self.shared_from_this(), ask = std::move(ask)] { me->answer_(me, ask); });
        return 0;
    }
    static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
        self_of(user).asks_.erase(id);
        return 0;
    }
    static ssize_t read_body(nghttp2_session*, std::int32_t, std::uint8_t* into, std::size_t room,
                             std::uint32_t* flags, nghttp2_data_source* source, void*) {
        auto& out = *static_cast<outgoing*>(source->ptr);
        const std::size_t count = std::min(room, out.text.size() - out.sent);
        if (count == 0 && !out.end) return NGHTTP2_ERR_DEFERRED;
        std::memcpy(into, out.text.data() + out.sent, count);
        out.sent += count;
        if (out.sent == out.text.size() && out.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
        return static_cast<ssize_t>(count);
    }

    void flush() {
        if (writing_) return;
        wire_.clear();
        for (;;) {
            const std::uint8_t* piece = nullptr;
            const auto size = nghttp2_session_mem_send(session_, &piece);
            if (size <= 0) break;
            wire_ += text(piece, static_cast<std::size_t>(size));
            if (wire_.size() > 256 * 1024) break;
        }
        if (wire_.empty()) {
            const bool done = !nghttp2_session_want_read(session_);
            if (done && socket_.is_open()) close();
            return;
        }
        writing_ = true;
        asio::async_write(socket_, asio::buffer(wire_),
                          [self = shared_from_this()](const std::error_code& failed, std::size_t) {
                              self->writing_ = false;
                              if (!failed) self->flush();
                          });
    }

    asio::ip::tcp::socket socket_;
    const std::size_t number_;
    const handler answer_;
    nghttp2_session* session_ = nullptr;
    std::map<std::int32_t, http2_ask> asks_;
    std::map<std::int32_t, outgoing> out_;
    std::string wire_;
    bool writing_ = false;
    bool answers_pings_ = true;
    std::size_t pings_ = 0;
    std::size_t resets_ = 0;
    std::uint32_t last_reset_ = 0;
};

/// Speaks HTTP/2 in clear ("h2c", prior knowledge) on a free port of 127.0.0.1, on a context of the
/// test's. `answer` is called for each request that is complete, on the context's thread, and says
/// what is to be done, at once or later:
///
///     http2_server server(context, [](auto peer, const http2_ask& ask) {
///         peer->respond(ask.stream, 200, {}, "pong");
///     });
class http2_server {
public:
    using handler = http2_peer::handler;

    http2_server(asio::io_context& context, handler answer, std::uint32_t max_streams = 100)
        : core_(std::make_shared<core>(context, std::move(answer), max_streams)) {
        asio::co_spawn(context, accept(core_), [](std::exception_ptr) {});
    }
    http2_server(const http2_server&) = delete;
    http2_server& operator=(const http2_server&) = delete;
    ~http2_server() { stop(); }

    /// Closes the door and all connections.
    void stop() {
        std::error_code ignored;
        core_->door.close(ignored);
        for (auto& each : core_->peers) each->close();
        core_->peers.clear();
    }
    /// Closes the door: what is connected stays so. `open` opens it again.
    void shut() {
        std::error_code ignored;
        core_->door.close(ignored);
    }
    void open(std::uint16_t port) {
        core_->door = asio::ip::tcp::acceptor(core_->door.get_executor(),
                                              {asio::ip::address_v4::loopback(), port});
        asio::co_spawn(core_->door.get_executor(), accept(core_), [](std::exception_ptr) {});
    }
    std::uint16_t port() const { return core_->port; }
    std::string origin() const { return "http://127.0.0.1:" + std::to_string(port()); }
    /// The connections accepted so far, closed ones included.
    const std::vector<std::shared_ptr<http2_peer>>& peers() const { return core_->peers; }

private:
    struct core {
        core(asio::io_context& context, handler how, std::uint32_t most)
            : door(context, {asio::ip::address_v4::loopback(), 0}),
              port(door.local_endpoint().port()),
              answer(std::move(how)),
              max_streams(most) {}
        asio::ip::tcp::acceptor door;
        const std::uint16_t port;
        const handler answer;
        const std::uint32_t max_streams;
        std::vector<std::shared_ptr<http2_peer>> peers;
    };
    static task<void> accept(std::shared_ptr<core> shared) {
        for (;;) {
            std::error_code failed;
            auto socket = co_await shared->door.async_accept(
                asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            socket.set_option(asio::ip::tcp::no_delay(true));
            auto one = std::make_shared<http2_peer>(std::move(socket), shared->peers.size(),
                                                    shared->answer, shared->max_streams);
            shared->peers.push_back(one);
            asio::co_spawn(shared->door.get_executor(), http2_peer::serve(one),
                           [](std::exception_ptr) {});
        }
    }

    std::shared_ptr<core> core_;
};

}  // namespace llmkit::testing
