// llmkit/testing/http_server.hpp: a server on this machine that does to a client whatever you say.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/testing/server_connection.hpp>
#include <llmkit/testing/server_reply.hpp>

namespace llmkit::testing {

/// Bounds of an `http_server`.
struct http_server_policy {
    std::uint64_t max_body = 256 * 1024 * 1024;  ///< bytes of a request's body; more gets a 413
    std::size_t logged = 1000;                   ///< requests kept for `log()`, the newest
};
static_assert(std::is_trivially_destructible_v<http_server_policy>);

/// An HTTP/1.1 server on 127.0.0.1, with a thread of its own, for tests of what calls an API.
///
///     llmkit::testing::http_server server([](const server_request& ask) {
///         if (ask.number == 0) return server_reply(429).header("Retry-After", "0").body("{}");
///         return openai_reply("Hello");
///     });
///     auto client = pipeline(openai(http, openai_options().base_url(server.base_url()))) |
///     retry(); … CHECK(server.requests() == 2);
///
/// The handler is called on the server's thread, for one request at a time; it says at once what is
/// to be done (server_reply.hpp), so that thousands of answers can be under way. What it throws
/// becomes a 500 with the exception's text. Connections are kept alive. The server notices at once
/// when a client goes away while its answer is being paused: `departures`. All members may be
/// called from any thread. The destructor closes everything and joins the thread.
class http_server {
public:
    using handler = std::function<server_reply(const server_request&)>;

    explicit http_server(handler answer, const http_server_policy& policy = {})
        : core_(std::make_shared<core>(context_, std::move(answer), policy)) {
        asio::ip::tcp::acceptor door(context_, {asio::ip::address_v4::loopback(), 0});
        port_ = door.local_endpoint().port();
        asio::co_spawn(context_, listen(core_, std::move(door)), [](std::exception_ptr) {});
        thread_ = std::thread([this] { context_.run(); });
    }
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;
    ~http_server() {
        context_.stop();
        thread_.join();
    }

    std::uint16_t port() const { return port_; }
    /// "http://127.0.0.1:PORT".
    std::string origin() const { return "http://127.0.0.1:" + std::to_string(port_); }
    /// "http://127.0.0.1:PORT/v1", as `openai_options::base_url` wants it.
    std::string base_url() const { return origin() + "/v1"; }

    std::size_t connections() const { return core_->tally.connections.load(); }  ///< accepted
    std::size_t connected() const { return core_->tally.connected.load(); }      ///< open now
    std::size_t requests() const { return core_->tally.requests.load(); }        ///< received
    std::size_t in_flight() const { return core_->tally.in_flight.load(); }      ///< being answered
    std::size_t in_flight_max() const { return core_->tally.in_flight_max.load(); }
    /// Clients that left, or failed, before they had the whole answer.
    std::size_t departures() const { return core_->tally.departures.load(); }

    /// Blocks until so many clients have left in the middle of an answer; false when that took
    /// longer than `at_most`.
    bool wait_for_departures(std::size_t count, duration at_most = std::chrono::seconds(5)) {
        return core_->tally.wait([&] { return departures() >= count; }, at_most);
    }
    /// Blocks until so many requests have been received; false when that took longer.
    bool wait_for_requests(std::size_t count, duration at_most = std::chrono::seconds(5)) {
        return core_->tally.wait([&] { return requests() >= count; }, at_most);
    }

    /// The requests received, oldest first; only the newest `logged` are kept.
    std::vector<server_request> log() const {
        std::lock_guard lock(core_->log_mutex);
        return {core_->log.begin(), core_->log.end()};
    }

private:
    class core final : public detail::server_desk {
    public:
        core(asio::io_context& context, handler answer, const http_server_policy& policy)
            : server_desk(clock_handle(context.get_executor()), policy.max_body),
              answer_(std::move(answer)),
              policy_(policy) {}

        server_reply answer(server_request ask) override {
            std::size_t logged = 0;
            if (policy_.logged > 0) {
                std::lock_guard lock(log_mutex);
                log.push_back(ask);
                logged = log.size();
                if (logged > policy_.logged) log.pop_front();
            }
            tally.arrived();
            try {
                return answer_(ask);
            } catch (const std::exception& thrown) {
                return server_reply(500).body(thrown.what());
            }
        }

        mutable std::mutex log_mutex;
        std::deque<server_request> log;

    private:
        handler answer_;
        http_server_policy policy_;
    };

    static task<void> listen(std::shared_ptr<core> shared, asio::ip::tcp::acceptor door) {
        for (std::size_t number = 0;; ++number) {
            std::error_code failed;
            auto socket =
                co_await door.async_accept(asio::redirect_error(asio::use_awaitable, failed));
            if (failed == asio::error::operation_aborted) co_return;
            if (failed) {  // out of descriptors, most likely: those in use must be closed first
                co_await sleep_for(shared->time, std::chrono::milliseconds(10));
                continue;
            }
            auto connection =
                std::make_shared<detail::server_connection>(std::move(socket), number);
            asio::co_spawn(door.get_executor(), detail::serve(shared, std::move(connection)),
                           [](std::exception_ptr) {});
        }
    }

    asio::io_context context_{1};
    std::shared_ptr<core> core_;
    std::uint16_t port_ = 0;
    std::thread thread_;
};

}  // namespace llmkit::testing
