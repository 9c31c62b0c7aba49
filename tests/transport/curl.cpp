#include <llmkit/transport/curl.hpp>

#include <llmkit/core/child.hpp>
#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/transport_conformance.hpp>

#include "test.hpp"
#include "transport/hand_clock.hpp"
#include "transport/raw_server.hpp"

namespace test_transport_curl {

using namespace llmkit;
using namespace llmkit_test;
using testing::http_server;
using testing::server_reply;
using testing::server_request;

namespace {

http_server::handler always(server_reply reply) {
    return [reply = std::move(reply)](const server_request&) { return reply; };
}
http_request get(const http_server& server, std::string method = "GET") {
    std::string why;
    return http_request(std::move(method), *url::parse(server.origin() + "/p", why));
}

// The error of a whole exchange: of the head or of the body.
task<error> failure_of(curl_transport client, http_request ask) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) co_return answer.error();
    auto text = co_await answer->read_all();
    if (!text) co_return text.error();
    co_return error();
}
task<void> note_failure(curl_transport client, http_request ask, error& into) {
    into = co_await failure_of(client, std::move(ask));
}
error failure(const server_reply& reply, const curl_policy& policy) {
    http_server server(always(reply));
    asio::io_context context;
    const auto client = curl(context.get_executor(), curl_options().policy(policy));
    error why;
    run_test(context, note_failure(client, get(server), why));
    CHECK(client.connections().calls == 0);
    CHECK(client.connections().waiting == 0);
    return why;
}

task<void> queues(curl_transport client, const http_server& server) {
    auto holding = co_await client.send(get(server));
    REQUIRE(holding);
    auto ask = get(server);
    ask.deadline.until = client.clock().now() + 300ms;
    child<error> waiting(client.clock(), failure_of(client, std::move(ask)));
    while (client.connections().waiting == 0) co_await sleep_for(client.clock(), 1ms);
    const error full = co_await failure_of(client, get(server));
    CHECK(full.kind() == error_kind::refused);
    const error late = co_await waiting.join();
    CHECK(late.kind() == error_kind::timeout);
    CHECK(late.code() == "queue_limit");
    CHECK(client.connections().waiting == 0);
    CHECK(client.connections().calls == 1);
}

task<void> takes_turns(curl_transport client, const http_server& server) {
    std::vector<child<error>> calls;
    for (int i = 0; i < 20; ++i)
        calls.emplace_back(client.clock(), failure_of(client, get(server)));
    for (auto& call : calls) {
        const error why = co_await call.join();
        CHECK(why.kind() == error_kind::unset);
    }
}

task<void> read_to_done(curl_transport client, http_request ask, bool& done) {
    auto answer = co_await client.send(std::move(ask));
    REQUIRE(answer);
    std::string text;
    while (text.find("[DONE]") == std::string::npos) {
        auto piece = co_await answer->read();
        REQUIRE(piece);
        REQUIRE_FALSE(piece->empty());
        text += piece->view();
    }
    answer->finish();
    done = true;
}

/// Streams read up to [DONE], with a clock that stands still.
class streams {
public:
    explicit streams(server_reply reply)
        : server(always(std::move(reply))),
          time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<detail::clock_service>(context, time);
        client.emplace(curl(context.get_executor()));
    }
    void read() {
        bool done = false;
        asio::co_spawn(context, read_to_done(*client, get(server), done),
                       [](std::exception_ptr) {});
        REQUIRE(turn_until([&] { return done; }));
    }
    template <class Condition>
    bool turn_until(Condition met) {
        context.restart();
        while (!met())
            if (context.run_one_for(5s) == 0) return false;
        return true;
    }
    http_server server;
    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    std::optional<curl_transport> client;
};

task<void> send_one(curl_transport client, http_request ask, result<std::string>& got) {
    auto answer = co_await client.send(std::move(ask));
    if (answer) got = co_await answer->read_all();
    if (!answer) got = answer.error();
}

}  // namespace

TEST_CASE("curl conforms to the concept", "[curl]") {
    static const auto checks = testing::transport_checks();
    for (const auto& check : checks) {
        DYNAMIC_SECTION(check.name()) {
            const auto found = check.run([](const executor& on) { return curl(on); });
            INFO(found.text());
            CHECK(found.passed());
        }
    }
}

TEST_CASE("each limit of curl's policy has its code", "[curl]") {
    const auto silent = server_reply().stall();
    const auto stalls = server_reply().event("one").stall();
    CHECK(failure(silent, {.first_event = 30ms}).code() == "first_event_limit");
    CHECK(failure(silent, {.total = 30ms}).code() == "total_limit");
    CHECK(failure(stalls, {.idle = 30ms}).code() == "idle_limit");
    CHECK(failure(stalls, {.total = 30ms}).code() == "total_limit");
    asio::io_context context;
    detail::full_port port(context);
    std::string why;
    const auto client = curl(context.get_executor(), curl_options().policy({.connect = 30ms}));
    error late;
    run_test(context,
             note_failure(client, http_request("GET", *url::parse(port.origin(), why)), late));
    CHECK(late.code() == "connect_limit");
    CHECK(client.connections().calls == 0);
}

TEST_CASE("heads and bodies over curl's limits are too large", "[curl]") {
    const auto head = server_reply().header("X", std::string(5000, 'x')).body("{}");
    CHECK(failure(head, {.max_head = 4096}).kind() == error_kind::too_large);
    CHECK(failure(head, {}).kind() == error_kind::unset);
    const auto body = server_reply().body(std::string(1001, 'x'));
    CHECK(failure(body, {.max_body = 1000}).kind() == error_kind::too_large);
    CHECK(failure(body, {.max_body = 1001}).kind() == error_kind::unset);
}

TEST_CASE("curl's queue for a connection is bounded in length and in time", "[curl]") {
    http_server server(always(server_reply().event("one").stall()));
    asio::io_context context;
    const curl_policy tight{.max_connections = 1, .max_queued = 1};
    run_test(context, queues(curl(context.get_executor(), curl_options().policy(tight)), server));
}

TEST_CASE("curl opens no more connections than it may", "[curl]") {
    for (const curl_policy& tight :
         {curl_policy{.max_connections = 3}, curl_policy{.max_per_host = 3}}) {
        http_server server(always(server_reply().pause(2ms).body("{}")));
        asio::io_context context;
        run_test(context,
                 takes_turns(curl(context.get_executor(), curl_options().policy(tight)), server));
        CHECK(server.in_flight_max() <= 3);
        CHECK(server.connections() <= 3);
        CHECK(server.requests() == 20);
    }
}

TEST_CASE("a stream of curl's that ends late leaves its connection to the next", "[curl]") {
    streams some(server_reply().event("x").event("[DONE]").pause(5ms));
    for (int i = 0; i < 3; ++i) {
        some.read();
        CHECK(some.turn_until([&] { return some.client->connections().calls == 0; }));
    }
    CHECK(some.server.connections() == 1);
}

TEST_CASE("a stream of curl's that never ends costs its connection", "[curl]") {
    streams some(server_reply().event("[DONE]").stall());
    some.read();
    CHECK(some.client->connections().calls == 1);
    SECTION("after a while") { some.time->pass(50ms); }
    SECTION("with the transport") { some.client.reset(); }
    some.context.restart();
    some.context.poll();
    CHECK(some.server.wait_for_departures(1));
}

TEST_CASE("a stream of curl's with much behind its end costs its connection", "[curl]") {
    streams some(server_reply().event("[DONE]").pause(5ms).chunk(std::string(5000, 'x')).stall());
    some.read();
    CHECK(some.turn_until([&] { return some.client->connections().calls == 0; }));
    CHECK(some.server.wait_for_departures(1));
}

TEST_CASE("what libcurl can do beside is set on its handles", "[curl]") {
    http_server server(always(server_reply().body("pong")));
    asio::io_context context;
    const auto how = curl_options().configure(
        [](CURL* one) { ::curl_easy_setopt(one, CURLOPT_USERAGENT, "me/1"); });
    result<std::string> got;
    run_test(context, send_one(curl(context.get_executor(), how), get(server), got));
    CHECK(got.value() == "pong");
    CHECK(server.log().at(0).fields.get("User-Agent") == "me/1");
}

TEST_CASE("what curl cannot send is refused", "[curl]") {
    http_server server(always(server_reply()));
    asio::io_context context;
    http_request head("HEAD", get(server).target(), {}, bytes::literal("{}"));
    for (const auto& ask : {head, get(server, "CONNECT"), get(server, "GET IT")}) {
        error why;
        run_test(context, note_failure(curl(context.get_executor()), ask, why));
        CHECK(why.kind() == error_kind::invalid_request);
    }
    CHECK(server.connections() == 0);
}

TEST_CASE("a proxy's password shows in no error of curl's", "[curl]") {
    http_server server(always(server_reply(200)));
    for (const std::string by :
         {"odd://me:s3cr3t@127.0.0.1:1", "http://me:s3cr3t@127.0.0.1:1",
          "http://me:s3cr3t@nowhere.invalid:1", "socks5h://me:s3cr3t@127.0.0.1:1",
          "http://me:s3cr3t@127.0.0.1:port", "http://me:s3cr3t@[::1:1", "s3cr3t@",
          "http://s3cr3t:@"}) {
        asio::io_context context;
        const auto client = curl(context.get_executor(), curl_options().proxy(by));
        error why;
        run_test(context, note_failure(client, get(server), why));
        INFO(by << ": " << why.to_string());
        CHECK(why.kind() != error_kind::unset);
        CHECK(why.to_string().find("s3cr3t") == std::string::npos);
    }
}

}  // namespace test_transport_curl
