#include "http2_bed.hpp"
#include "test.hpp"

namespace test_transport_http2_limits {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// What comes of a call to a server that says nothing, or sends a beginning and no more, when so
/// much time passes.
class late {
public:
    explicit late(std::string begin, const http_policy& policy = {})
        : begin_(std::move(begin)),
          here([this](auto peer, auto& ask) { say(peer, ask); }, policy) {}
    error after(http_request ask, duration span) {
        auto call = here.call(std::move(ask));
        REQUIRE(here.until([&] { return asked_; }));
        here.settle();
        CHECK_FALSE(call->done);
        here.time->pass(span);
        REQUIRE(here.done(call));
        REQUIRE(!call->body);
        CHECK(here.idle(1));  // the connection is there for others
        CHECK(here.peer()->resets() == 1);
        return call->body.error();
    }

private:
    void say(const peer_ptr& peer, const http2_ask& ask) {
        asked_ = true;
        if (!begin_.empty()) peer->respond(ask.stream, 200, {}, begin_, false);
    }
    std::string begin_;
    bool asked_ = false;

public:
    bed here;
};

void is_timeout(const error& why, std::string_view code) {
    INFO(why.to_string());
    CHECK(why.kind() == error_kind::timeout);
    CHECK(why.code() == code);
}

}  // namespace

TEST_CASE("over HTTP/2 a server that never answers is given up by the first-event limit",
          "[http2]") {
    late by_policy("", {.first_event = 2s});
    is_timeout(by_policy.after(get(by_policy.here.at()), 3s), "first_event_limit");
    late by_request("");
    auto ask = get(by_request.here.at());
    ask.first_event = 2s;
    is_timeout(by_request.after(std::move(ask), 3s), "first_event_limit");
}

TEST_CASE("over HTTP/2 a body that stalls is given up by the idle limit", "[http2]") {
    late one("some", {.idle = 2s});
    is_timeout(one.after(get(one.here.at()), 3s), "idle_limit");
}

TEST_CASE("over HTTP/2 the whole call is bounded, before and after the head", "[http2]") {
    for (const char* begin : {"", "some"}) {
        late by_policy(begin, {.total = 2s});
        is_timeout(by_policy.after(get(by_policy.here.at()), 3s), "total_limit");
        late by_request(begin);
        auto ask = get(by_request.here.at());
        ask.deadline.until = by_request.here.time->now() + 2s;
        is_timeout(by_request.after(std::move(ask), 3s), "total_limit");
    }
}

namespace {
task<void> open_only(http_transport client, http_request ask, std::optional<http_response>& into) {
    auto answer = co_await client.send(std::move(ask));
    REQUIRE(answer);
    into.emplace(std::move(*answer));
}
task<void> read_late(http_response& answer, bool& done) {
    auto first = co_await answer.read();
    REQUIRE(first);
    CHECK(first->view() == "some");
    for (int again = 0; again < 2; ++again) {
        auto next = co_await answer.read();
        REQUIRE(!next);
        is_timeout(next.error(), "total_limit");
    }
    done = true;
}
}  // namespace

TEST_CASE(
    "over HTTP/2 limits run while nobody reads: the stream is reset and the next read says so",
    "[http2]") {
    desk held;
    bed here(held.handler(), {.total = 30s});
    std::optional<http_response> answer;
    asio::co_spawn(here.context, open_only(*here.client, get(here.at()), answer), asio::detached);
    REQUIRE(here.until([&] { return held.size() == 1; }));
    held.peer(0)->respond(held.stream(0), 200, {}, "some", false);
    REQUIRE(here.until([&] { return answer.has_value(); }));
    here.settle();
    here.time->pass(31s);
    CHECK(here.idle(1));
    here.settle();
    CHECK(here.peer()->resets() == 1);
    bool done = false;
    asio::co_spawn(here.context, read_late(*answer, done), asio::detached);
    CHECK(here.until([&] { return done; }));
}

TEST_CASE("over HTTP/2 closing a pipeline ends its exchanges with `closed`", "[http2]") {
    for (const char* begin : {"", "some"}) {
        desk held;
        bed here(held.handler());
        wait_owner owner;
        owner.scope = &owner;
        auto ask = get(here.at());
        ask.deadline.owner = &owner;
        auto call = here.call(std::move(ask));
        REQUIRE(here.until([&] { return held.size() == 1; }));
        if (*begin) held.peer(0)->respond(held.stream(0), 200, {}, begin, false);
        here.settle();
        here.time->close(&owner);
        REQUIRE(here.done(call));
        REQUIRE(!call->body);
        CHECK(call->body.error().kind() == error_kind::closed);
        CHECK(here.idle(1));
    }
}

TEST_CASE("the queue for room on a connection is bounded in length and in time", "[http2]") {
    desk held;
    bed here(held.handler(), {.max_connections = 1, .max_queued = 2}, http2().max_streams(1));
    auto holding = here.call();
    REQUIRE(here.until([&] { return held.size() == 1; }));
    auto short_one = get(here.at());
    short_one.deadline.until = here.time->now() + 2s;
    auto late_one = here.call(std::move(short_one));
    auto patient = here.call();
    here.settle();
    CHECK(here.client->connections().waiting == 2);
    auto too_many = here.call();
    REQUIRE(here.done(too_many));
    REQUIRE(!too_many->body);
    CHECK(too_many->body.error().kind() == error_kind::refused);
    here.time->pass(3s);
    REQUIRE(here.done(late_one));
    REQUIRE(!late_one->body);
    is_timeout(late_one->body.error(), "queue_limit");
    held.answer(0);
    REQUIRE(here.until([&] { return held.size() == 2; }));
    held.answer(1);
    REQUIRE(here.done(patient));
    CHECK(patient->well());
    CHECK(holding->well());
    CHECK(here.idle(1));
}

TEST_CASE("over HTTP/2 a body over its limit ends its stream, with and without a length",
          "[http2]") {
    for (const bool announced : {true, false}) {
        bed here(
            [&](const peer_ptr& peer, const http2_ask& ask) {
                headers fields;
                if (announced) fields.add("content-length", "100000");
                peer->respond(ask.stream, 200, fields, std::string(100'000, 'x'));
            },
            {.max_body = 50'000});
        auto call = here.call();
        REQUIRE(here.done(call));
        REQUIRE(!call->body);
        CHECK(call->body.error().kind() == error_kind::too_large);
        auto small = get(here.at());
        small.max_body = 10;
        auto asked_for_less = here.call(std::move(small));
        REQUIRE(here.done(asked_for_less));
        REQUIRE(!asked_for_less->body);
        CHECK(asked_for_less->body.error().kind() == error_kind::too_large);
        CHECK(here.idle(1));
    }
}

TEST_CASE("over HTTP/2 a body over its limit is an error, also if all of it came before it is read",
          "[http2]") {
    for (const std::string_view begin : {"", "some"}) {
        desk held;
        bed here(held.handler(), {.max_body = 100});
        std::optional<http_response> answer;
        asio::co_spawn(here.context, open_only(*here.client, get(here.at()), answer),
                       asio::detached);
        REQUIRE(here.until([&] { return held.size() == 1; }));
        held.peer(0)->respond(held.stream(0), 200, {}, begin, false);
        REQUIRE(here.until([&] { return answer.has_value(); }));
        held.peer(0)->data(held.stream(0), std::string(1000, 'x'), true);
        here.settle();
        result<std::string> body;
        const auto read = [](http_response& from, result<std::string>& into) -> task<void> {
            into = co_await from.read_all();
        };
        run_test(here.context, read(*answer, body));
        REQUIRE(!body);
        CHECK(body.error().kind() == error_kind::too_large);
        CHECK(here.idle(1));
    }
}

TEST_CASE("over HTTP/2 a head over its limit ends its stream alone", "[http2]") {
    bed here(
        [](const peer_ptr& peer, const http2_ask& ask) {
            headers fields;
            fields.add("x-long", std::string(ask[":path"] == "/long" ? 3000 : 10, 'x'));
            peer->respond(ask.stream, 200, fields, "pong");
        },
        {.max_head = 2048});
    auto big = here.call(get(here.at("/long")));
    auto small = here.call();
    REQUIRE(here.done(big));
    REQUIRE(here.done(small));
    REQUIRE(!big->body);
    CHECK(big->body.error().kind() == error_kind::too_large);
    CHECK(small->well());
    CHECK(here.idle(1));
}

}  // namespace test_transport_http2_limits
