#include "http2_bed.hpp"
#include "test.hpp"

namespace test_transport_http2_cancel {

using namespace llmkit;
using namespace llmkit_test;

namespace {

const std::string large(400'000, 'y');

/// Three calls, large ones both ways among them.
task<void> three_calls(http_transport client, url where, int& whole) {
    for (int i = 0; i < 3; ++i) {
        // Named first: g++ 12 frees a conditional temporary in a co_await expression twice.
        const bytes body = i == 1 ? bytes(large) : bytes::literal("{}");
        auto answer = co_await client.send(http_request("POST", where, {}, body));
        REQUIRE(answer);
        auto text = co_await answer->read_all();
        REQUIRE(text);
        CHECK(text->size() == (i == 1 ? large.size() : 2));
        ++whole;
    }
}
void echo(const peer_ptr& peer, const http2_ask& ask) {
    peer->respond(ask.stream, 200, {}, ask.body);
}

/// Runs the calls for so many events and cancels them, or drops the context with them. False when
/// they had ended by then.
bool interrupted_after(int events, bool drop) {
    std::optional<asio::io_context> context(std::in_place);
    std::optional<http2_server> server(std::in_place, *context, echo);
    const auto client = http2_client(context->get_executor(), {}, http2().stream_window(10'000));
    std::string why;
    const url where = url::parse(server->origin() + "/", why).value();
    asio::cancellation_signal cancel;
    bool done = false;
    int whole = 0;
    asio::co_spawn(
        *context, three_calls(client, where, whole),
        asio::bind_cancellation_slot(cancel.slot(), [&done](std::exception_ptr) { done = true; }));
    for (int i = 0; i < events && !done; ++i) context->run_one();
    const bool in_time = !done;
    if (drop) {
        server.reset();
        context.reset();
        return in_time;
    }
    cancel.emit(asio::cancellation_type::terminal);
    const auto settled = [&] {
        const auto now = client.connections();
        return done && now.open == now.idle && now.waiting == 0;
    };
    while (!settled()) REQUIRE(context->run_one_for(std::chrono::seconds(5)) > 0);
    server.reset();  // nothing is left to run
    context->run();
    return in_time;
}

}  // namespace

TEST_CASE("an HTTP/2 call can be cancelled, and its context dropped, at every point", "[http2]") {
    for (const bool drop : {false, true}) {
        int events = 0;
        while (interrupted_after(events, drop)) events += events < 60 ? 1 : 7;
        CHECK(events > 30);
    }
}

namespace {

/// Makes a call, and another one as soon as the first one has ended, be it by cancellation.
task<void> call_twice(http_transport client, url where, bool& begun, std::shared_ptr<outcome> first,
                      std::shared_ptr<outcome> second) {
    begun = true;
    try {
        co_await fetch_into(client, get(where), first);
    } catch (const asio::system_error&) {
    }
    co_await asio::this_coro::reset_cancellation_state();
    co_await fetch_into(client, get(where), second);
}

/// Cancels the first call after so many events; false when it had ended before.
bool follows_cancelled_after(int events) {
    asio::io_context context;
    http2_server server(context, pong);
    const auto client = http2_client(context.get_executor());
    std::string why;
    const url where = url::parse(server.origin() + "/", why).value();
    const auto first = std::make_shared<outcome>();
    const auto second = std::make_shared<outcome>();
    asio::cancellation_signal cancel;
    bool begun = false;
    asio::co_spawn(context, call_twice(client, where, begun, first, second),
                   asio::bind_cancellation_slot(cancel.slot(), asio::detached));
    while (!begun) context.run_one();
    for (int i = 0; i < events && !first->done; ++i) context.run_one();
    const bool in_time = !first->done;
    if (in_time) cancel.emit(asio::cancellation_type::terminal);
    INFO("after " << events << " events");
    while (!second->done) REQUIRE(context.run_one_for(std::chrono::seconds(5)) > 0);
    INFO((second->body ? "" : second->body.error().to_string()));
    CHECK(second->well());
    return in_time;
}

}  // namespace

TEST_CASE("a call may follow one that was cancelled at any point", "[http2]") {
    int events = 0;
    while (follows_cancelled_after(events)) ++events;
    CHECK(events > 3);
}

TEST_CASE("a transport may be dropped with HTTP/2 calls in flight", "[http2]") {
    desk held;
    bed here(held.handler());
    auto waiting = here.call();
    auto begun = here.call();
    REQUIRE(here.until([&] { return held.size() == 2; }));
    held.peer(1)->respond(held.stream(1), 200, {}, "po", false);
    here.settle();
    here.client.reset();
    here.settle();
    held.answer(0);
    held.peer(1)->data(held.stream(1), "ng", true);
    REQUIRE(here.done(waiting));
    REQUIRE(here.done(begun));
    CHECK(waiting->well());
    CHECK(begun->well());
    here.calls.clear();
    here.settle();
    here.server.reset();
    here.context.restart();
    here.context.run();
}

TEST_CASE("answers may outlive their context, and say so", "[http2]") {
    std::optional<http_response> answer;
    {
        desk held;
        bed here(held.handler());
        const auto open_only = [](http_transport client, url where,
                                  std::optional<http_response>& into) -> task<void> {
            auto got = co_await client.send(get(where));
            REQUIRE(got);
            into.emplace(std::move(*got));
        };
        asio::co_spawn(here.context, open_only(*here.client, here.at(), answer), asio::detached);
        REQUIRE(here.until([&] { return held.size() == 1; }));
        held.peer(0)->respond(held.stream(0), 200, {}, "some", false);
        REQUIRE(here.until([&] { return answer.has_value(); }));
    }
    asio::io_context other;
    const auto read_on = [](http_response& from) -> task<void> {
        auto first = co_await from.read();
        REQUIRE(first);
        CHECK(first->view() == "some");
        auto next = co_await from.read();
        REQUIRE(!next);
        CHECK(next.error().kind() == error_kind::closed);
    };
    run_test(other, read_on(*answer));
    answer.reset();
}

TEST_CASE("a read that is cancelled leaves nothing to read", "[http2]") {
    desk held;
    bed here(held.handler());
    std::optional<http_response> answer;
    const auto open_and_read = [](http_transport client, url where,
                                  std::optional<http_response>& into) -> task<void> {
        auto got = co_await client.send(get(where));
        into.emplace(std::move(*got));
        auto text = co_await into->read_all();
        CHECK(!text);
    };
    {
        child<void> reader(here.client->clock(), open_and_read(*here.client, here.at(), answer));
        REQUIRE(here.until([&] { return held.size() == 1; }));
        held.peer(0)->respond(held.stream(0), 200, {}, "some", false);
        here.settle();
    }
    CHECK(here.idle(1));
    const auto read_on = [](http_response& from) -> task<void> {
        auto next = co_await from.read();
        REQUIRE(!next);
        CHECK(next.error().kind() == error_kind::closed);
    };
    run_test(here.context, read_on(*answer));
}

TEST_CASE("a connection that nobody waits for any more is not made", "[http2]") {
    asio::io_context context;
    asio::ip::tcp::acceptor full(context);
    full.open(asio::ip::tcp::v4());
    full.bind({asio::ip::address_v4::loopback(), 0});
    full.listen(0);
    std::vector<asio::ip::tcp::socket> fillers;
    for (int i = 0; i < 4; ++i) {
        fillers.emplace_back(context);
        fillers.back().open(asio::ip::tcp::v4());
        fillers.back().async_connect(full.local_endpoint(), [](std::error_code) {});
    }
    std::string why;
    const auto port = std::to_string(full.local_endpoint().port());
    const url where = url::parse("http://127.0.0.1:" + port + "/", why).value();
    const auto client = http2_client(context.get_executor());
    {
        std::vector<child<void>> calls;
        for (int i = 0; i < 3; ++i) {
            auto into = std::make_shared<outcome>();
            calls.emplace_back(client.clock(), fetch_into(client, get(where), into));
        }
        while (client.connections().waiting < 3) context.run_one();
        while (context.poll() > 0) {
        }
        CHECK(client.connections().open == 1);
    }
    while (client.connections().open > 0) REQUIRE(context.run_one_for(std::chrono::seconds(5)) > 0);
    CHECK(client.connections().waiting == 0);
}

}  // namespace test_transport_http2_cancel
