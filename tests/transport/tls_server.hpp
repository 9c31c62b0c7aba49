// A TLS server that does exactly what a test says, made of asio::ssl: not of what it tests.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/ssl.hpp>
#include <asio/write.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/transport/concept.hpp>

#include "integration/nginx.hpp"

namespace llmkit_test {

/// One accepted connection after its handshake.
class tls_peer {
public:
    tls_peer(asio::ip::tcp::socket socket, asio::ssl::context& with)
        : stream_(std::move(socket), with) {}

    /// Reads one request; `text` is its head. False when the client went away.
    llmkit::task<bool> request(std::string& text) {
        for (std::size_t end = 0;;) {
            if ((end = unread_.find("\r\n\r\n")) != std::string::npos) {
                std::size_t length = 0;
                const auto at = unread_.find("Content-Length: ");
                if (at < end) length = std::stoul(unread_.substr(at + 16));
                if (unread_.size() >= end + 4 + length) {
                    text = unread_.substr(0, end);
                    unread_.erase(0, end + 4 + length);
                    co_return true;
                }
            }
            if (!co_await more()) co_return false;
        }
    }
    llmkit::task<bool> more() {
        std::string piece(65536, '\0');
        std::error_code failed;
        const auto count = co_await stream_.async_read_some(
            asio::buffer(piece), asio::redirect_error(asio::use_awaitable, failed));
        unread_.append(piece, 0, count);
        if (failed) ended = failed;
        co_return !failed;
    }
    llmkit::task<bool> send(std::string text) {
        std::error_code failed;
        co_await asio::async_write(stream_, asio::buffer(text),
                                   asio::redirect_error(asio::use_awaitable, failed));
        co_return !failed;
    }
    /// Says that nothing follows (close_notify), and waits for the client to go.
    llmkit::task<void> say_end() {
        std::error_code failed;
        co_await stream_.async_shutdown(asio::redirect_error(asio::use_awaitable, failed));
    }
    SSL* native() { return stream_.native_handle(); }
    asio::ssl::stream<asio::ip::tcp::socket>& stream() { return stream_; }

    std::error_code ended;  // what reading came to: `eof` when the client has said so

private:
    asio::ssl::stream<asio::ip::tcp::socket> stream_;
    std::string unread_;
};

/// Accepts on a free loopback port, as "localhost" and 127.0.0.1.
class tls_server {
public:
    using script = std::function<llmkit::task<void>(std::shared_ptr<tls_peer>)>;
    using setting = std::function<void(asio::ssl::context&)>;

    tls_server(asio::io_context& context, const certificates& made, script what,
               const setting& set = {})
        : core_(std::make_shared<core>(context, std::move(what))) {
        core_->secure.use_certificate_chain_file(made.file("good.pem"));
        core_->secure.use_private_key_file(made.file("good.key"), asio::ssl::context::pem);
        SSL_CTX_set_session_id_context(core_->secure.native_handle(),
                                       reinterpret_cast<const unsigned char*>("test"), 4);
        if (set) set(core_->secure);
        asio::co_spawn(context, accept(core_), asio::detached);
    }
    ~tls_server() { core_->acceptor.close(); }

    llmkit::url url(const std::string& host = "localhost") const {
        std::string why;
        const auto port = core_->acceptor.local_endpoint().port();
        return llmkit::url::parse("https://" + host + ":" + std::to_string(port) + "/", why)
            .value();
    }
    /// For each connection so far: whether it resumed a session.
    const std::vector<bool>& resumed() const { return core_->resumed; }

private:
    struct core {
        core(asio::io_context& context, script what)
            : acceptor(context, {asio::ip::address_v4::loopback(), 0}), run(std::move(what)) {}
        asio::ip::tcp::acceptor acceptor;
        asio::ssl::context secure{asio::ssl::context::tls_server};
        script run;
        std::vector<bool> resumed;
    };
    static llmkit::task<void> accept(std::shared_ptr<core> shared) {
        for (;;) {
            std::error_code failed;
            auto socket = co_await shared->acceptor.async_accept(
                asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            auto each = std::make_shared<tls_peer>(std::move(socket), shared->secure);
            asio::co_spawn(shared->acceptor.get_executor(), serve(shared, each), asio::detached);
        }
    }
    static llmkit::task<void> serve(std::shared_ptr<core> shared, std::shared_ptr<tls_peer> each) {
        std::error_code failed;
        co_await each->stream().async_handshake(asio::ssl::stream_base::server,
                                                asio::redirect_error(asio::use_awaitable, failed));
        if (failed) co_return;
        shared->resumed.push_back(SSL_session_reused(each->native()) == 1);
        co_await shared->run(each);
    }

    std::shared_ptr<core> core_;
};

}  // namespace llmkit_test
