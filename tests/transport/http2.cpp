#include "http2_bed.hpp"
#include "test.hpp"

namespace test_transport_http2 {

using namespace llmkit;
using namespace llmkit_test;

TEST_CASE("calls one after another share one connection, which keeps no program alive", "[http2]") {
    bed here(pong);
    const auto five = [](http_transport by, url to) -> task<void> {
        for (int i = 0; i < 5; ++i) {
            auto answer = co_await by.send(get(to));
            REQUIRE(answer);
            auto body = co_await answer->read_all();
            REQUIRE(body);
            CHECK(*body == "pong");
        }
    };
    run_test(here.context, five(*here.client, here.at()));
    CHECK(here.idle(1));
    run_test(here.context, five(*here.client, here.at()));  // wakes the idle connection up again
    CHECK(here.idle(1));
    CHECK(here.server->peers().size() == 1);
    CHECK(here.peer()->resets() == 0);

    // With the server gone nothing is left to run, though the client and its connection are there.
    here.server.reset();
    here.context.restart();
    here.context.run();
    CHECK(here.client->connections().open == 1);
}

TEST_CASE("many calls at once share one connection up to the server's limit, then open another",
          "[http2]") {
    desk held;
    bed here(held.handler(), {}, http2(), 20);
    std::vector<std::shared_ptr<outcome>> calls;
    for (int i = 0; i < 45; ++i) calls.push_back(here.call());
    REQUIRE(here.until([&] { return held.size() == 45; }));
    CHECK(here.server->peers().size() == 3);
    CHECK(here.client->connections().open == 3);
    CHECK(here.client->connections().waiting == 0);
    for (std::size_t i = 0; i < 45; ++i) held.answer(i);
    CHECK(here.idle(3));
    for (const auto& each : calls) CHECK(each->well());
}

TEST_CASE("our own limit of calls on a connection holds, too", "[http2]") {
    desk held;
    bed here(held.handler(), {.max_connections = 2}, http2().max_streams(3));
    std::vector<std::shared_ptr<outcome>> calls;
    for (int i = 0; i < 8; ++i) calls.push_back(here.call());
    REQUIRE(here.until([&] { return held.size() == 6; }));
    here.settle();
    CHECK(held.size() == 6);
    CHECK(here.server->peers().size() == 2);
    held.answer(0);  // whoever waited longest has its place
    REQUIRE(here.until([&] { return held.size() == 7; }));
    for (std::size_t i = 1; i < 7; ++i) held.answer(i);
    REQUIRE(here.until([&] { return held.size() == 8; }));
    held.answer(7);
    CHECK(here.idle(2));
    for (const auto& each : calls) CHECK(each->well());
}

TEST_CASE("a limit of streams that the server raises later is used", "[http2]") {
    desk held;
    bed here(held.handler(), {.max_connections = 1}, http2(), 1);
    std::vector<std::shared_ptr<outcome>> calls{here.call()};
    REQUIRE(here.until([&] { return held.size() == 1; }));
    for (int i = 0; i < 4; ++i) calls.push_back(here.call());
    here.settle();
    CHECK(held.size() == 1);
    CHECK(here.client->connections().waiting >= 4);
    here.peer()->allow(10);
    REQUIRE(here.until([&] { return held.size() == 5; }));
    for (std::size_t i = 0; i < 5; ++i) held.answer(i);
    CHECK(here.idle(1));
}

TEST_CASE("a request arrives as it was made, without what belongs to one HTTP/1.1 connection",
          "[http2]") {
    desk held;
    bed here(held.handler());
    headers fields;
    fields.add("Authorization", "Bearer k").add("X-Tag", "a").add("x-tag", "b");
    fields.add("Connection", "close").add("Keep-Alive", "5").add("Upgrade", "x");
    fields.add("Proxy-Connection", "x").add("TE", "gzip").add("Host", "other.example");
    auto posted = here.call(http_request("POST", here.at("/v1?a=b"), fields, bytes::literal("{}")));
    REQUIRE(here.until([&] { return held.size() == 1; }));
    auto plain = here.call();
    auto empty = here.call(http_request("POST", here.at()));
    REQUIRE(here.until([&] { return held.size() == 3; }));

    const auto& ask = held.asks[0].second;
    std::string text;
    for (const auto [name, value] : ask.fields) text.append(name).append("=").append(value) += ' ';
    CHECK(text ==
          ":method=POST :scheme=http :authority=other.example :path=/v1?a=b "
          "authorization=Bearer k x-tag=a x-tag=b content-length=2 ");
    CHECK(ask.body == "{}");
    CHECK(held.asks[1].second[":authority"] == "127.0.0.1:" + std::to_string(here.server->port()));
    CHECK_FALSE(held.asks[1].second.fields.contains("content-length"));
    CHECK(held.asks[2].second["content-length"] == "0");
    for (std::size_t i = 0; i < 3; ++i) held.answer(i);
    CHECK(here.idle(1));
    CHECK(posted->well());
    CHECK(plain->well());
    CHECK(empty->well());
}

TEST_CASE("a field's value has no blanks around it, which HTTP/2 forbids", "[http2]") {
    desk held;
    bed here(held.handler());
    headers fields;
    fields.add("X-Key", " sk-1\t").add("X-Empty", "  ").add("Host", " other.example ");
    auto call = here.call(http_request("GET", here.at(), fields));
    REQUIRE(here.until([&] { return call->done || held.size() == 1; }));
    REQUIRE(held.size() == 1);
    CHECK(held.asks[0].second["x-key"] == "sk-1");
    CHECK(held.asks[0].second["x-empty"].empty());
    CHECK(held.asks[0].second[":authority"] == "other.example");
    held.answer(0);
    REQUIRE(here.done(call));
    CHECK(call->well());
}

TEST_CASE("what may not be sent is refused before anything is", "[http2]") {
    bed here(pong);
    headers fields;
    fields.add("X-Key", "secret\r\nX: y");
    auto got = here.call(http_request("GET", here.at(), fields));
    REQUIRE(here.done(got));
    REQUIRE(!got->body);
    CHECK(got->body.error().kind() == error_kind::invalid_request);
    CHECK(got->body.error().to_string().find("secret") == std::string::npos);
    CHECK(here.client->connections().open == 0);
}

TEST_CASE("large bodies pass in both directions at once", "[http2]") {
    bed here([](const peer_ptr& peer, const http2_ask& ask) {
        peer->respond(ask.stream, 200, {}, ask.body);
    });
    std::vector<std::pair<std::string, std::shared_ptr<outcome>>> calls;
    for (const std::size_t size : {0u, 1u, 16384u, 16385u, 100'000u, 3'000'000u, 5'000'000u}) {
        std::string sent(size, 'x');
        for (std::size_t i = 0; i < size; i += 97) sent[i] = static_cast<char>('a' + i % 26);
        calls.emplace_back(sent, here.call(http_request("POST", here.at(), {}, bytes(sent))));
    }
    CHECK(here.idle(1));
    for (const auto& [sent, got] : calls) {
        REQUIRE(got->body);
        CHECK((*got->body == sent));
    }
}

TEST_CASE("a connection carries more than what may be on its way at once", "[http2]") {
    const std::string large(4'000'000, 'x');
    bed here([&](const peer_ptr& peer, const http2_ask& ask) {
        peer->respond(ask.stream, 200, {}, large);
    });
    for (int i = 0; i < 5; ++i) {
        auto got = here.call();
        REQUIRE(here.done(got));
        REQUIRE(got->body);
        CHECK(got->body->size() == large.size());
    }
    CHECK(here.server->peers().size() == 1);
}

TEST_CASE("answers without a body, to HEAD, with interim heads and with trailers", "[http2]") {
    bed here([](const peer_ptr& peer, const http2_ask& ask) {
        headers fields;
        if (ask[":method"] == "HEAD") {
            fields.add("content-length", "500");
            return peer->respond(ask.stream, 200, fields, "");
        }
        if (ask[":path"] == "/none") return peer->respond(ask.stream, 204, {}, "");
        fields.add("x-a", "1").add("x-b", "2");
        peer->interim(ask.stream, 100);
        peer->interim(ask.stream, 103);
        peer->respond(ask.stream, 503, fields, "pong");
    });
    auto head = here.call(http_request("HEAD", here.at()));
    auto none = here.call(get(here.at("/none")));
    auto early = here.call();
    CHECK(here.idle(1));
    REQUIRE(head->body);
    CHECK(head->status == 200);
    CHECK(head->fields.get("Content-Length") == "500");
    CHECK(head->body->empty());
    REQUIRE(none->body);
    CHECK(none->status == 204);
    CHECK(early->well());
    CHECK(early->status == 503);
    CHECK(early->fields.size() == 2);
    CHECK(early->fields.get("X-B") == "2");
}

namespace {
struct slow_read {
    std::optional<http_response> answer;
    std::string text;
};
task<void> open_only(http_transport client, http_request ask, slow_read& into) {
    auto answer = co_await client.send(std::move(ask));
    REQUIRE(answer);
    into.answer.emplace(std::move(*answer));
}
task<void> read_on(slow_read& into) {
    auto rest = co_await into.answer->read_all();
    REQUIRE(rest);
    into.text += *rest;
}
}  // namespace

TEST_CASE("a slow reader stalls its own answer alone, and little of it lies in memory", "[http2]") {
    const std::string large(1'000'000, 'x');
    bed here(
        [&](const peer_ptr& peer, const http2_ask& ask) {
            peer->respond(ask.stream, 200, {}, ask[":path"] == "/large" ? large : "pong");
        },
        {}, http2().stream_window(64 * 1024));
    slow_read slow;
    asio::co_spawn(here.context, open_only(*here.client, get(here.at("/large")), slow),
                   asio::detached);
    REQUIRE(here.until([&] { return slow.answer.has_value(); }));
    here.settle();
    CHECK(here.peer()->sent(1) <= 64 * 1024);
    for (int i = 0; i < 30; ++i) {  // in sum more than a window: others are not stalled
        auto other = here.call(get(here.at(i % 10 ? "/" : "/large")));
        REQUIRE(here.done(other));
        REQUIRE(other->body);
        CHECK(other->body->size() == (i % 10 ? 4 : large.size()));
    }
    CHECK(here.peer()->sent(1) <= 64 * 1024);
    CHECK(here.server->peers().size() == 1);
    asio::co_spawn(here.context, read_on(slow), asio::detached);
    REQUIRE(here.until([&] { return !slow.text.empty(); }));
    CHECK(slow.text.size() == large.size());
    CHECK(here.idle(1));
}

TEST_CASE("letting go of an answer resets its stream and leaves the connection to others",
          "[http2]") {
    desk held;
    bed here(held.handler(), {.max_connections = 1}, http2(), 2);
    auto first = here.call();
    slow_read left;
    asio::co_spawn(here.context, open_only(*here.client, get(here.at()), left), asio::detached);
    REQUIRE(here.until([&] { return held.size() == 2; }));
    auto waiting = here.call();
    held.peer(1)->respond(held.stream(1), 200, {}, "begin", false);
    REQUIRE(here.until([&] { return left.answer.has_value(); }));
    CHECK(held.size() == 2);
    left.answer.reset();
    REQUIRE(here.until([&] { return held.size() == 3; }));  // its place was free at once
    CHECK(here.peer()->resets() == 1);
    CHECK(here.peer()->last_reset() == NGHTTP2_CANCEL);
    held.answer(0);
    held.answer(2);
    CHECK(here.idle(1));
    CHECK(first->well());
    CHECK(waiting->well());
    CHECK(here.server->peers().size() == 1);
}

TEST_CASE("an answer that is finished before its end is reset only when the end does not come",
          "[http2]") {
    for (const bool comes : {true, false}) {
        desk held;
        bed here(held.handler());
        slow_read read;
        asio::co_spawn(here.context, open_only(*here.client, get(here.at()), read), asio::detached);
        REQUIRE(here.until([&] { return held.size() == 1; }));
        held.peer(0)->respond(held.stream(0), 200, {}, "[DONE]", false);
        REQUIRE(here.until([&] { return read.answer.has_value(); }));
        read.answer->finish();
        here.settle();
        CHECK(here.client->connections().idle == 0);
        if (comes) {
            held.peer(0)->data(held.stream(0), "\n", true);
        } else {
            here.time->pass(std::chrono::milliseconds(60));
        }
        CHECK(here.idle(1));
        here.settle();
        CHECK(here.peer()->resets() == (comes ? 0 : 1));
    }
}

TEST_CASE("an answer that goes on after it was finished is reset at once", "[http2]") {
    desk held;
    bed here(held.handler());
    slow_read read;
    asio::co_spawn(here.context, open_only(*here.client, get(here.at()), read), asio::detached);
    REQUIRE(here.until([&] { return held.size() == 1; }));
    held.peer(0)->respond(held.stream(0), 200, {}, "[DONE]", false);
    REQUIRE(here.until([&] { return read.answer.has_value(); }));
    read.answer->finish();
    held.peer(0)->data(held.stream(0), std::string(10'000, 'x'), false);
    CHECK(here.until([&] { return here.peer()->resets() == 1; }));
    CHECK(here.idle(1));
}

}  // namespace test_transport_http2
