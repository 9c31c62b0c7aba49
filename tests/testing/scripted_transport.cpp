#include <llmkit/testing/scripted_transport.hpp>

#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_testing_scripted_transport {

using namespace llmkit;
using namespace std::chrono_literals;
using testing::http_answer;

namespace {
http_request get() {
    std::string why;
    return http_request("GET", *url::parse("http://h/p?key=1", why));
}
}  // namespace

TEST_CASE("a scripted transport answers in order and remembers what was sent", "[testing]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer(404, "gone").field("X-A", "1")).then(error(error_kind::connect, "no"));
    auto first = world.wait(http.send(get()));
    REQUIRE(first);
    CHECK(first->status() == 404);
    CHECK(first->fields().get("x-a") == "1");
    CHECK(http.open() == 1);
    CHECK(world.wait(first->read_all()).value() == "gone");
    auto second = world.wait(http.send(get()));
    REQUIRE_FALSE(second);
    CHECK(second.error().kind() == error_kind::connect);
    CHECK(second.error().where() == "GET http://h/p");
    CHECK(world.wait(http.send(get())).error().kind() == error_kind::configuration);
    CHECK(http.calls() == 3);
    CHECK(http.sent(0).target().query() == "key=1");
    http.always([](const http_request&) { return http_answer(200, "ok"); });
    CHECK(world.wait(http.send(get())));
    first = error(error_kind::unset, "");
    CHECK(http.open() == 0);
    CHECK(http.finished() == 1);
}

TEST_CASE("a scripted body comes in the pieces and pauses that were asked for", "[testing]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer(200, "abcde").in_pieces(2).after(1s).every(2s));
    auto answer = world.wait(http.send(get()));
    CHECK(world.elapsed() == 1s);
    for (const char* piece : {"ab", "cd", "e", ""}) {
        CHECK(world.wait(answer->read()).value().view() == piece);
    }
    CHECK(world.elapsed() == 7s);
    http.then(http_answer(200, "abcde").cut_at(3));
    answer = world.wait(http.send(get()));
    CHECK(world.wait(answer->read()).value().view() == "abc");
    CHECK(world.wait(answer->read()).value().view() == "de");
}

TEST_CASE("an answer finished where only its end is missing counts as read", "[testing]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer(200, "ab")).then(http_answer(200, "ab").stays_open());
    http.then(http_answer(200, "ab").in_pieces(1));
    for (const std::size_t finished : {1U, 1U, 1U}) {
        auto answer = world.wait(http.send(get()));
        REQUIRE(answer);
        REQUIRE(world.wait(answer->read()));
        answer->finish();
        CHECK(http.open() == 0);
        CHECK(http.finished() == finished);
        CHECK(world.wait(answer->read()).value().empty());
    }
}

TEST_CASE("a scripted transport keeps limits", "[testing]") {
    simulation::world world;
    testing::scripted_transport http(world.get_executor());
    http.then(http_answer(200, "").after(1h));
    http_request ask = get();
    ask.first_event = 3s;
    CHECK(world.wait(http.send(ask)).error().code() == "first_event_limit");
    CHECK(world.elapsed() == 3s);

    http.then(http_answer(200, "ab").in_pieces(1).stays_open());
    ask = get();
    ask.idle = 2s;
    auto answer = world.wait(http.send(ask));
    CHECK(world.wait(answer->read()));
    CHECK(world.wait(answer->read()));
    CHECK(world.wait(answer->read()).error().code() == "idle_limit");

    http.then(http_answer(200, "a").stays_open());
    ask = get();
    ask.deadline.until = world.now() + 5s;
    answer = world.wait(http.send(ask));
    CHECK(world.wait(answer->read()));
    CHECK(world.wait(answer->read()).error().code() == "total_limit");
}

TEST_CASE("a recorded answer is played as it came", "[testing]") {
    const auto whole = http_answer::raw(
        "HTTP/1.1 429 Slow\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    CHECK(whole.status() == 429);
    CHECK(whole.fields().get("a") == "b");
    CHECK(whole.body() == "abc");
    CHECK_FALSE(whole.ending());
    const auto cut = http_answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    CHECK(cut.body() == "abc");
    REQUIRE(cut.ending());
    CHECK(cut.ending()->kind() == error_kind::connection_lost);
    const auto broken =
        http_answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    REQUIRE(broken.ending());
    CHECK(broken.ending()->kind() == error_kind::protocol);
}

}  // namespace test_testing_scripted_transport
