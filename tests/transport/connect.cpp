#include <llmkit/transport/connect.hpp>

#include "full_port.hpp"
#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_connect {

using namespace llmkit;
using namespace llmkit_test;
using asio::ip::tcp;

namespace {

/// A host whose first address hangs and whose second one answers, on one port; time by hand.
class bench {
public:
    bench() : time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<detail::clock_service>(context, time);
        const auto ask = [this](const std::string&) {
            detail::looked_up out;
            out.found = offered;
            return out;
        };
        const executor on = context.get_executor();
        with = std::make_shared<detail::connector>(detail::socket_registry_service::of(on),
                                                   clock_handle(on), http_policy(), encryption(),
                                                   direct(), ask);
    }
    // From here on the address is known, so that no thread is waited for.
    task<void> look_up() {
        auto found = co_await detail::resolver::find(with->names, where.host(), limit());
        CHECK(found);
    }
    // A call to the host begins to connect.
    void begin() {
        context.restart();
        done.reset();
        const detail::hop straight;
        const detail::connect_limits limits(time->now(), {.connect = 5s}, limit());
        asio::co_spawn(context, detail::reach(with, straight, where, limits),
                       [this](std::exception_ptr, result<detail::stream_socket> out) {
                           done.emplace(std::move(out));
                       });
    }
    tcp::endpoint end() {
        while (!done) context.run_one();
        if (!*done) return {};
        const auto peer = (*done)->remote_endpoint();
        tcp::endpoint out;
        out.resize(peer.size());
        std::memcpy(out.data(), peer.data(), peer.size());
        return out;
    }

    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    full_port hanging{context};
    const tcp::endpoint hangs = hanging.endpoint();
    const tcp::endpoint answers{asio::ip::make_address("127.0.0.2"), hangs.port()};
    tcp::acceptor acceptor{context, answers};
    detail::addresses offered{hangs.address(), answers.address()};
    const url where = [this] {
        std::string why;
        return url::parse("http://host.test:" + std::to_string(hangs.port()), why).value();
    }();
    std::shared_ptr<const detail::connector> with;
    std::optional<result<detail::stream_socket>> done;
};

}  // namespace

TEST_CASE("an address that hangs costs a pause once, and the next call none", "[connect]") {
    bench at;
    run_test(at.context, at.look_up());
    at.begin();
    at.context.poll();
    CHECK(!at.done);
    at.time->pass(250ms);
    CHECK(at.end() == at.answers);
    at.begin();
    CHECK(at.end() == at.answers);  // no time passes
}

TEST_CASE("addresses of which none answers are forgotten", "[connect]") {
    bench at;
    at.offered = {asio::ip::make_address("127.0.0.3")};
    at.begin();
    CHECK(at.end() == tcp::endpoint());
    REQUIRE(!*at.done);
    CHECK(at.done->error().kind() == error_kind::connect);
    at.offered = {at.answers.address()};
    at.begin();
    CHECK(at.end() == at.answers);
}

TEST_CASE("what stands in the way of a connection is named, and what to do", "[connect]") {
    std::string why;
    const url to = url::parse("http://api.test/", why).value();
    detail::dialed how;
    how.failed = asio::error::access_denied;
    detail::hop by;
    CHECK(detail::connect_error(by, to, how).message().starts_with("cannot connect to api.test ("));
    const std::string path = "/run/llm.sock";
    by.socket = &path;
    const error denied = detail::connect_error(by, to, how);
    CHECK(denied.kind() == error_kind::connect);
    CHECK(denied.message().find("Unix socket /run/llm.sock (") != std::string_view::npos);
    CHECK(denied.advice().find("right to write") != std::string_view::npos);
    how.failed = asio::error::connection_refused;
    CHECK(detail::connect_error(by, to, how).advice().find("listens") != std::string_view::npos);
}

}  // namespace test_transport_connect
