// Bodies from 32 KiB to over 100 MiB, both ways: they pass, or fail as the limits say.
#include <llmkit/testing/http_server.hpp>

#include "http2_bed.hpp"
#include "test.hpp"

namespace test_transport_large_bodies {

using namespace llmkit;
using namespace llmkit_test;
using testing::http_server;
using testing::server_reply;
using testing::server_request;

namespace {

constexpr std::size_t sizes[] = {(32U << 10) + 1, (1U << 20) + 1, (100U << 20) + 1};
constexpr http_policy wide{.max_body = 128U << 20};

/// What an answer's body comes to, without keeping it.
struct measured {
    std::size_t size = 0;
    error failed;
};
task<void> measure(http_transport client, http_request ask, measured& into) {
    auto answer = co_await client.send(std::move(ask));
    bool more = answer.has_value();
    if (!more) into.failed = answer.error();
    while (more) {
        auto piece = co_await answer->read();
        if (!piece) into.failed = piece.error();
        more = piece && !piece->empty();
        if (more) into.size += piece->size();
    }
}
task<void> upload(http_transport client, url where, std::size_t size, std::string& said) {
    auto answer =
        co_await client.send(http_request("POST", where, {}, bytes(std::string(size, 'x'))));
    REQUIRE(answer);
    auto text = co_await answer->read_all();
    REQUIRE(text);
    said = *text;
}

/// `where(size)` answers a GET with so many bytes, and a POST with the number of those that came.
template <class Where>
void both_ways(asio::io_context& context, const std::function<http_transport(http_policy)>& make,
               Where where) {
    for (const std::size_t size : sizes) {
        INFO(size << " bytes");
        std::string said;
        run_test(context, upload(make({}), where(size), size, said));
        CHECK(said == std::to_string(size));
        measured passes;
        run_test(context, measure(make(wide), get(where(size)), passes));
        INFO(passes.failed.to_string());
        CHECK(passes.size == size);
        measured usual;
        run_test(context, measure(make({}), get(where(size)), usual));
        const bool fits = size <= http_policy().max_body;
        CHECK(usual.failed.kind() == (fits ? error_kind::unset : error_kind::too_large));
        if (fits) CHECK(usual.size == size);
    }
}
url under(const std::string& origin, std::size_t size) {
    std::string why;
    return url::parse(origin + "/" + std::to_string(size), why).value();
}

}  // namespace

TEST_CASE("bodies over 100 MiB pass over HTTP/1.1, or fail as the limits say", "[http]") {
    const http_server server([](const server_request& ask) {
        if (ask.method == "POST") return server_reply().body(std::to_string(ask.body.size()));
        return server_reply().body(std::string(std::stoul(ask.target.substr(1)), 'x'));
    });
    asio::io_context context;
    both_ways(
        context, [&](http_policy policy) { return http(context.get_executor(), policy); },
        [&](std::size_t size) { return under(server.origin(), size); });
}

TEST_CASE("bodies over 100 MiB pass over HTTP/2, or fail as the limits say", "[http2]") {
    asio::io_context context;
    const http2_server server(context, [](const peer_ptr& peer, const http2_ask& ask) {
        if (ask[":method"] == "POST")
            return peer->respond(ask.stream, 200, {}, std::to_string(ask.body.size()));
        const std::size_t size = std::stoul(std::string(ask[":path"].substr(1)));
        peer->respond(ask.stream, 200, {}, std::string(size, 'x'));
    });
    both_ways(
        context, [&](http_policy policy) { return http2_client(context.get_executor(), policy); },
        [&](std::size_t size) { return under(server.origin(), size); });
}

}  // namespace test_transport_large_bodies
