// llmkit/transport/wire.hpp: one connection, plain or encrypted, that any thread may cut.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/generic/stream_protocol.hpp>
#include <asio/redirect_error.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/channel.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

/// A request on its way: the head and the body, sent without joining them.
using outgoing = std::array<asio::const_buffer, 2>;

/// How far a write came.
enum class sent : std::uint8_t {
    all,
    later,  ///< the rest when the connection takes more
    failed,
};

/// Is told once a write that did not end at once has ended.
class write_sink {
public:
    virtual void written(bool whole) noexcept = 0;

protected:
    ~write_sink() = default;
};

/// The end of such a write; tells also when it is destroyed without having been called.
class write_token {
public:
    explicit write_token(std::shared_ptr<write_sink> sink) : sink_(std::move(sink)) {}
    write_token(write_token&&) noexcept = default;
    write_token& operator=(write_token&&) = delete;
    ~write_token() { end(false); }
    void end(bool whole) {
        if (auto sink = std::exchange(sink_, nullptr)) sink->written(whole);
    }

private:
    std::shared_ptr<write_sink> sink_;
};

/// A stream socket, TCP or Unix, and its encryption if any. It is read by one coroutine at a time
/// and written by one, on one executor, while `cut` may come from anywhere.
///
/// Cutting shuts the connection down but keeps the descriptor: whatever waits on it ends at once,
/// in its own time and place. Only the user closes it.
class wire final : public droppable {
public:
    using socket = asio::generic::stream_protocol::socket;

    wire(std::shared_ptr<socket_registry> in, executor base)
        : registry_(std::move(in)), base_(std::move(base)) {
        registry_->add(*this);
    }
    wire(const wire&) = delete;
    wire& operator=(const wire&) = delete;
    ~wire() {
        registry_->remove(*this);
        say_end();
    }

    /// Takes over a connected, non-blocking socket. False: it was cut meanwhile, or the context ends.
    bool adopt(socket connected) {
        std::lock_guard lock(mutex_);
        if (cut_ || !base_) return false;
        socket_.emplace(std::move(connected));
        return true;
    }

    /// Puts encryption on top and agrees on it with the peer.
    task<result<void>> encrypt(std::unique_ptr<channel> with) {
        channel_ = std::move(with);
        for (;;) {
            auto done = channel_->handshake();
            std::error_code failed;
            // After a failure too: the peer is to know why.
            while (!failed && flush() == sent::later)
                failed = co_await wait(asio::socket_base::wait_write);
            if (!done) co_return done.error();
            if (*done && !failed) co_return result<void>();
            if (!failed && socket_) {
                const auto room = channel_->intake();
                channel_->received(co_await socket_->async_read_some(
                    room, asio::redirect_error(asio::use_awaitable, failed)));
            }
            if (failed == asio::error::operation_aborted) throw_cancelled();
            if (failed || !socket_) co_return channel_->broken_off();
        }
    }
    /// What was agreed on for what is said over the encryption; empty when nothing was.
    std::string_view protocol() const {
        return channel_ ? channel_->protocol() : std::string_view();
    }

    /// Whether the encryption went on with an earlier session.
    bool resumed() const { return channel_ && channel_->resumed(); }

    /// What is there by now: at least one byte, or an error. `asio::error::would_block`: nothing
    /// yet; `eof`: the end, which an encrypted peer has announced.
    std::size_t try_read(asio::mutable_buffer into, std::error_code& failed) {
        if (!socket_) {
            failed = asio::error::bad_descriptor;
            return 0;
        }
        if (!channel_) return socket_->read_some(into, failed);
        for (;;) {
            const std::size_t count = channel_->read(into, failed);
            if (failed != asio::error::would_block) return count;
            const std::size_t more = socket_->read_some(channel_->intake(), failed);
            if (failed) return ended(failed);
            channel_->received(more);
        }
    }
    /// At least one byte, or an error; `asio::error::eof` at the end.
    task<std::size_t> read_some(asio::mutable_buffer into, std::error_code& failed) {
        if (!socket_) return gone(failed);
        if (channel_) return read_encrypted(into, failed);
        return socket_->async_read_some(into, asio::redirect_error(asio::use_awaitable, failed));
    }

    /// Sends as much of `what` as goes at once and takes it off its front. `later`: `wait` for
    /// `wait_write`, then call again with what is left, be it nothing.
    sent try_write(outgoing& what) {
        if (!socket_) return sent::failed;
        if (channel_) return write_encrypted(what);
        while (asio::buffer_size(what) > 0) {
            std::error_code failed;
            const bool one = what[0].size() == 0 || what[1].size() == 0;
            take_off(what, one ? socket_->write_some(what[what[0].size() == 0], failed)
                               : socket_->write_some(what, failed));
            if (would_block(failed)) return sent::later;
            if (failed) return sent::failed;
        }
        return sent::all;
    }
    /// Both: sends as much as goes at once, the rest while the caller does other things.
    sent write(outgoing what, const executor& caller, std::shared_ptr<write_sink> sink) {
        const sent how = try_write(what);
        if (how == sent::later) write_rest(what, caller, std::move(sink));
        return how;
    }
    /// Goes on with what `try_write` left, while the caller does other things; both buffers must
    /// live until `sink` is told.
    void write_rest(const outgoing& what, const executor& caller,
                    std::shared_ptr<write_sink> sink) {
        rest_of_write(*this, what, caller, std::move(sink)).wait();
    }

    /// Waits until the socket may be read or written.
    task<std::error_code> wait(asio::socket_base::wait_type what) {
        std::error_code failed = asio::error::bad_descriptor;
        if (socket_)
            co_await socket_->async_wait(what, asio::redirect_error(asio::use_awaitable, failed));
        co_return failed;
    }

    /// Calls `told(failed)` on its executor once there is something to read, or the connection has
    /// ended; false, and it is never called, when there is no connection. For readers that are no
    /// coroutine; `try_read` must have said `would_block` before.
    template <class Told>
    bool when_readable(Told told) {
        if (!socket_) return false;
        socket_->async_wait(asio::socket_base::wait_read, std::move(told));
        return true;
    }

    /// Ends everything that waits on the connection, now and later. From any thread.
    void cut() noexcept {
        std::lock_guard lock(mutex_);
        cut_ = true;
        if (socket_ && socket_->is_open()) ::shutdown(socket_->native_handle(), SHUT_RDWR);
    }

    /// Whether it has not been cut, nor its context ended.
    bool open() const noexcept { return !cut_.load(std::memory_order_acquire); }
    /// Whether an idle connection is still worth using: open, and nothing came unasked.
    bool quiet() noexcept {
        std::lock_guard lock(mutex_);
        if (cut_ || !socket_ || !socket_->is_open()) return false;
        char byte;
        const auto got = ::recv(socket_->native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        const bool silent = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (!channel_ || (silent && channel_->drained())) return silent;
        // What came may be no answer but a message of TLS's own, such as a session ticket.
        std::error_code failed;
        try_read(asio::buffer(&byte, 1), failed);
        return failed == asio::error::would_block;
    }
    /// Nothing more is read or written for now: gives up the memory for that.
    void rest() noexcept {
        if (channel_) channel_->rest();
    }

    void drop() noexcept override {
        std::lock_guard lock(mutex_);
        say_end();
        cut_ = true;
        channel_.reset();
        socket_.reset();
        base_ = executor();
    }

private:
    /// The handler that goes on with a write whenever the socket takes more.
    class rest_of_write {
    public:
        using executor_type = executor;

        rest_of_write(wire& on, const outgoing& what, executor where,
                      std::shared_ptr<write_sink> sink)
            : on_(&on), what_(what), where_(std::move(where)), token_(std::move(sink)) {}

        executor get_executor() const noexcept { return where_; }
        void wait() {
            auto& over = *on_->socket_;
            over.async_wait(asio::socket_base::wait_write, std::move(*this));
        }
        void operator()(const std::error_code& failed) {
            const sent how = failed ? sent::failed : on_->try_write(what_);
            if (how == sent::later) return wait();
            token_.end(how == sent::all);
        }

    private:
        wire* on_;  // there as long as the sink has not been told
        outgoing what_;
        executor where_;
        write_token token_;
    };

    // Tells an encrypted peer that it has not been cut off, if that goes at once: nobody waits for it.
    void say_end() noexcept {
        if (!channel_ || cut_ || flush() != sent::all) return;
        channel_->end();
        flush();
    }

    static task<std::size_t> gone(std::error_code& failed) {
        failed = asio::error::bad_descriptor;
        co_return 0;
    }

    task<std::size_t> read_encrypted(asio::mutable_buffer into, std::error_code& failed) {
        for (;;) {
            const std::size_t count = channel_->read(into, failed);
            if (failed != asio::error::would_block) co_return count;
            const std::size_t more = co_await socket_->async_read_some(
                channel_->intake(), asio::redirect_error(asio::use_awaitable, failed));
            if (!socket_) failed = asio::error::bad_descriptor;
            if (failed) co_return ended(failed);
            channel_->received(more);
        }
    }
    std::size_t ended(std::error_code& failed) const {
        if (failed == asio::error::eof) failed = channel_->truncated();
        return 0;
    }

    sent write_encrypted(outgoing& what) {
        for (;;) {
            if (const sent how = flush(); how != sent::all) return how;
            if (asio::buffer_size(what) == 0) return sent::all;
            const asio::const_buffer next = what[0].size() > 0 ? what[0] : what[1];
            const std::size_t count = channel_->write(next);
            if (count == 0) return sent::failed;
            take_off(what, count);
        }
    }
    // Sends what has been encrypted.
    sent flush() {
        for (;;) {
            const asio::const_buffer next = channel_->unsent();
            if (next.size() == 0) return sent::all;
            if (!socket_) return sent::failed;
            std::error_code failed;
            channel_->sent(socket_->write_some(next, failed));
            if (would_block(failed)) return sent::later;
            if (failed) return sent::failed;
        }
    }
    static void take_off(outgoing& what, std::size_t count) {
        const std::size_t first = std::min(count, what[0].size());
        what[0] += first;
        what[1] += count - first;
    }
    static bool would_block(const std::error_code& failed) {
        return failed == asio::error::would_block || failed == asio::error::try_again;
    }

    std::shared_ptr<socket_registry> registry_;
    std::mutex
        mutex_;  // socket_ itself and changes of cut_; not what the user does with the socket
    executor base_;
    std::optional<socket> socket_;
    std::unique_ptr<channel> channel_;
    std::atomic<bool> cut_{false};
};

}  // namespace llmkit::detail
