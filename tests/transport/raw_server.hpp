// What the transport's tests talk to: a socket that does exactly what a test says, byte by byte.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <asio/detached.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit_test {

using namespace std::chrono_literals;

/// One accepted connection.
class peer {
public:
    explicit peer(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

    /// Reads one request, head and body; false when the client went away. `text` is all of it.
    llmkit::task<bool> request(std::string& text) {
        for (;;) {
            const auto end = unread_.find("\r\n\r\n");
            if (end != std::string::npos) {
                std::size_t length = 0;
                const auto at = unread_.find("Content-Length: ");
                if (at < end) length = std::stoul(unread_.substr(at + 16));
                if (unread_.size() >= end + 4 + length) {
                    text = unread_.substr(0, end + 4 + length);
                    unread_.erase(0, text.size());
                    co_return true;
                }
            }
            if (!co_await more()) co_return false;
        }
    }
    llmkit::task<bool> more() {
        std::array<char, 65536> buffer;
        std::error_code failed;
        const auto count = co_await socket_.async_read_some(
            asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, failed));
        unread_.append(buffer.data(), count);
        co_return !failed;
    }
    /// What came and no request has taken.
    const std::string& unread() const { return unread_; }
    /// Waits until the client goes away.
    llmkit::task<void> gone() {
        bool here = true;  // g++ 12.2 miscompiles `while (co_await more())` here
        while (here) {
            here = co_await more();
            unread_.clear();
        }
    }
    llmkit::task<bool> send(std::string text) {
        std::error_code failed;
        co_await asio::async_write(socket_, asio::buffer(text),
                                   asio::redirect_error(asio::use_awaitable, failed));
        co_return !failed;
    }
    llmkit::task<bool> answer(std::string body) {
        std::string text = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size());
        text += "\r\n\r\n" + body;
        return send(std::move(text));
    }
    void close() { socket_.close(); }
    void reset() {
        socket_.set_option(asio::socket_base::linger(true, 0));
        socket_.close();
    }
    asio::ip::tcp::socket& socket() { return socket_; }

private:
    asio::ip::tcp::socket socket_;
    std::string unread_;
};

/// Accepts on a free loopback port and runs `script` for each connection, which gets its number.
class raw_server {
public:
    using script = std::function<llmkit::task<void>(std::shared_ptr<peer>, std::size_t)>;

    raw_server(asio::io_context& context, script what)
        : core_(std::make_shared<core>(context, std::move(what))) {
        asio::co_spawn(context, accept(core_), asio::detached);
    }
    ~raw_server() { stop(); }

    void stop() {
        core_->acceptor.close();
        for (auto& each : core_->peers)
            if (auto alive = each.lock()) alive->socket().close();
        core_->peers.clear();
    }
    unsigned short port() const { return core_->port; }
    std::size_t accepted() const { return core_->accepted; }
    std::string base() const { return "http://127.0.0.1:" + std::to_string(port()); }
    llmkit::url url(std::string_view path = "/", std::string_view host = "127.0.0.1") const {
        std::string why;
        const std::string text =
            "http://" + std::string(host) + ":" + std::to_string(port()) + std::string(path);
        return llmkit::url::parse(text, why).value();
    }

private:
    struct core {
        core(asio::io_context& context, script what)
            : acceptor(context, {asio::ip::address_v4::loopback(), 0}),
              port(acceptor.local_endpoint().port()),
              run(std::move(what)) {}
        asio::ip::tcp::acceptor acceptor;
        unsigned short port;
        script run;
        std::size_t accepted = 0;
        std::vector<std::weak_ptr<peer>> peers;
    };
    static llmkit::task<void> accept(std::shared_ptr<core> shared) {
        for (;;) {
            std::error_code failed;
            auto socket = co_await shared->acceptor.async_accept(
                asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            auto each = std::make_shared<peer>(std::move(socket));
            shared->peers.push_back(each);
            asio::co_spawn(shared->acceptor.get_executor(), serve(shared, each, shared->accepted++),
                           asio::detached);
        }
    }
    static llmkit::task<void> serve(std::shared_ptr<core> shared, std::shared_ptr<peer> each,
                                    std::size_t number) {
        co_await shared->run(each, number);
        if (each->socket().is_open()) each->close();
    }

    std::shared_ptr<core> core_;
};

/// Answers every request with its number on its connection, keeping connections alive.
inline llmkit::task<void> serve_well(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    while (co_await client->request(text)) co_await client->answer("pong");
}

/// Runs a test's coroutine on `context` until it has ended.
inline void run_test(asio::io_context& context, llmkit::task<void> body) {
    std::exception_ptr escaped;
    asio::co_spawn(context, std::move(body), [&](std::exception_ptr failed) {
        escaped = std::move(failed);
        context.stop();
    });
    context.restart();
    context.run();
    if (escaped) std::rethrow_exception(escaped);
}

inline llmkit::http_request get(const llmkit::url& where) {
    return llmkit::http_request("GET", where);
}

}  // namespace llmkit_test
