#include <llmkit/core/child.hpp>
#include <llmkit/testing/http2_server.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>

#include "full_port.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_limits {

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> silent(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->gone();
}
task<void> stalls(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    co_await client->gone();
}
task<void> trickles(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    bool here = co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    const clock_handle time(co_await asio::this_coro::executor);
    while (here) {
        co_await sleep_for(time, 5ms);
        here = co_await client->send("x");
    }
}

// The error of a whole exchange: of the head or of the body.
task<error> failure_of(http_transport client, http_request ask) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) co_return answer.error();
    auto text = co_await answer->read_all();
    if (!text) co_return text.error();
    co_return error();
}

task<void> times_out(const raw_server& server, http_policy policy, std::string code) {
    auto client = http(co_await asio::this_coro::executor, policy);
    const error why = co_await failure_of(client, get(server.url()));
    CHECK(why.kind() == error_kind::timeout);
    CHECK(why.code() == code);
    CHECK(why.where() == "GET " + server.base() + "/");
    CHECK(client.connections().open == 0);
}

task<void> times_out_by_request(const raw_server& server, std::string code) {
    auto client = http(co_await asio::this_coro::executor);
    auto ask = get(server.url());
    if (code == "first_event_limit") ask.first_event = 30ms;
    if (code == "idle_limit") ask.idle = 30ms;
    if (code == "total_limit") ask.deadline.until = client.clock().now() + 30ms;
    const error why = co_await failure_of(client, std::move(ask));
    CHECK(why.kind() == error_kind::timeout);
    CHECK(why.code() == code);
    CHECK(client.connections().open == 0);
}

task<void> read_too_late(const raw_server& server) {
    auto client = http(co_await asio::this_coro::executor, {.total = 30ms});
    auto answer = co_await client.send(get(server.url()));
    REQUIRE(answer);
    CHECK(client.connections().open == 1);
    co_await sleep_for(client.clock(), 60ms);
    CHECK(client.connections().open == 0);
    auto first = co_await answer->read();
    REQUIRE(first);
    CHECK(first->view() == "some");
    for (int again = 0; again < 2; ++again) {
        auto late = co_await answer->read();
        REQUIRE(!late);
        CHECK(late.error().kind() == error_kind::timeout);
        CHECK(late.error().code() == "total_limit");
    }
}

task<void> no_connection(http_policy policy, http_request ask, std::string code) {
    auto client = http(co_await asio::this_coro::executor, policy);
    const error why = co_await failure_of(client, std::move(ask));
    CHECK(why.kind() == error_kind::timeout);
    CHECK(why.code() == code);
    CHECK(client.connections().open == 0);
}

task<void> closes(url where, bool with_answer) {
    auto client = http(co_await asio::this_coro::executor);
    wait_owner owner;
    owner.scope = &owner;
    auto ask = get(where);
    ask.deadline.owner = &owner;
    const clock_handle time = client.clock();
    asio::steady_timer soon(co_await asio::this_coro::executor, 20ms);
    soon.async_wait([time, &owner](const std::error_code&) { time.timers().close(&owner); });
    const error why = co_await failure_of(client, std::move(ask));
    CHECK(why.kind() == error_kind::closed);
    CHECK(client.connections().open == 0);
    CHECK(with_answer == (why.message().find("reading") != std::string_view::npos));
}

task<void> waits_in_vain(const raw_server& server) {
    auto client = http(co_await asio::this_coro::executor, {.max_connections = 1, .max_queued = 1});
    auto holding = co_await client.send(get(server.url()));
    REQUIRE(holding);
    auto ask = get(server.url());
    ask.deadline.until = client.clock().now() + 30ms;
    {
        child<error> waiting(client.clock(), failure_of(client, std::move(ask)));
        while (client.connections().waiting == 0) co_await sleep_for(client.clock(), 1ms);
        const error full = co_await failure_of(client, get(server.url()));
        CHECK(full.kind() == error_kind::refused);
        const error late = co_await waiting.join();
        CHECK(late.kind() == error_kind::timeout);
        CHECK(late.code() == "queue_limit");
    }
    CHECK(client.connections().waiting == 0);
    CHECK(client.connections().open == 1);
}

task<void> waits_for_room(const testing::http2_server& server, const int& asked) {
    auto client =
        http(co_await asio::this_coro::executor, http_options()
                                                     .policy({.max_connections = 1, .queue = 30ms})
                                                     .http2(http2().prior_knowledge()));
    std::string why;
    const url where = url::parse(server.origin(), why).value();
    child<error> holding(client.clock(), failure_of(client, get(where)));
    while (asked == 0) co_await sleep_for(client.clock(), 1ms);
    const error late = co_await failure_of(client, get(where));
    CHECK(late.kind() == error_kind::timeout);
    CHECK(late.code() == "queue_limit");
}

}  // namespace

TEST_CASE("a server that never answers is given up by the first-event limit", "[limits]") {
    asio::io_context context;
    raw_server server(context, silent);
    run_test(context, times_out(server, {.first_event = 30ms}, "first_event_limit"));
    run_test(context, times_out_by_request(server, "first_event_limit"));
    run_test(context, times_out_by_request(server, "total_limit"));
}

TEST_CASE("a body that stalls is given up by the idle limit", "[limits]") {
    asio::io_context context;
    raw_server server(context, stalls);
    run_test(context, times_out(server, {.idle = 30ms}, "idle_limit"));
    run_test(context, times_out_by_request(server, "idle_limit"));
}

TEST_CASE("a body that trickles is given up by the total limit", "[limits]") {
    asio::io_context context;
    raw_server server(context, trickles);
    run_test(context, times_out(server, {.idle = 1s, .total = 50ms}, "total_limit"));
}

TEST_CASE("limits run while nobody reads: the connection is freed and the next read says so",
          "[limits]") {
    asio::io_context context;
    raw_server server(context, stalls);
    run_test(context, read_too_late(server));
}

TEST_CASE("waiting for room on a shared connection has the queue's limit", "[limits][http2]") {
    asio::io_context context;
    int asked = 0;
    testing::http2_server server(
        context, [&](const auto&, const testing::http2_ask&) { ++asked; }, 1);
    run_test(context, waits_for_room(server, asked));
}

TEST_CASE("connecting is bounded by the connect limit and by the total", "[limits]") {
    asio::io_context context;
    full_port port(context);
    run_test(context, no_connection({.connect = 30ms}, get(port.where()), "connect_limit"));
    run_test(context, no_connection({.total = 30ms}, get(port.where()), "total_limit"));
}

TEST_CASE("closing a pipeline ends its exchanges with `closed`", "[limits]") {
    asio::io_context context;
    raw_server mute(context, silent);
    run_test(context, closes(mute.url(), false));
    raw_server slow(context, stalls);
    run_test(context, closes(slow.url(), true));
    full_port unreachable(context);
    run_test(context, closes(unreachable.where(), false));
}

TEST_CASE("the queue for a connection is bounded in length and in time", "[limits]") {
    asio::io_context context;
    raw_server server(context, stalls);
    run_test(context, waits_in_vain(server));
}

}  // namespace test_transport_limits
