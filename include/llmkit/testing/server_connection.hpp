// llmkit/testing/server_connection.hpp: one connection of a test's server, from accept to close.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/testing/server_reply.hpp>

namespace llmkit::detail {

using testing::reply_end;
using testing::server_reply;
using testing::server_request;

/// What a server counts, readable and waitable from other threads.
class server_tally {
public:
    std::atomic<std::size_t> connections{0};
    std::atomic<std::size_t> connected{0};
    std::atomic<std::size_t> requests{0};
    std::atomic<std::size_t> in_flight{0};
    std::atomic<std::size_t> in_flight_max{0};
    std::atomic<std::size_t> departures{0};

    void arrived() { count(requests); }
    void departed() { count(departures); }

    template <class Done>
    bool wait(Done done, duration at_most) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, at_most, done);
    }

private:
    void count(std::atomic<std::size_t>& what) {
        {
            std::lock_guard lock(mutex_);
            ++what;
        }
        changed_.notify_all();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
};

/// What the connections of a server share.
class server_desk {
public:
    server_desk(clock_handle clock, std::uint64_t largest_body)
        : time(std::move(clock)), max_body(largest_body) {}
    virtual ~server_desk() = default;
    virtual server_reply answer(server_request ask) = 0;

    clock_handle time;
    std::uint64_t max_body;
    server_tally tally;
};

/// A socket whose other end is watched while nothing is read from it. Used on one thread.
class server_connection : public std::enable_shared_from_this<server_connection> {
public:
    server_connection(asio::ip::tcp::socket connected, std::size_t which)
        : socket(std::move(connected)), number(which) {
        std::error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        socket.non_blocking(true, ignored);
    }

    /// Waits until `due`; false as soon as the client has gone.
    static task<bool> idle_until(std::shared_ptr<server_connection> self, clock_handle time,
                                 limit due) {
        self->watch();
        std::unique_lock lock(self->mutex_);
        while (!self->gone_) {
            if (co_await wait(lock, self->left_, time, due) != woke::by_bell) break;
        }
        co_return !self->gone_;
    }
    /// Writes what the socket takes at once; false when it failed.
    bool write_now(std::string_view& wire) {
        while (!wire.empty()) {
            std::error_code failed;
            wire.remove_prefix(socket.write_some(asio::buffer(wire), failed));
            if (failed == asio::error::would_block) return true;
            if (failed) return false;
        }
        return true;
    }
    /// Writes all of it, which lives as long as this takes; false when the client has gone.
    static task<bool> write(std::shared_ptr<server_connection> self, std::string_view wire) {
        while (self->write_now(wire)) {
            if (wire.empty()) co_return true;
            std::error_code failed;
            co_await self->socket.async_wait(asio::socket_base::wait_write,
                                             asio::redirect_error(asio::use_awaitable, failed));
            if (failed) break;
        }
        co_return false;
    }
    void reset() {
        std::error_code ignored;
        socket.set_option(asio::socket_base::linger(true, 0), ignored);
        socket.close(ignored);
    }

    asio::ip::tcp::socket socket;
    const std::size_t number;

private:
    void watch() {
        if (watching_) return;
        watching_ = true;
        socket.async_wait(asio::socket_base::wait_read,
                          [self = shared_from_this()](const std::error_code& failed) {
                              self->watching_ = false;
                              if (!failed) self->look();
                          });
    }
    /// Bytes mean that the client sent its next request early, and hide an end behind them.
    void look() {
        char byte;
        std::error_code failed;
        socket.receive(asio::buffer(&byte, 1), asio::socket_base::message_peek, failed);
        if (!failed || failed == asio::error::would_block) return;
        std::vector<wakeup> woken;
        {
            std::lock_guard lock(mutex_);
            gone_ = true;
            woken = left_.ring_all();
        }
    }

    std::mutex mutex_;
    bell left_;
    bool gone_ = false;
    bool watching_ = false;
};

/// Reads the requests of one connection, one after another.
class request_reader {
public:
    explicit request_reader(std::uint64_t max_body) : max_body_(max_body), parser_(limits()) {}

    /// Takes bytes; true when the request is whole or broken, and then says by `failed` which.
    bool feed(std::string_view& in) {
        for (;;) {
            const http1_progress now = parser_.step(in);
            in.remove_prefix(now.consumed);
            switch (now.step) {
                case http1_step::need_more:
                    return false;
                case http1_step::head:
                    wants_continue_ = parser_.expects_continue();
                    break;
                case http1_step::data:
                    if (body_.size() + now.data.size() > max_body_) {
                        refusal_ = 413;
                        return true;
                    }
                    body_ += now.data;
                    break;
                case http1_step::failed:
                    refusal_ = refusal_status(parser_.error());
                    return true;
                case http1_step::complete:
                    return true;
            }
        }
    }
    /// The status to refuse the request with; 0 when it is sound.
    int refusal() const { return refusal_; }
    /// Whether the client waits for a sign before it sends the body. True once.
    bool wants_continue() { return std::exchange(wants_continue_, false); }

    server_request take(std::size_t connection, std::size_t number) {
        server_request whole;
        whole.method = parser_.method();
        whole.target = parser_.target();
        keep_alive_ = parser_.keep_alive();
        whole.fields = parser_.take_fields();
        whole.body = std::exchange(body_, {});
        whole.connection = connection;
        whole.number = number;
        parser_.reset();
        return whole;
    }
    bool keep_alive() const { return keep_alive_; }

private:
    static http1_limits limits() {
        http1_limits wide;
        wide.head_bytes = 1024 * 1024;
        return wide;
    }

    std::uint64_t max_body_;
    http1_request_parser parser_;
    std::string body_;
    int refusal_ = 0;
    bool wants_continue_ = false;
    bool keep_alive_ = true;
};

/// Counts an answer while it is under way.
class answer_count {
public:
    explicit answer_count(server_tally& tally) : tally_(tally) {
        const std::size_t now = ++tally_.in_flight;
        if (now > tally_.in_flight_max.load()) tally_.in_flight_max = now;
    }
    answer_count(const answer_count&) = delete;
    answer_count& operator=(const answer_count&) = delete;
    ~answer_count() { --tally_.in_flight; }

private:
    server_tally& tally_;
};

enum class played : std::uint8_t { next, close };

/// Does what a reply says.
inline task<played> play(std::shared_ptr<server_desk> desk, std::shared_ptr<server_connection> on,
                         server_reply reply, time_point arrived) {
    answer_count under_way(desk->tally);
    const reply_end end = reply.end();
    const auto steps = std::move(reply).finished();
    limit due;
    due.until = arrived;
    for (const auto& step : steps) {
        bool there = true;
        if (step.pause > duration::zero()) {
            due.until = after(due.until, step.pause);
            there = co_await server_connection::idle_until(on, desk->time, due);
        }
        std::string_view wire = step.wire;
        if (there) there = on->write_now(wire);
        if (there && !wire.empty()) there = co_await server_connection::write(on, wire);
        if (!there) {
            desk->tally.departed();
            co_return played::close;
        }
    }
    if (end == reply_end::keep) co_return played::next;
    if (end == reply_end::reset) on->reset();
    if (end == reply_end::stall) {
        co_await server_connection::idle_until(on, desk->time, limit());
        desk->tally.departed();
    }
    co_return played::close;
}

/// Closing with unread input would send a reset, which could overtake the answer: so the sending
/// side goes first, and what still comes is read, for a while.
inline task<void> hang_up(std::shared_ptr<server_desk> desk,
                          std::shared_ptr<server_connection> on) {
    std::error_code failed;
    on->socket.shutdown(asio::socket_base::shutdown_send, failed);
    if (failed) co_return;
    limit patience;
    patience.until = after(desk->time.now(), std::chrono::seconds(1));
    const std::weak_ptr<server_connection> weak = on;
    const auto cut = [weak](expiry) {
        if (auto connection = weak.lock()) connection->reset();
    };
    cutoff bound(desk->time, patience, cut);
    std::array<char, 4096> dropped;
    while (!failed) {
        co_await on->socket.async_read_some(asio::buffer(dropped),
                                            asio::redirect_error(asio::use_awaitable, failed));
    }
}

/// Counts a connection while it is open.
class open_count {
public:
    explicit open_count(server_tally& tally) : tally_(tally) {
        ++tally_.connections;
        ++tally_.connected;
    }
    open_count(const open_count&) = delete;
    open_count& operator=(const open_count&) = delete;
    ~open_count() { --tally_.connected; }

private:
    server_tally& tally_;
};

inline task<void> serve(std::shared_ptr<server_desk> desk, std::shared_ptr<server_connection> on) {
    open_count here(desk->tally);
    request_reader reader(desk->max_body);
    std::array<char, 16 * 1024> buffer;
    std::string_view in;
    for (std::size_t number = 0;; ++number) {
        while (!reader.feed(in)) {
            if (reader.wants_continue()) {
                co_await server_connection::write(on, "HTTP/1.1 100 Continue\r\n\r\n");
            }
            std::error_code failed;
            const std::size_t got = co_await on->socket.async_read_some(
                asio::buffer(buffer), asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            in = std::string_view(buffer.data(), got);
        }
        if (reader.refusal() != 0) {
            server_reply refusal(reader.refusal());
            refusal.header("Connection", "close").body("");
            co_await play(desk, on, std::move(refusal), desk->time.now());
            co_await hang_up(desk, on);
            co_return;
        }
        const time_point arrived = desk->time.now();
        auto reply = desk->answer(reader.take(on->number, number));
        const bool keep = reader.keep_alive();
        if (co_await play(desk, on, std::move(reply), arrived) == played::close || !keep) break;
    }
    co_await hang_up(desk, on);
}

}  // namespace llmkit::detail
