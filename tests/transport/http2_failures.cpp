#include "http2_bed.hpp"
#include "http2_frames.hpp"
#include "test.hpp"

namespace test_transport_http2_failures {

using namespace llmkit;
using namespace llmkit_test;

TEST_CASE("after GOAWAY what is below its id finishes, the rest is asked elsewhere", "[http2]") {
    desk held;
    bed here(held.handler());
    std::vector<std::shared_ptr<outcome>> calls;
    for (int i = 0; i < 6; ++i) calls.push_back(here.call());
    REQUIRE(here.until([&] { return held.size() == 6; }));
    here.peer()->go_away(held.stream(2));  // three of them have been looked at
    REQUIRE(here.until([&] { return held.size() == 9; }));
    CHECK(here.server->peers().size() == 2);
    for (std::size_t i = 6; i < 9; ++i) CHECK(held.peer(i) == here.peer(1));
    auto later = here.call();
    REQUIRE(here.until([&] { return held.size() == 10; }));
    CHECK(held.peer(9) == here.peer(1));
    CHECK(here.client->connections().open == 2);
    for (const std::size_t i : {0u, 1u, 2u, 6u, 7u, 8u, 9u}) held.answer(i);
    CHECK(here.idle(1));
    for (const auto& each : calls) CHECK(each->well());
    CHECK(later->well());
}

TEST_CASE("GOAWAY again and again is no reason to give up while answers come", "[http2]") {
    std::size_t answered = 0;
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        if (ask.stream > 1) return;  // one answer on each connection
        ++answered;
        peer->respond(ask.stream, 200, {}, "pong");
        peer->go_away(ask.stream);
    });
    std::vector<std::shared_ptr<outcome>> calls;
    for (int i = 0; i < 20; ++i) calls.push_back(here.call());
    for (const auto& each : calls) {
        REQUIRE(here.done(each));
        CHECK(each->well());
    }
    CHECK(answered == 20);
    CHECK(here.server->peers().size() >= 10);
}

TEST_CASE("a refused stream is asked for again, but not for ever", "[http2]") {
    int refusals = 2;
    std::size_t asked = 0;
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        ++asked;
        if (refusals-- > 0) return peer->reset(ask.stream, NGHTTP2_REFUSED_STREAM);
        peer->respond(ask.stream, 200, {}, "pong");
    });
    auto lucky = here.call();
    REQUIRE(here.done(lucky));
    CHECK(lucky->well());
    CHECK(asked == 3);
    CHECK(here.idle(1));
    here.server.reset();
    here.settle();

    bed never([&](const peer_ptr& peer, const http2_ask& ask) {
        ++asked;
        peer->reset(ask.stream, NGHTTP2_REFUSED_STREAM);
    });
    asked = 0;
    auto unlucky = never.call();
    REQUIRE(never.done(unlucky));
    REQUIRE(!unlucky->body);
    CHECK(unlucky->body.error().kind() == error_kind::connection_lost);
    CHECK(unlucky->body.error().message().find("REFUSED_STREAM") != std::string_view::npos);
    CHECK(asked == 3);
}

TEST_CASE("one answer is no reason to ask a server that refuses since then for ever", "[http2]") {
    std::size_t asked = 0;
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        if (ask[":path"] == "/held") return;
        if (++asked == 1) return peer->respond(ask.stream, 200, {}, "pong");
        if (asked < 20) peer->reset(ask.stream, NGHTTP2_REFUSED_STREAM);
    });
    auto held = here.call(get(here.at("/held")));  // so that it stays one connection's one use
    auto first = here.call();
    REQUIRE(here.done(first));
    auto refused = here.call();
    REQUIRE(here.until([&] { return refused->done || asked == 20; }));
    CHECK(asked == 4);
    REQUIRE(refused->done);
    REQUIRE(!refused->body);
    CHECK(refused->body.error().kind() == error_kind::connection_lost);
}

TEST_CASE("a request whose head is too large for HTTP/2 is refused in words, without a second try",
          "[http2]") {
    desk held;
    bed here(held.handler());
    auto waiting = here.call();
    auto first = here.call();
    REQUIRE(here.until([&] { return held.size() == 2; }));
    held.answer(1);
    REQUIRE(here.done(first));
    headers fields;
    fields.add("x-long", std::string(70'000, 'x'));
    auto large = here.call(http_request("GET", here.at(), fields));
    here.context.restart();
    for (int events = 0; events < 1000 && !large->done; ++events) here.context.poll_one();
    REQUIRE(large->done);
    REQUIRE(!large->body);
    INFO(large->body.error().to_string());
    CHECK(large->body.error().kind() == error_kind::invalid_request);
    CHECK(large->body.error().message().find("64 KiB") != std::string_view::npos);
    held.answer(0);
    REQUIRE(here.done(waiting));
    CHECK(waiting->well());
    CHECK(here.idle(1));
}

TEST_CASE("a stream that is reset fails alone and is not asked for again", "[http2]") {
    std::size_t asked = 0;
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        ++asked;
        if (ask[":path"] == "/bad") return peer->reset(ask.stream, NGHTTP2_INTERNAL_ERROR);
        peer->respond(ask.stream, 200, {}, "pong");
    });
    auto bad = here.call(get(here.at("/bad")));
    auto good = here.call();
    REQUIRE(here.done(bad));
    REQUIRE(here.done(good));
    CHECK(good->well());
    REQUIRE(!bad->body);
    CHECK(bad->body.error().kind() == error_kind::connection_lost);
    CHECK(bad->body.error().where() == "GET " + here.server->origin() + "/bad");
    CHECK(asked == 2);
    CHECK(here.idle(1));
}

TEST_CASE("a connection that was closed while it was idle costs nobody his call", "[http2]") {
    bed here(pong);
    auto first = here.call();
    REQUIRE(here.done(first));
    REQUIRE(here.idle(1));
    here.peer()->close();
    auto second = here.call();
    REQUIRE(here.done(second));
    CHECK(second->well());
    CHECK(here.server->peers().size() == 2);
}

TEST_CASE("a used connection that dies before any byte of an answer is replaced once", "[http2]") {
    std::size_t asked = 0;
    bool always = false;
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        ++asked;
        if (ask[":path"] == "/die" && (always || peer->number() == 0)) return peer->close();
        peer->respond(ask.stream, 200, {}, "pong");
    });
    auto first = here.call();
    REQUIRE(here.done(first));
    REQUIRE(here.idle(1));
    auto second = here.call(get(here.at("/die")));
    REQUIRE(here.done(second));
    CHECK(second->well());
    CHECK(asked == 3);
    REQUIRE(here.idle(1));

    always = true;  // the new connection dies, too
    auto third = here.call(get(here.at("/die")));
    REQUIRE(here.done(third));
    REQUIRE(!third->body);
    CHECK(third->body.error().kind() == error_kind::connection_lost);
    CHECK(asked == 5);
}

TEST_CASE("a connection that dies ends all calls on it, each with what befits it", "[http2]") {
    desk held;
    bed here(held.handler());
    auto silent = here.call();
    auto begun = here.call();
    auto whole = here.call();
    REQUIRE(here.until([&] { return held.size() == 3; }));
    held.peer(1)->respond(held.stream(1), 200, {}, "be", false);
    held.answer(2);
    REQUIRE(here.done(whole));
    here.peer()->close();
    REQUIRE(here.done(silent));
    REQUIRE(here.done(begun));
    CHECK(whole->well());
    REQUIRE(!silent->body);
    CHECK(silent->body.error().kind() == error_kind::connection_lost);
    REQUIRE(!begun->body);
    CHECK(begun->body.error().kind() == error_kind::truncated);
    CHECK(held.size() == 3);  // a first connection: nothing is sent twice
    CHECK(here.client->connections().open == 0);
}

TEST_CASE("a silent server with calls is asked for a sign of life, then given up", "[http2]") {
    desk held;
    bed here(held.handler());
    auto call = here.call();
    REQUIRE(here.until([&] { return held.size() == 1; }));
    here.time->pass(std::chrono::seconds(14));
    here.settle();
    CHECK(here.peer()->pings() == 0);
    here.time->pass(std::chrono::seconds(2));
    REQUIRE(here.until([&] { return here.peer()->pings() == 1; }));
    here.settle();
    here.time->pass(std::chrono::seconds(14));
    here.settle();
    CHECK(here.peer()->pings() == 1);
    here.peer()->ignore_pings();
    here.time->pass(std::chrono::seconds(2));
    REQUIRE(here.until([&] { return here.peer()->pings() == 2; }));
    CHECK_FALSE(call->done);
    here.time->pass(std::chrono::seconds(11));
    REQUIRE(here.done(call));
    REQUIRE(!call->body);
    CHECK(call->body.error().kind() == error_kind::connection_lost);
    CHECK(call->body.error().message().find("sign of life") != std::string_view::npos);
    CHECK(here.client->connections().open == 0);
}

TEST_CASE("no connection and no address are one error for all who wait for it", "[http2]") {
    bed here(pong);
    const url where = here.at();
    here.server.reset();
    std::vector<std::shared_ptr<outcome>> calls;
    for (int i = 0; i < 5; ++i) calls.push_back(here.call(get(where)));
    for (const auto& each : calls) {
        REQUIRE(here.done(each));
        REQUIRE(!each->body);
        CHECK(each->body.error().kind() == error_kind::connect);
        CHECK(each->body.error().where().starts_with("GET http://127.0.0.1:"));
    }
    CHECK(here.client->connections().open == 0);
    CHECK(here.client->connections().waiting == 0);
}

TEST_CASE("a call does not wait for a full connection that takes no more calls", "[http2]") {
    desk held;
    bed here(held.handler(), {}, http2(), 1);
    auto holding = here.call();
    REQUIRE(here.until([&] { return held.size() == 1; }));
    here.settle();
    const auto port = here.server->port();
    here.server->shut();
    auto waiting = here.call();
    REQUIRE(here.until([&] { return here.client->connections().failed == 1; }));
    here.settle();
    CHECK_FALSE(waiting->done);  // the one that is there may have room again

    here.server->open(port);
    here.peer()->go_away(held.stream(0));
    REQUIRE(here.until([&] { return held.size() == 2; }));
    held.answer(1);
    REQUIRE(here.done(waiting));
    CHECK(waiting->well());
    held.answer(0);
    REQUIRE(here.done(holding));
    CHECK(holding->well());
    CHECK(here.idle(1));
}

TEST_CASE("idle connections are closed for age, for room, and with the transport", "[http2]") {
    bed here(pong, {.max_connections = 1});
    auto first = here.call();
    REQUIRE(here.done(first));
    REQUIRE(here.idle(1));
    here.time->pass(std::chrono::seconds(31));
    auto second = here.call();
    REQUIRE(here.done(second));
    CHECK(here.server->peers().size() == 2);
    REQUIRE(here.idle(1));

    http2_server other(here.context, pong);
    std::string why;
    auto third = here.call(get(url::parse(other.origin() + "/", why).value()));
    REQUIRE(here.done(third));
    CHECK(third->well());
    CHECK(here.client->connections().open == 1);
    here.calls.clear();
    here.settle();
    here.client.reset();
    here.settle();
    here.server->stop();
    other.stop();
    here.context.restart();
    here.context.run();
}

}  // namespace test_transport_http2_failures
