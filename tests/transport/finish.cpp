// An answer that is complete for its reader before HTTP has ended it.
#include <atomic>
#include <optional>
#include <thread>

#include <llmkit/provider/openai.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/transport/http.hpp>

#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_finish {

using namespace llmkit;
using namespace llmkit_test;
using testing::http_server;
using testing::server_reply;
using testing::server_request;

namespace {

/// Sends `rest` of an answer when the test opens the gate.
task<void> in_two_parts(std::shared_ptr<peer> client, std::shared_ptr<asio::steady_timer> gate,
                        std::string head, std::string rest, bool& gone) {
    std::string text;
    bool here = co_await client->request(text);
    while (here) {
        co_await client->send("HTTP/1.1 200 OK\r\n" + head + "\r\n4\r\nfour\r\n");
        gate->expires_at(asio::steady_timer::time_point::max());
        std::error_code opened;
        co_await gate->async_wait(asio::redirect_error(asio::use_awaitable, opened));
        if (rest == "end") co_return;
        co_await client->send(rest);
        here = co_await client->request(text);
    }
    gone = true;
}

/// Reads what there is, and knows by it that nothing follows.
task<void> call(http_transport client, http_request ask, bool& done) {
    auto answer = co_await client.send(std::move(ask));
    REQUIRE(answer);
    auto piece = co_await answer->read();
    REQUIRE(piece);
    CHECK(piece->view() == "four");
    answer->finish();
    auto end = co_await answer->read();
    REQUIRE(end);
    CHECK(end->empty());
    done = true;
}

class bench {
public:
    explicit bench(std::string rest = "0\r\n\r\n",
                   std::string head = "Transfer-Encoding: chunked\r\n")
        : time(std::make_shared<hand_clock>(context->get_executor())) {
        asio::make_service<detail::clock_service>(*context, time);
        gate = std::make_shared<asio::steady_timer>(*context);
        server.emplace(*context, [this, head, rest](std::shared_ptr<peer> who, std::size_t) {
            return in_two_parts(who, gate, head, rest, gone);
        });
        client.emplace(http(context->get_executor()));
    }

    /// One call to its end.
    void ask() {
        bool ended = false;
        run_test(*context, call(*client, get(server->url()), ended));
        CHECK(ended);
    }
    template <class Condition>
    bool turn_until(Condition met) {
        context->restart();
        while (!met()) {
            if (context->run_one_for(5s) == 0) return false;
        }
        return true;
    }
    std::size_t open() const { return client->connections().open; }
    std::size_t idle() const { return client->connections().idle; }

    bool gone = false;
    std::optional<asio::io_context> context{std::in_place};
    std::shared_ptr<hand_clock> time;
    std::shared_ptr<asio::steady_timer> gate;
    std::optional<raw_server> server;
    std::optional<http_transport> client;
};

std::string chunk(std::size_t size) {
    return fmt::format("{:x}\r\n{}\r\n", size, std::string(size, 'x'));
}

}  // namespace

TEST_CASE("a connection serves again when the message ends after its reader", "[finish]") {
    const std::string rest =
        GENERATE(std::string("0\r\n\r\n"), "0\r\nX-Trailer: y\r\n\r\n", chunk(1000) + "0\r\n\r\n");
    bench b(rest);
    for (int i = 0; i < 3; ++i) {
        b.ask();
        CHECK(b.open() == 1);
        CHECK(b.idle() == 0);  // in use until then
        b.gate->cancel();
        CHECK(b.turn_until([&] { return b.idle() == 1; }));
    }
    CHECK(b.server->accepted() == 1);
    CHECK(b.time->size() == 0);
}

TEST_CASE("a connection whose message does not end well is closed", "[finish]") {
    // Too much, no chunk, more than an answer, and the end of the connection.
    const std::string rest =
        GENERATE(chunk(6000), chunk(6000) + "0\r\n\r\n", "zz\r\n", "0\r\n\r\nmore", "end");
    bench b(rest);
    b.ask();
    CHECK(b.open() == 1);
    b.gate->cancel();
    CHECK(b.turn_until([&] { return b.open() == 0; }));
    CHECK(b.time->size() == 0);
    b.ask();
    CHECK(b.server->accepted() == 2);
}

TEST_CASE("the end of a message is not waited for longer than a moment", "[finish]") {
    bench b;
    b.ask();
    b.time->pass(49ms);
    b.context->restart();
    b.context->poll();
    CHECK(b.open() == 1);
    b.time->pass(1ms);
    CHECK(b.turn_until([&] { return b.open() == 0; }));
    CHECK(b.turn_until([&] { return b.gone || (b.gate->cancel(), false); }));
    b.ask();
    CHECK(b.server->accepted() == 2);
}

TEST_CASE("a connection that cannot serve again is closed at once", "[finish]") {
    bench b("0\r\n\r\n", "Transfer-Encoding: chunked\r\nConnection: close\r\n");
    b.ask();
    CHECK(b.open() == 0);
}

TEST_CASE("what is read for a message's end goes with its transport", "[finish]") {
    bench b;
    b.ask();
    b.client.reset();
    // No time passes and the server is silent: nothing else would end it.
    CHECK(b.turn_until([&] { return b.time->size() == 0; }));
    b.gate->cancel();
    CHECK(b.turn_until([&] { return b.gone; }));
}

namespace {
// Lets the context and the transport go after `events`, in either order; false when all was over.
bool dropped_after(int events, bool transport_first) {
    bench b;
    bool ended = false;
    asio::co_spawn(*b.context, call(*b.client, get(b.server->url()), ended), asio::detached);
    const auto over = [&] { return ended && b.idle() == 1; };
    for (int i = 0; i < events && !over(); ++i) {
        if (ended) b.gate->cancel();
        b.context->run_one();
    }
    const bool in_time = !over();
    if (transport_first) b.client.reset();
    if (transport_first && events % 2 == 0) b.context->poll();
    b.server.reset();
    b.gate.reset();
    b.context.reset();
    b.client.reset();
    CHECK(b.time->size() == 0);
    return in_time;
}
}  // namespace

TEST_CASE("transport and context may go at every point of a finished answer", "[finish]") {
    for (const bool transport_first : {false, true}) {
        int events = 0;
        while (dropped_after(events, transport_first)) ++events;
        CHECK(events >= 8);
    }
}

namespace {
task<void> calls_until_stopped(http_transport client, url where, std::atomic<bool>& stop) {
    while (!stop) {
        auto answer = co_await client.send(get(where));
        if (!answer) continue;
        auto piece = co_await answer->read();
        if (piece) answer->finish();
    }
}
}  // namespace

TEST_CASE("answers are finished on two threads while transports go", "[finish]") {
    http_server server([](const server_request& ask) {
        auto reply = server_reply().event("x").event("[DONE]");
        if (ask.number % 4 == 3) return reply.stall();
        return reply.pause(std::chrono::microseconds(ask.number % 2 == 0 ? 0 : 200));
    });
    std::string why;
    const url where = url::parse(server.base_url(), why).value();
    for (int round = 0; round < 10; ++round) {
        asio::io_context context(2);
        std::atomic<bool> stop{false};
        {
            auto client = http(context.get_executor());
            for (int i = 0; i < 8; ++i) {
                asio::co_spawn(asio::make_strand(context), calls_until_stopped(client, where, stop),
                               asio::detached);
            }
        }
        const std::size_t before = server.requests();
        std::thread one([&] { context.run(); });
        std::thread two([&] { context.run(); });
        CHECK(server.wait_for_requests(before + 100));
        stop = true;
        one.join();  // ends by itself: the calls first, then what they left behind
        two.join();
    }
}

namespace {
task<std::string> stream(openai_service<http_transport> service) {
    request ask("chat/completions", R"({"model":"m"})");
    ask.options().streamed = true;
    auto answer = co_await service(std::move(ask));
    std::string last;
    if (!answer) co_return last;
    while (auto item = co_await answer->events().next()) last = item->data();
    if (answer->events().failed()) last = answer->events().error().to_string();
    co_return last;
}
server_reply said() {
    return server_reply()
        .event(R"({"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]})")
        .event("[DONE]");
}
struct real_calls {
    explicit real_calls(const server_reply& reply)
        : server([reply](const server_request&) { return reply; }),
          time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<detail::clock_service>(context, time);
        transport.emplace(http(context.get_executor()));
    }
    std::string ask() {
        std::string last;
        const auto service =
            openai(*transport, openai_options().base_url(server.base_url()).no_key());
        asio::co_spawn(context, stream(service),
                       [&](std::exception_ptr, std::string text) { last = std::move(text); });
        turn_until([&] { return !last.empty(); });
        return last;
    }
    template <class Condition>
    bool turn_until(Condition met) {
        context.restart();
        while (!met()) {
            if (context.run_one_for(5s) == 0) return false;
        }
        return true;
    }
    http_server server;
    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    std::optional<http_transport> transport;
};
}  // namespace

TEST_CASE("a stream whose last chunk comes late leaves its connection to the next", "[finish]") {
    real_calls b(said().pause(5ms));
    for (int i = 0; i < 3; ++i) {
        CHECK(b.ask() == "[DONE]");
        CHECK(b.turn_until([&] { return b.transport->connections().idle == 1; }));
    }
    CHECK(b.server.connections() == 1);
    CHECK(b.server.requests() == 3);
}

TEST_CASE("a stream whose last chunk never comes costs its connection", "[finish]") {
    real_calls b(said().stall());
    CHECK(b.ask() == "[DONE]");
    CHECK(b.transport->connections().open == 1);
    b.time->pass(50ms);
    CHECK(b.turn_until([&] { return b.transport->connections().open == 0; }));
    CHECK(b.server.wait_for_departures(1));
    CHECK(b.ask() == "[DONE]");
    CHECK(b.server.connections() == 2);
}

}  // namespace test_transport_finish
