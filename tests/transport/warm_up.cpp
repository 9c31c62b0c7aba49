#include <llmkit/transport/warm_up.hpp>

#include <llmkit/metrics/registry.hpp>
#include <llmkit/testing/http2_server.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/http2.hpp>

#include "full_port.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_warm_up {

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> warms(const raw_server& server) {
    auto client = http(co_await asio::this_coro::executor, {.max_per_host = 5, .max_idle = 4});
    const auto ready = co_await client.warm_up(server.base(), 3);
    CHECK(ready.value() == 3);
    CHECK(client.connections().idle == 3);
    CHECK(client.connections().opened == 3);
    const auto again = co_await client.warm_up(server.base(), 3);
    CHECK(again.value() == 3);
    CHECK(client.connections().opened == 3);
    const auto bounded = co_await client.warm_up(server.base() + "/v1", 100);
    CHECK(bounded.value() == 4);

    auto answer = co_await client.send(get(server.url()));
    REQUIRE(answer);
    auto text = co_await answer->read_all();
    CHECK(text.value() == "pong");
    CHECK(client.connections().open == 4);
    CHECK(client.connections().opened == 4);
    CHECK(client.connections().reused == 7);  // three and three warmed again, and the call's
}

task<void> in_vain(std::string where) {
    auto client = http(co_await asio::this_coro::executor);
    const auto ready = co_await client.warm_up(where, 2);
    REQUIRE(!ready);
    CHECK(ready.error().kind() == error_kind::connect);
    CHECK(client.connections().open == 0);
    CHECK(client.connections().failed == 2);
    const auto no_url = co_await client.warm_up("api.example.com", 2);
    REQUIRE(!no_url);
    CHECK(no_url.error().kind() == error_kind::configuration);
    const auto no_tls = co_await client.warm_up("https://api.example.com", 2);
    REQUIRE(!no_tls);
    CHECK(no_tls.error().kind() == error_kind::configuration);
}

task<void> calls_warmed(const raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    REQUIRE(co_await client.warm_up(server.base(), 1));
    auto answer = co_await client.send(get(server.url()));
    REQUIRE(answer);
    CHECK(answer->status() == 200);
}

task<void> shares_warmed(const testing::http2_server& server) {
    auto client =
        http(co_await asio::this_coro::executor, http_options().http2(http2().prior_knowledge()));
    for (int i = 0; i < 2; ++i) {
        const auto ready = co_await client.warm_up(server.origin(), 5);
        CHECK(ready.value() == 1);
        CHECK(client.connections().idle == 1);
        CHECK(client.connections().opened == 1);
    }
    std::string why;
    auto answer = co_await client.send(get(url::parse(server.origin(), why).value()));
    REQUIRE(answer);
    auto text = co_await answer->read_all();
    CHECK(text.value() == "pong");
    CHECK(client.connections().opened == 1);
}

task<void> watched(const raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    const metrics figures;
    figures.watch("transport", client);
    REQUIRE(co_await client.warm_up(server.base(), 2));
    const auto seen = figures.snapshot().watched;
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].readings[1].name == "idle");
    CHECK(seen[0].readings[1].value == 2);
    CHECK(seen[0].readings[3].name == "opened");
    CHECK(seen[0].readings[3].value == 2);
}

}  // namespace

TEST_CASE("connections are opened ahead and kept, up to what the pool may keep", "[warm_up]") {
    asio::io_context context;
    raw_server server(context, serve_well);
    run_test(context, warms(server));
    CHECK(server.accepted() == 4);
}

TEST_CASE("warming up tells why when no connection could be opened", "[warm_up]") {
    asio::io_context context;
    asio::ip::tcp::socket nobody(context, asio::ip::tcp::v4());
    nobody.bind({asio::ip::address_v4::loopback(), 0});
    const auto port = std::to_string(nobody.local_endpoint().port());
    run_test(context, in_vain("http://127.0.0.1:" + port));
}

TEST_CASE("warming up can be cancelled, and leaves nothing behind", "[warm_up]") {
    asio::io_context context;
    full_port hanging(context);
    auto client = http(context.get_executor());
    asio::cancellation_signal stop;
    bool cancelled = false;
    asio::co_spawn(
        context, client.warm_up(hanging.where().text(), 3),
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr why, result<std::size_t>) {
            cancelled = why != nullptr;
        }));
    while (client.connections().open < 3) context.run_one();
    stop.emit(asio::cancellation_type::terminal);
    while (!cancelled || client.connections().open > 0) context.run_one();
    CHECK(client.connections().open == 0);
}

TEST_CASE("a warmed connection that the server closes is replaced like any idle one", "[warm_up]") {
    asio::io_context context;
    raw_server server(context, [](std::shared_ptr<peer> client, std::size_t number) -> task<void> {
        std::string text;
        while (co_await client->request(text)) {
            if (number == 0) co_return;
            co_await client->answer("pong");
        }
    });
    run_test(context, calls_warmed(server));
    CHECK(server.accepted() == 2);
}

TEST_CASE("with HTTP/2 one connection is warmed up for all", "[warm_up][http2]") {
    asio::io_context context;
    testing::http2_server server(context, [](const auto& peer, const testing::http2_ask& ask) {
        peer->respond(ask.stream, 200, {}, "pong");
    });
    run_test(context, shares_warmed(server));
    CHECK(server.peers().size() == 1);
}

TEST_CASE("a server that does not settle on HTTP/2 is given up by the connect limit",
          "[warm_up][http2]") {
    asio::io_context context;
    raw_server server(context,
                      [](std::shared_ptr<peer> client, std::size_t) { return client->gone(); });
    const auto warm = [](http_transport client, std::string where) -> task<void> {
        const auto ready = co_await client.warm_up(where, 1);
        REQUIRE(!ready);
        CHECK(ready.error().code() == "connect_limit");
        CHECK(client.connections().open == 0);
    };
    auto options = http_options().policy({.connect = 30ms}).http2(http2().prior_knowledge());
    run_test(context, warm(http(context.get_executor(), options), server.base()));
}

TEST_CASE("a transport is watched like any part", "[warm_up]") {
    asio::io_context context;
    raw_server server(context, serve_well);
    run_test(context, watched(server));
}

}  // namespace test_transport_warm_up
