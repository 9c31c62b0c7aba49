#include <llmkit/transport/http.hpp>

#include "raw_server.hpp"
#include "test.hpp"

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> keep_alive(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    for (int i = 0; i < 5; ++i) {
        auto answer = co_await client.send(get(server.url("/x")));
        REQUIRE(answer);
        CHECK(answer->status() == 200);
        auto text = co_await answer->read_all();
        REQUIRE(text);
        CHECK(*text == "pong");
    }
    CHECK(server.accepted() == 1);
    CHECK(client.connections().open == 1);
    CHECK(client.connections().idle == 1);
}

}  // namespace

TEST_CASE("a connection serves the next call to the same host", "[http]") {
    asio::io_context context;
    raw_server server(context, serve_well);
    run_test(context, keep_alive(server));
}
