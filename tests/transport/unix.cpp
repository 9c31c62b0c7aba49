#include <unistd.h>

#include <asio/local/stream_protocol.hpp>

#include <llmkit/transport/http.hpp>

#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_unix {

using namespace llmkit;
using namespace llmkit_test;
using local = asio::local::stream_protocol;

namespace {

/// Serves over a Unix socket what it was asked, one connection after the other.
class unix_server {
public:
    unix_server(asio::io_context& context, const std::string& path) : acceptor_(context) {
        std::string name = path;
        if (name.front() == '@') name.front() = '\0';
        const local::endpoint where(name);
        acceptor_.open();
        acceptor_.bind(where);
        acceptor_.listen();
        asio::co_spawn(context, serve(*this), asio::detached);
    }
    int accepted = 0;

private:
    static task<void> serve(unix_server& self) {
        for (;;) {
            std::error_code failed;
            auto socket = co_await self.acceptor_.async_accept(
                asio::redirect_error(asio::use_awaitable, failed));
            if (failed) co_return;
            ++self.accepted;
            std::string head;
            std::array<char, 4096> buffer;
            while (!failed) {
                head.append(buffer.data(), co_await socket.async_read_some(
                                               asio::buffer(buffer),
                                               asio::redirect_error(asio::use_awaitable, failed)));
                if (!head.ends_with("\r\n\r\n")) continue;
                const std::string answer =
                    "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(head.size()) +
                    "\r\n\r\n" + head;
                head.clear();
                co_await asio::async_write(socket, asio::buffer(answer),
                                           asio::redirect_error(asio::use_awaitable, failed));
            }
        }
    }
    local::acceptor acceptor_;
};

std::string fresh_path(const char* name) {
    const std::string path =
        "/tmp/llmkit-" + std::string(name) + "-" + std::to_string(::getpid()) + ".sock";
    ::unlink(path.c_str());
    return path;
}
url local_url() {
    std::string why;
    return url::parse("http://llm.test/v1", why).value();
}

task<void> asks(std::string path) {
    auto client = http(co_await asio::this_coro::executor, http_options().route(unix_socket(path)));
    for (int i = 0; i < 3; ++i) {
        auto answer = co_await client.send(get(local_url()));
        REQUIRE(answer);
        auto text = co_await answer->read_all();
        CHECK(text.value() == "GET /v1 HTTP/1.1\r\nHost: llm.test\r\n\r\n");
    }
    CHECK(client.connections().idle == 1);
}
task<void> fails(std::string path, error& how) {
    auto client = http(co_await asio::this_coro::executor, http_options().route(unix_socket(path)));
    auto answer = co_await client.send(get(local_url()));
    REQUIRE(!answer);
    how = answer.error();
}

}  // namespace

TEST_CASE("calls go over a Unix socket, whatever the URL's host", "[unix]") {
    asio::io_context context;
    const auto path = fresh_path("calls");
    unix_server server(context, path);
    run_test(context, asks(path));
    CHECK(server.accepted == 1);
    ::unlink(path.c_str());
}

TEST_CASE("a Unix socket may have a name in the abstract namespace", "[unix]") {
    asio::io_context context;
    const auto name = "@llmkit-test-" + std::to_string(::getpid());
    unix_server server(context, name);
    run_test(context, asks(name));
}

TEST_CASE("a Unix socket that is not there, or not served, is named", "[unix]") {
    asio::io_context context;
    const auto path = fresh_path("none");
    error how;
    run_test(context, fails(path, how));
    CHECK(how.kind() == error_kind::connect);
    CHECK(how.message().find("Unix socket " + path + " (No such file") != std::string_view::npos);
    {
        local::acceptor gone(context, local::endpoint(path));
    }
    run_test(context, fails(path, how));
    CHECK(how.message().find("refused") != std::string_view::npos);
    ::unlink(path.c_str());
    run_test(context, fails("/tmp/" + std::string(200, 'x'), how));
    CHECK(how.kind() == error_kind::configuration);
}

}  // namespace test_transport_unix
