// llmkit/transport/dial.hpp: a socket that is connected to the first address that answers.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/generic/stream_protocol.hpp>
#include <asio/ip/tcp.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/happy_eyeballs.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

using stream_socket = asio::generic::stream_protocol::socket;
using stream_endpoint = asio::generic::stream_protocol::endpoint;

/// How dialling ended.
struct dialed {
    dialed() {}
    std::optional<stream_socket> socket;  ///< connected and non-blocking; nothing when it failed
    std::size_t which = 0;                ///< the address that answered
    std::size_t tried = 0;                ///< how many were tried
    std::error_code failed;               ///< why the attempt failed that failed last
    woke ended = woke::by_bell;           ///< the limit passed, or the pipeline was closed
};

/// Connects to several addresses as RFC 8305 says: one after the other, each 250 ms (`delay`) after
/// the one before or as soon as that has failed; the first that answers is taken, and the others
/// are closed at once. One that hangs costs that pause and no more. Thread-safe.
class dialing final : public droppable, public std::enable_shared_from_this<dialing> {
public:
    dialing(std::shared_ptr<socket_registry> in, clock_handle time, std::vector<stream_endpoint> to,
            duration delay)
        : registry_(std::move(in)),
          time_(std::move(time)),
          to_(std::move(to)),
          base_(time_.base()),
          sockets_(to_.size()),
          order_(to_.size(), std::max(delay, least_delay)) {
        registry_->add(*this);
    }
    dialing(const dialing&) = delete;
    dialing& operator=(const dialing&) = delete;
    ~dialing() { registry_->remove(*this); }

    /// Dials until one address answers, all have failed, or the limit passes. Once. Throws on the
    /// caller's cancellation; whatever ends it, no socket stays behind.
    static task<dialed> run(std::shared_ptr<dialing> self, limit until) {
        const end_of_all closing(*self);  // outlives the lock
        dialed out;
        std::unique_lock lock(self->mutex_);
        for (;;) {
            self->begin_due();
            if (self->decided(out)) break;
            const limit look = until.earliest(self->order_.next());
            const woke why = co_await wait(lock, self->changed_, self->time_, look);
            const bool late = why == woke::by_limit && until.effective() <= self->time_.now();
            if (!late && why != woke::by_close) continue;
            out.ended = why;
            break;
        }
        out.tried = self->order_.begun();
        out.failed = self->failed_;
        lock.unlock();
        co_return out;
    }

    void drop() noexcept override {
        std::lock_guard lock(mutex_);
        sockets_.clear();
        base_ = executor();
    }

private:
    static constexpr duration least_delay = std::chrono::milliseconds(10);
    static constexpr duration busy_pause = std::chrono::milliseconds(10);

    struct attempt {
        std::optional<stream_socket> socket;
        bool ended = false;
    };
    class end_of_all {
    public:
        explicit end_of_all(dialing& of) : of_(of) {}
        end_of_all(const end_of_all&) = delete;
        end_of_all& operator=(const end_of_all&) = delete;
        ~end_of_all() {
            std::lock_guard lock(of_.mutex_);
            of_.sockets_.clear();
        }

    private:
        dialing& of_;
    };

    // All under the mutex.
    void begin_due() {
        while (const auto which = order_.due(time_.now())) {
            if (base_) {
                begin(*which);
            } else {
                fail(*which, asio::error::bad_descriptor);
            }
        }
    }
    void begin(std::size_t which) {
        auto& one = sockets_[which];
        one.socket.emplace(base_);
        const std::error_code failed = connect(*one.socket, to_[which]);
        if (!failed) {
            one.ended = true;
        } else if (failed == asio::error::in_progress) {
            wait_for_end(which);
        } else if (failed == asio::error::try_again) {
            // A Unix socket whose queue is full. TCP would let us wait; this does not.
            one.socket.reset();
            order_.again(after(time_.now(), busy_pause));
        } else {
            fail(which, failed);
        }
    }
    void wait_for_end(std::size_t which) {
        const auto told = [self = shared_from_this(), which](const std::error_code&) {
            self->tell_end(which);
        };
        sockets_[which].socket->async_wait(asio::socket_base::wait_write, told);
    }
    static std::error_code connect(stream_socket& socket, const stream_endpoint& to) {
        std::error_code failed;
        socket.open(to.protocol(), failed);
        if (!failed) socket.non_blocking(true, failed);
        if (failed) return failed;
        // Small requests must not wait for the peer's acknowledgement of earlier ones.
        std::error_code no_matter;
        if (to.protocol().family() != AF_UNIX)
            socket.set_option(asio::ip::tcp::no_delay(true), no_matter);
        if (::connect(socket.native_handle(), to.data(), static_cast<socklen_t>(to.size())) == 0)
            return {};
        return {errno, asio::error::get_system_category()};
    }
    /// Whether connecting has come to an end. Where several threads run the context, Asio's wait may
    /// end early, by news of an earlier socket that had the same number.
    static bool has_ended(stream_socket& socket) {
        pollfd one{socket.native_handle(), POLLOUT, 0};
        return ::poll(&one, 1, 0) != 0;
    }
    bool decided(dialed& out) {
        for (std::size_t i = 0; i < sockets_.size(); ++i) {
            auto& one = sockets_[i];
            if (!one.socket || !std::exchange(one.ended, false)) continue;
            if (!has_ended(*one.socket)) {
                wait_for_end(i);
                continue;
            }
            int code = 0;
            socklen_t size = sizeof code;
            ::getsockopt(one.socket->native_handle(), SOL_SOCKET, SO_ERROR, &code, &size);
            if (code == 0) {
                out.socket = std::move(one.socket);
                out.which = i;
                return true;
            }
            fail(i, {code, asio::error::get_system_category()});
            begin_due();
        }
        return order_.lost();
    }
    void fail(std::size_t which, const std::error_code& why) {
        if (which < sockets_.size()) sockets_[which].socket.reset();
        failed_ = why;
        order_.failed();
    }

    void tell_end(std::size_t which) {
        wakeup woken;
        std::lock_guard lock(mutex_);
        if (which >= sockets_.size() || !sockets_[which].socket) return;
        sockets_[which].ended = true;
        woken = changed_.ring_one();
    }

    const std::shared_ptr<socket_registry> registry_;
    const clock_handle time_;
    const std::vector<stream_endpoint> to_;

    std::mutex mutex_;
    executor base_;
    std::vector<attempt> sockets_;
    attempts order_;
    std::error_code failed_;
    bell changed_;
};

}  // namespace llmkit::detail
