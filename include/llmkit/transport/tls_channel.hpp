// llmkit/transport/tls_channel.hpp: OpenSSL between plain bytes and the network's, without a socket.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <asio/buffer.hpp>
#include <asio/error.hpp>

#include <llmkit/core/result.hpp>
#include <llmkit/detail/read_buffer.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/tls_error.hpp>
#include <llmkit/transport/tls_sessions.hpp>

namespace llmkit::detail {

struct ssl_deleter {
    void operator()(SSL* one) const {
        // Or OpenSSL takes its session, which others resume, for a broken one.
        SSL_set_shutdown(one, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(one);
    }
};
using ssl_owner = std::unique_ptr<SSL, ssl_deleter>;

/// The client's side of one TLS connection.
///
/// OpenSSL reads from `intake_` and writes to `out_`, which take what they get: so a read never
/// waits for a write or the reverse, and no write has to be repeated with the same bytes. OpenSSL's
/// own buffers of 17 KiB each way are given back whenever they are empty, and so are ours.
class tls_channel final : public channel {
public:
    /// `peer` is whom the sessions are kept for.
    tls_channel(ssl_owner with, std::string host, std::string peer,
                std::shared_ptr<tls_sessions> sessions)
        : ssl_(std::move(with)),
          host_(std::move(host)),
          peer_(std::move(peer)),
          sessions_(std::move(sessions)) {
        BIO* const network = BIO_new(method());
        if (!network) throw std::bad_alloc();
        BIO_set_data(network, this);
        SSL_set_bio(ssl_.get(), network, network);
        SSL_set_app_data(ssl_.get(), this);
        SSL_set_connect_state(ssl_.get());
        SSL_set_mode(ssl_.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }

    /// What a context calls for each session that a peer offers.
    static int offered(SSL* over, SSL_SESSION* session) noexcept try {
        auto& self = *static_cast<tls_channel*>(SSL_get_app_data(over));
        SSL_SESSION_up_ref(session);
        self.sessions_->keep(self.peer_, ssl_session(session));
        return 0;  // OpenSSL keeps its own reference
    } catch (const std::bad_alloc&) {
        return 0;
    }

    result<bool> handshake() override {
        ERR_clear_error();
        const int done = SSL_do_handshake(ssl_.get());
        if (done == 1) return true;
        if (SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ) return false;
        const bool checked = SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE;
        const long verified = checked ? SSL_get_verify_result(ssl_.get()) : X509_V_OK;
        return handshake_error(ERR_peek_error(), verified, host_);
    }
    error broken_off() const override { return handshake_error(0, X509_V_OK, host_); }
    bool resumed() const override { return SSL_session_reused(ssl_.get()) == 1; }
    std::string_view protocol() const override {
        const unsigned char* name = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(ssl_.get(), &name, &size);
        return {reinterpret_cast<const char*>(name), size};
    }

    asio::mutable_buffer intake() override {
        if (begin_ == end_) begin_ = end_ = 0;
        return {intake_.get() + end_, read_buffer::size - end_};
    }
    void received(std::size_t count) override { end_ += count; }

    std::size_t read(asio::mutable_buffer into, std::error_code& failed) override {
        std::size_t count = 0;
        forget_errors();
        const int done = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
        if (done == 1) {
            failed.clear();
            return count;
        }
        switch (SSL_get_error(ssl_.get(), done)) {
            case SSL_ERROR_WANT_READ:
                failed = asio::error::would_block;
                break;
            case SSL_ERROR_ZERO_RETURN:
                failed = asio::error::eof;
                break;
            default:
                failed = tls_code(ERR_peek_error());
        }
        return 0;
    }
    bool drained() const override { return begin_ == end_ && !SSL_has_pending(ssl_.get()); }
    std::error_code truncated() const override { return {tls_category::truncated, tls_errors()}; }

    std::size_t write(asio::const_buffer what) override {
        std::size_t count = 0;
        forget_errors();
        return SSL_write_ex(ssl_.get(), what.data(), what.size(), &count) == 1 ? count : 0;
    }
    asio::const_buffer unsent() const override { return asio::buffer(out_) + gone_; }
    void sent(std::size_t count) override {
        gone_ += count;
        if (gone_ < out_.size()) return;
        out_.clear();
        gone_ = 0;
    }
    void end() noexcept override {
        ERR_clear_error();
        if (SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());  // close_notify
    }

    // OpenSSL's own buffers as well: its mode for that would free and allocate them for each record.
    void rest() noexcept override {
        SSL_free_buffers(ssl_.get());
        if (begin_ == end_) intake_.drop();
        if (out_.empty()) std::string().swap(out_);
    }

private:
    /// What others left in this thread's list of errors would be taken for ours. Nearly always there
    /// is nothing, and to see that is much cheaper than to clear it.
    static void forget_errors() noexcept {
        if (ERR_peek_error() != 0) ERR_clear_error();
    }

    static_assert(read_buffer::size >= SSL3_RT_MAX_PACKET_SIZE);
    // More than one record is there only when the peer wants answers and does not take them.
    static constexpr std::size_t out_limit = 256 * 1024;

    static const BIO_METHOD* method() {
        static const BIO_METHOD* const made = [] {
            BIO_METHOD* const one =
                BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "llmkit");
            if (!one) throw std::bad_alloc();
            BIO_meth_set_write_ex(
                one, [](BIO* bio, const char* data, std::size_t size, std::size_t* written) {
                    return of(bio).put(data, size, *written);
                });
            BIO_meth_set_read_ex(one,
                                 [](BIO* bio, char* into, std::size_t size, std::size_t* count) {
                                     BIO_clear_retry_flags(bio);
                                     *count = of(bio).take(into, size);
                                     if (*count == 0) BIO_set_retry_read(bio);
                                     return *count > 0 ? 1 : 0;
                                 });
            BIO_meth_set_ctrl(one, [](BIO*, int what, long, void*) -> long {
                return what == BIO_CTRL_FLUSH ? 1 : 0;
            });
            BIO_meth_set_create(one, [](BIO* bio) {
                BIO_set_init(bio, 1);
                return 1;
            });
            return one;  // for as long as the process lives: connections may end very late
        }();
        return made;
    }
    static tls_channel& of(BIO* bio) { return *static_cast<tls_channel*>(BIO_get_data(bio)); }

    int put(const char* data, std::size_t size, std::size_t& written) noexcept try {
        written = 0;
        if (out_.size() + size > out_limit) return 0;
        out_.append(data, size);
        written = size;
        return 1;
    } catch (const std::bad_alloc&) {
        return 0;
    }
    std::size_t take(char* into, std::size_t size) noexcept {
        const std::size_t count = std::min(size, end_ - begin_);
        if (count > 0) std::memcpy(into, intake_.data() + begin_, count);
        begin_ += count;
        return count;
    }

    ssl_owner ssl_;
    std::string host_;
    std::string peer_;
    std::shared_ptr<tls_sessions> sessions_;
    read_buffer intake_;  // what was received and OpenSSL has not asked for yet
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::string out_;  // what is to be sent
    std::size_t gone_ = 0;
};

}  // namespace llmkit::detail
