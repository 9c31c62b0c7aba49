#include <llmkit/core/child.hpp>
#include <llmkit/testing/http2_server.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>

#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_http2 {

using namespace llmkit;
using namespace llmkit_test;
using testing::http2_ask;
using testing::http2_peer;
using testing::http2_server;

namespace {

using peer_ptr = std::shared_ptr<http2_peer>;

http_transport client_of(const executor& where, const http_policy& policy = {},
                         http2 how = http2()) {
    return http(where, http_options().policy(policy).http2(how.prior_knowledge()));
}
url at(const http2_server& server, std::string_view path = "/") {
    std::string why;
    return url::parse(server.origin() + std::string(path), why).value();
}
void pong(const peer_ptr& peer, const http2_ask& ask) {
    peer->respond(ask.stream, 200, {}, "pong");
}

/// A body, or the error of the exchange.
task<result<std::string>> fetch(http_transport client, http_request ask) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) co_return answer.error();
    auto text = co_await answer->read_all();
    co_return text;
}

/// Runs the context until `met`; false when that takes too long.
template <class Met>
bool run_until(asio::io_context& context, Met met) {
    context.restart();
    while (!met() && context.run_one_for(std::chrono::seconds(5)) > 0) {
    }
    return met();
}

}  // namespace

TEST_CASE("calls one after another share one connection, which keeps no program alive", "[http2]") {
    asio::io_context context;
    std::optional<http2_server> server(std::in_place, context, pong);
    auto client = client_of(context.get_executor());
    const url where = at(*server);
    const auto five = [](http_transport by, url to) -> task<void> {
        for (int i = 0; i < 5; ++i) {
            auto body = co_await fetch(by, get(to));
            REQUIRE(body);
            CHECK(*body == "pong");
        }
    };
    run_test(context, five(client, where));
    CHECK(server->peers().size() == 1);
    CHECK(run_until(context, [&] { return client.connections().idle == 1; }));
    CHECK(client.connections().open == 1);
    run_test(context, five(client, where));  // wakes the idle connection up again
    CHECK(server->peers().size() == 1);
    CHECK(run_until(context, [&] { return client.connections().idle == 1; }));
    CHECK(server->peers()[0]->resets() == 0);

    // With the server gone nothing is left to run, though the client and its connection are there.
    server.reset();
    context.restart();
    context.run();
    CHECK(client.connections().open == 1);
}

TEST_CASE("many calls at once share one connection up to the server's limit, then open another",
          "[http2]") {
    asio::io_context context;
    std::vector<std::pair<peer_ptr, std::int32_t>> held;
    http2_server server(
        context,
        [&](const peer_ptr& peer, const http2_ask& ask) { held.emplace_back(peer, ask.stream); },
        20);
    auto client = client_of(context.get_executor());
    const url where = at(server);
    int whole = 0;
    const auto one = [](http_transport by, url to, int& count) -> task<void> {
        auto body = co_await fetch(by, get(to));
        REQUIRE(body);
        count += *body == "pong";
    };
    std::vector<child<void>> calls;
    for (int i = 0; i < 45; ++i) calls.emplace_back(client.clock(), one(client, where, whole));
    REQUIRE(run_until(context, [&] { return held.size() == 45; }));
    CHECK(server.peers().size() == 3);
    CHECK(client.connections().open == 3);
    CHECK(client.connections().waiting == 0);
    for (auto& [peer, stream] : held) peer->respond(stream, 200, {}, "pong");
    CHECK(run_until(context, [&] { return whole == 45 && client.connections().idle == 3; }));
}

}  // namespace test_transport_http2
