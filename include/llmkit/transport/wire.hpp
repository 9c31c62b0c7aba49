// llmkit/transport/wire.hpp: one TCP connection, plain or encrypted, that any thread may cut.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <asio/bind_executor.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

/// How far a write came by the time `wire::write` returned.
enum class sent : std::uint8_t { all, later, failed };

/// A socket that is used by one coroutine at a time, while `cut` may come from anywhere.
///
/// Cutting shuts the connection down but keeps the descriptor: whatever waits on it ends at once,
/// in its own time and place. Only the user closes it.
class wire final : public droppable {
public:
    wire(std::shared_ptr<socket_registry> in, executor base)
        : registry_(std::move(in)), base_(std::move(base)) {
        registry_->add(*this);
    }
    wire(const wire&) = delete;
    wire& operator=(const wire&) = delete;
    ~wire() { registry_->remove(*this); }

    /// Connects to `to`; may be called again with another address when it failed.
    task<std::error_code> connect(asio::ip::tcp::endpoint to) {
        std::error_code failed;
        if (begin_connect(to, failed)) {
            co_await socket_->async_wait(asio::socket_base::wait_write,
                                         asio::redirect_error(asio::use_awaitable, failed));
            if (!failed) failed = pending_error();
        }
        co_return failed;
    }

    /// Puts encryption on top; the handshake is still to be done.
    result<channel*> encrypt(const channel_maker& maker, const std::string& host, bool host_is_ip) {
        if (!socket_) return error(error_kind::closed, "the io_context has ended");
        auto made = maker.make(*socket_, host, host_is_ip);
        if (!made) return made.error();
        channel_ = std::move(*made);
        return channel_.get();
    }

    /// At least one byte, or an error; `asio::error::eof` at the end.
    task<std::size_t> read_some(asio::mutable_buffer into, std::error_code& failed) {
        if (channel_) return channel_->read_some(into, failed);
        if (!socket_) return gone(failed);
        return socket_->async_read_some(into, asio::redirect_error(asio::use_awaitable, failed));
    }

    /// Sends as much as goes at once. The rest goes while the caller does other things; both
    /// buffers must live until `sink` is told.
    sent write(outgoing what, const executor& caller, std::shared_ptr<write_sink> sink) {
        if (!socket_) return sent::failed;
        if (channel_) {
            channel_->write(what, caller, write_token(std::move(sink)));
            return sent::later;
        }
        while (what[0].size() + what[1].size() > 0) {
            std::error_code failed;
            const std::size_t count = socket_->write_some(what, failed);
            if (failed == asio::error::would_block || failed == asio::error::try_again) break;
            if (failed) return sent::failed;
            const std::size_t first = std::min(count, what[0].size());
            what[0] += first;
            what[1] += count - first;
        }
        if (what[0].size() + what[1].size() == 0) return sent::all;
        asio::async_write(*socket_, what,
                          asio::bind_executor(caller, write_token(std::move(sink))));
        return sent::later;
    }

    /// Ends everything that waits on the connection, now and later. From any thread.
    void cut() noexcept {
        std::lock_guard lock(mutex_);
        cut_ = true;
        if (socket_ && socket_->is_open()) ::shutdown(socket_->native_handle(), SHUT_RDWR);
    }

    /// Whether an idle connection is still worth using: open, and nothing came unasked.
    bool quiet() noexcept {
        std::lock_guard lock(mutex_);
        if (cut_ || !socket_ || !socket_->is_open()) return false;
        char byte;
        const auto got = ::recv(socket_->native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    }

    void drop() noexcept override {
        std::lock_guard lock(mutex_);
        channel_.reset();
        socket_.reset();
        base_ = executor();
    }

private:
    // The system call is made under the lock, or a cut just before it would be lost.
    bool begin_connect(const asio::ip::tcp::endpoint& to, std::error_code& failed) {
        std::lock_guard lock(mutex_);
        if (cut_ || !base_) {
            failed = asio::error::connection_aborted;
            return false;
        }
        socket_.emplace(base_);
        socket_->open(to.protocol(), failed);
        if (failed) return false;
        socket_->non_blocking(true, failed);
        if (failed) return false;
        // Small requests must not wait for the peer's acknowledgement of earlier ones.
        socket_->set_option(asio::ip::tcp::no_delay(true), failed);
        failed.clear();
        if (::connect(socket_->native_handle(), to.data(), static_cast<socklen_t>(to.size())) == 0)
            return false;
        if (errno == EINPROGRESS) return true;
        failed.assign(errno, std::system_category());
        return false;
    }
    std::error_code pending_error() {
        int code = 0;
        socklen_t size = sizeof code;
        ::getsockopt(socket_->native_handle(), SOL_SOCKET, SO_ERROR, &code, &size);
        return {code, std::system_category()};
    }
    static task<std::size_t> gone(std::error_code& failed) {
        failed = asio::error::bad_descriptor;
        co_return 0;
    }

    std::shared_ptr<socket_registry> registry_;
    std::mutex mutex_;  // socket_ itself and cut_; not what the user does with the socket
    executor base_;
    std::optional<asio::ip::tcp::socket> socket_;
    std::unique_ptr<channel> channel_;
    bool cut_ = false;
};

}  // namespace llmkit::detail
