#include <llmkit/transport/http.hpp>

#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_http {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// One GET; its answer's whole body or the error.
task<result<std::string>> fetch(http_transport client, http_request ask) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) co_return answer.error();
    auto text = co_await answer->read_all();
    co_return text;
}

/// Runs one GET against a server that sends `wire` and closes.
class one_answer {
public:
    explicit one_answer(std::string wire, http_policy policy = {})
        : server_(context_,
                  [wire](std::shared_ptr<peer> client, std::size_t) { return say(client, wire); }) {
        run_test(context_, ask(*this, policy));
    }
    /// The body, and what became of its connection.
    void check_kept(std::string_view text) const {
        check(text);
        CHECK(idle == 1);
    }
    void check_closed(std::string_view text) const {
        check(text);
        CHECK(open == 0);
    }

    result<std::string> body;
    std::size_t idle = 0;
    std::size_t open = 0;

private:
    void check(std::string_view text) const {
        REQUIRE(body);
        CHECK(*body == text);
    }
    static task<void> say(std::shared_ptr<peer> client, std::string wire) {
        std::string text;
        if (!co_await client->request(text)) co_return;
        co_await client->send(wire);
        if (wire.find("Content-Length: 4\r\n\r\nfour") != wire.npos) co_await client->gone();
    }
    static task<void> ask(one_answer& self, http_policy policy) {
        auto client = http(co_await asio::this_coro::executor, policy);
        self.body = co_await fetch(client, get(self.server_.url("/p?key=secret")));
        self.idle = client.connections().idle;
        self.open = client.connections().open;
    }
    asio::io_context context_;
    raw_server server_;
};

/// Runs a test against a server of its own.
template <class Script>
void against(Script script, task<void> (*test)(raw_server&)) {
    asio::io_context context;
    raw_server server(context, script);
    run_test(context, test(server));
}

task<void> five_calls(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    for (int i = 0; i < 5; ++i) {
        auto body = co_await fetch(client, get(server.url("/x")));
        REQUIRE(body);
        CHECK(*body == "pong");
    }
    CHECK(server.accepted() == 1);
    CHECK(client.connections().open == 1);
    CHECK(client.connections().idle == 1);
}

task<void> upload(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    while (co_await client->request(text)) {
        const auto body = text.substr(text.find("\r\n\r\n") + 4);
        co_await client->answer(body);
    }
}
task<void> post_large(raw_server& server, std::size_t size) {
    auto client = http(co_await asio::this_coro::executor);
    std::string sent(size, 'x');
    for (std::size_t i = 0; i < size; i += 97) sent[i] = static_cast<char>('a' + i % 26);
    for (int i = 0; i < 2; ++i) {
        auto body = co_await fetch(client, http_request("POST", server.url(), {}, bytes(sent)));
        REQUIRE(body);
        CHECK((*body == sent));
    }
    CHECK(server.accepted() == 1);
}

task<void> echo_head(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    while (co_await client->request(text)) co_await client->answer(text);
}
task<void> shows_head(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    headers fields;
    fields.add("Authorization", "Bearer k");
    auto body = co_await fetch(client, http_request("POST", server.url("/v1?a=b"), fields));
    REQUIRE(body);
    const std::string host = "127.0.0.1:" + std::to_string(server.port());
    CHECK(*body == "POST /v1?a=b HTTP/1.1\r\nHost: " + host +
                       "\r\nAuthorization: Bearer k\r\nContent-Length: 0\r\n\r\n");
    auto plain = co_await fetch(client, get(server.url()));
    REQUIRE(plain);
    CHECK(*plain == "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
}

task<void> no_body(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    co_await client->request(text);
    co_await client->send("HTTP/1.1 204 No Content\r\n\r\n");
    co_await client->request(text);
    co_await client->send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-A: b\r\n\r\nno");
    co_await client->gone();
}
task<void> ask_without_body(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    auto head = co_await client.send(http_request("HEAD", server.url()));
    REQUIRE(head);
    auto none = co_await head->read();
    REQUIRE(none);
    CHECK(none->empty());
    auto empty = co_await client.send(get(server.url()));
    REQUIRE(empty);
    CHECK(empty->status() == 204);
    auto missing = co_await client.send(get(server.url()));
    REQUIRE(missing);
    CHECK(missing->status() == 404);
    CHECK(missing->fields().get("x-a").value() == "b");
    CHECK(server.accepted() == 1);
}

// Answers once, then closes when the next request has come: too late for the client to have seen.
task<void> close_on_second(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->answer("pong");
    co_await client->request(text);
}
task<void> replay_once(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    auto first = co_await fetch(client, get(server.url()));
    REQUIRE(first);
    auto second = co_await fetch(client, http_request("POST", server.url(), {}, bytes("{}")));
    REQUIRE(second);
    CHECK(*second == "pong");
    CHECK(server.accepted() == 2);
    CHECK(client.connections().open == 1);
}
task<void> answer_first_only(std::shared_ptr<peer> client, std::size_t number) {
    std::string text;
    co_await client->request(text);
    if (number > 0) co_return;
    co_await client->answer("pong");
    co_await client->request(text);
}
task<void> replay_no_more(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    auto first = co_await fetch(client, get(server.url()));
    REQUIRE(first);
    auto second = co_await fetch(client, get(server.url()));
    REQUIRE(!second);
    CHECK(second.error().kind() == error_kind::connection_lost);
    CHECK(server.accepted() == 2);
    auto third = co_await fetch(client, get(server.url()));
    CHECK(!third);
    CHECK(server.accepted() == 3);
    CHECK(client.connections().open == 0);
}
task<void> half_an_answer(std::shared_ptr<peer> client, std::size_t number) {
    std::string text;
    co_await client->request(text);
    if (number == 0) co_await client->answer("pong");
    if (number == 0) co_await client->request(text);
    co_await client->send("HTTP/1");
}
task<void> no_replay_after_a_byte(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    auto first = co_await fetch(client, get(server.url()));
    REQUIRE(first);
    auto second = co_await fetch(client, get(server.url()));
    REQUIRE(!second);
    CHECK(second.error().kind() == error_kind::truncated);
    CHECK(server.accepted() == 1);
}
task<void> one_each(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->answer("pong");
}
task<void> closed_while_idle(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    for (int i = 0; i < 3; ++i) {
        auto body = co_await fetch(client, get(server.url()));
        REQUIRE(body);
        for (int turn = 0; turn < 20; ++turn)
            co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    }
    CHECK(server.accepted() == 3);
    CHECK(client.connections().open == 1);
}

task<void> refuse_upload(std::shared_ptr<peer> client, std::size_t) {
    const bool came = co_await client->more();
    REQUIRE(came);
    co_await client->send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    co_await client->gone();
}
task<void> early_answer(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    auto answer = co_await client.send(
        http_request("POST", server.url(), {}, bytes(std::string(16 << 20, 'x'))));
    REQUIRE(answer);
    CHECK(answer->status() == 413);
    auto text = co_await answer->read_all();
    REQUIRE(text);
    CHECK(*text == "large");
    // The rest of the upload was never sent, so the connection serves nobody else.
    for (int turn = 0; turn < 20 && client.connections().open > 0; ++turn)
        co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    CHECK(client.connections().open == 0);
}

task<void> large_answer(std::shared_ptr<peer> client, std::size_t) {
    std::string text;
    co_await client->request(text);
    co_await client->answer(std::string(4 << 20, 'x'));
}
task<void> let_go(raw_server& server) {
    auto client = http(co_await asio::this_coro::executor);
    {
        auto answer = co_await client.send(get(server.url()));
        REQUIRE(answer);
        auto piece = co_await answer->read();
        REQUIRE(piece);
        CHECK(!piece->empty());
        CHECK(client.connections().open == 1);
    }
    CHECK(client.connections().open == 0);
}

task<void> ask_nobody(http_request ask, result<std::string>& body) {
    auto client = http(co_await asio::this_coro::executor);
    body = co_await fetch(client, std::move(ask));
    CHECK(client.connections().open == 0);
}
result<std::string> asked(http_request ask) {
    asio::io_context context;
    result<std::string> body;
    run_test(context, ask_nobody(std::move(ask), body));
    return body;
}
url parsed(std::string text) {
    std::string why;
    return url::parse(text, why).value();
}

}  // namespace

TEST_CASE("a connection serves the next call to the same host", "[http]") {
    against(serve_well, five_calls);
}

TEST_CASE("bodies of any size go up and come down", "[http]") {
    for (const std::size_t size : {std::size_t{1}, std::size_t{40'000}, std::size_t{5} << 20}) {
        asio::io_context context;
        raw_server server(context, upload);
        run_test(context, post_large(server, size));
    }
}

TEST_CASE("the transport writes Host and Content-Length and leaves the rest alone", "[http]") {
    against(echo_head, shows_head);
}

TEST_CASE("answers without a body end at their head, whatever it announces", "[http]") {
    against(no_body, ask_without_body);
}

TEST_CASE("interim answers are skipped", "[http]") {
    one_answer got(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour");
    got.check_kept("four");
}

TEST_CASE("only a connection that is clean and may be kept is kept", "[http]") {
    SECTION("chunked") {
        one_answer got(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n");
        got.check_kept("abcde");
    }
    SECTION("until the connection closes") {
        one_answer got("HTTP/1.1 200 OK\r\n\r\nto the end");
        got.check_closed("to the end");
    }
    SECTION("Connection: close") {
        one_answer got("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfour");
        got.check_closed("four");
    }
    SECTION("bytes left over") {
        one_answer got("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour, and more");
        got.check_closed("four");
    }
}

TEST_CASE("a stale connection is replayed once, on a new connection", "[http]") {
    against(close_on_second, replay_once);
}

TEST_CASE("a replay that fails as well is an error, and a new connection is never replayed",
          "[http]") {
    against(answer_first_only, replay_no_more);
}

TEST_CASE("nothing is replayed once a byte of the answer came", "[http]") {
    against(half_an_answer, no_replay_after_a_byte);
}

TEST_CASE("a connection that the server closed while idle is not used again", "[http]") {
    against(one_each, closed_while_idle);
}

TEST_CASE("an answer that comes while the body is still being sent is taken", "[http]") {
    against(refuse_upload, early_answer);
}

TEST_CASE("letting go of an answer in the middle frees its connection at once", "[http]") {
    against(large_answer, let_go);
}

TEST_CASE("an answer that stops too early is an error, never a success", "[http]") {
    for (const char* wire : {
             "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
             "HTTP/1.1 200 OK\r\nContent-Le",
         }) {
        one_answer got(wire);
        REQUIRE(!got.body);
        CHECK(got.body.error().kind() == error_kind::truncated);
        CHECK(got.body.error().to_string().find("secret") == std::string::npos);
        CHECK(std::string(got.body.error().where()).substr(0, 21) == "GET http://127.0.0.1:");
        CHECK(got.open == 0);
    }
}

TEST_CASE("what is not HTTP is a protocol error that says so", "[http]") {
    for (const char* wire : {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/2.0 200 OK\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
        one_answer got(wire);
        REQUIRE(!got.body);
        CHECK(got.body.error().kind() == error_kind::protocol);
        CHECK(got.open == 0);
    }
}

TEST_CASE("heads and bodies over their limits are refused", "[http]") {
    std::string bomb = "HTTP/1.1 200 OK\r\n";
    SECTION("one long header") { bomb += "X: " + std::string(1 << 20, 'x'); }
    SECTION("many headers") {
        for (int i = 0; i < 10'000; ++i) bomb += "X: y\r\n";
    }
    SECTION("an announced body") { bomb += "Content-Length: 1001\r\n\r\n"; }
    SECTION("a chunked body") {
        bomb += "Transfer-Encoding: chunked\r\n\r\nfff\r\n" + std::string(0xfff, 'x') + "\r\n";
    }
    SECTION("a body that does not end") { bomb += "\r\n" + std::string(1 << 20, 'x'); }
    one_answer got(bomb, {.max_head = 4096, .max_body = 1000});
    REQUIRE(!got.body);
    CHECK(got.body.error().kind() == error_kind::too_large);
    CHECK(got.open == 0);
}

TEST_CASE("a header that would smuggle a line is refused before anything is sent", "[http]") {
    headers fields;
    fields.add("Authorization", "Bearer secret\r\nX-Other: y");
    const auto body = asked(http_request("GET", parsed("http://127.0.0.1:1/"), fields));
    REQUIRE(!body);
    CHECK(body.error().kind() == error_kind::invalid_request);
    CHECK(body.error().to_string().find("Authorization") != std::string::npos);
    CHECK(body.error().to_string().find("secret") == std::string::npos);
}

TEST_CASE("https without tls() names the header and the target to add", "[http]") {
    const auto body = asked(get(parsed("https://api.openai.com/v1")));
    REQUIRE(!body);
    CHECK(body.error().kind() == error_kind::configuration);
    CHECK(body.error().advice().find("llmkit/transport/tls.hpp") != std::string::npos);
    CHECK(body.error().advice().find("llmkit::tls") != std::string::npos);
}

TEST_CASE("a port where nobody listens is a connect error", "[http]") {
    const auto body = asked(get(parsed("http://127.0.0.1:1/v1?key=secret")));
    REQUIRE(!body);
    CHECK(body.error().kind() == error_kind::connect);
    CHECK(body.error().where() == "GET http://127.0.0.1:1/v1");
    CHECK(body.error().message().find("127.0.0.1:1") != std::string::npos);
}

TEST_CASE("a host without an address is a resolve error", "[http]") {
    const auto body = asked(get(parsed("http://nowhere.invalid/")));
    REQUIRE(!body);
    CHECK(body.error().kind() == error_kind::resolve);
    CHECK(body.error().message().find("nowhere.invalid") != std::string::npos);
}

}  // namespace test_transport_http
