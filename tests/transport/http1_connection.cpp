#include <llmkit/transport/http1_connection.hpp>

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/write.hpp>

#include "test.hpp"

namespace test_transport_http1_connection {

using namespace llmkit;
using namespace llmkit::detail;

namespace {

/// A connection whose other end is in our hands.
struct pair {
    pair()
        : here(socket_registry_service::of(context.get_executor()), context.get_executor(),
               http1_limits()),
          there(context) {
        asio::local::stream_protocol::socket ours(context);
        asio::local::connect_pair(ours, there);
        ours.non_blocking(true);
        REQUIRE(here.line.adopt(std::move(ours)));
    }
    void say() { asio::write(there, asio::buffer("!", 1)); }

    asio::io_context context;
    http1_connection here;
    asio::local::stream_protocol::socket there;
};

constexpr auto a_moment = http1_connection::a_moment;
constexpr auto just_less = a_moment - std::chrono::nanoseconds(1);
constexpr auto a_while = std::chrono::seconds(1);

}  // namespace

TEST_CASE("a connection that was in use a moment ago is believed, later one looks at it",
          "[http1_connection]") {
    pair one;
    CHECK(one.here.quiet(just_less));
    CHECK(one.here.quiet(a_moment));
    one.say();
    CHECK(one.here.quiet(just_less));
    CHECK_FALSE(one.here.quiet(a_moment));

    pair closed;
    closed.there.close();
    CHECK(closed.here.quiet(just_less));
    CHECK_FALSE(closed.here.quiet(a_moment));
}

TEST_CASE("a connection that was cut is of no use, however short ago it was",
          "[http1_connection]") {
    pair one;
    one.here.line.cut();
    CHECK_FALSE(one.here.quiet(duration()));
}

TEST_CASE("a shared connection looks for itself", "[http1_connection]") {
    pair one;
    one.here.session = std::make_shared<int>();
    one.say();
    CHECK(one.here.quiet(a_while));
}

}  // namespace test_transport_http1_connection
