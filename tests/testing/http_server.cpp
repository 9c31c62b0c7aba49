#include <llmkit/testing/http_server.hpp>

#include <llmkit/testing/openai_replies.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <asio/connect.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include "test.hpp"

namespace test_testing_http_server {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;
using asio::ip::tcp;

namespace {

/// A client that blocks and keeps what it reads as it came.
class wire {
public:
    explicit wire(const http_server& server) : socket_(context_) {
        socket_.connect({asio::ip::address_v4::loopback(), server.port()});
    }

    void send(std::string_view text) { asio::write(socket_, asio::buffer(text)); }
    void ask(std::string_view target = "/", std::string_view body = "") {
        send("POST " + std::string(target) + " HTTP/1.1\r\nHost: test\r\nContent-Length: " +
             std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
    }
    /// What comes until the text `last` has come, or until the end.
    std::string read_until(std::string_view last) {
        std::string text;
        while (text.find(last) == std::string::npos) {
            char piece[512];
            const std::size_t got = socket_.read_some(asio::buffer(piece), end);
            if (end) break;
            text.append(piece, got);
        }
        return text;
    }
    std::string read_all() { return read_until("\x01never\x01"); }
    void leave() { socket_.close(); }

    std::error_code end;

private:
    asio::io_context context_;
    tcp::socket socket_;
};

std::string body_of(std::string_view whole) {
    const auto at = whole.find("\r\n\r\n");
    return at == std::string_view::npos ? std::string() : std::string(whole.substr(at + 4));
}

auto always(server_reply reply) {
    return [reply = std::move(reply)](const server_request&) { return reply; };
}

}  // namespace

TEST_CASE("the server answers one request after another on a connection", "[http_server]") {
    http_server server([](const server_request& ask) {
        return server_reply()
            .header("X-Seen", ask.target)
            .body(std::to_string(ask.connection) + "/" + std::to_string(ask.number) + " " +
                  ask.body);
    });
    wire first(server);
    first.ask("/a", "one");
    CHECK(body_of(first.read_until("one")) == "0/0 one");
    first.ask("/b", "two");
    const auto second = first.read_until("two");
    CHECK(second.find("X-Seen: /b\r\nContent-Length: 7\r\n") != std::string::npos);
    CHECK(body_of(second) == "0/1 two");
    wire other(server);
    other.ask("/c", "three");
    CHECK(body_of(other.read_until("three")) == "1/0 three");

    CHECK(server.connections() == 2);
    CHECK(server.requests() == 3);
    CHECK(server.departures() == 0);
    const auto log = server.log();
    REQUIRE(log.size() == 3);
    CHECK(log[1].method == "POST");
    CHECK(log[1].target == "/b");
    CHECK(log[1].fields.get("host").value() == "test");
    CHECK(log[1].body == "two");
    CHECK(server.base_url() == "http://127.0.0.1:" + std::to_string(server.port()) + "/v1");
}

TEST_CASE("the log keeps the newest requests", "[http_server]") {
    http_server server(always(server_reply().body("!")), {.logged = 2});
    wire client(server);
    for (int i = 0; i < 4; ++i) {
        client.ask("/" + std::to_string(i));
        client.read_until("!");
    }
    REQUIRE(server.log().size() == 2);
    CHECK(server.log()[0].target == "/2");
}

TEST_CASE("a chunked answer arrives piece by piece, with its pauses", "[http_server]") {
    http_server server(always(server_reply().event("one").pause(30ms).event("two")));
    wire client(server);
    const auto began = std::chrono::steady_clock::now();
    client.ask();
    const auto head = client.read_until("one\n\n\r\n");
    CHECK(head.find("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n") !=
          std::string::npos);
    CHECK(body_of(head) == "b\r\ndata: one\n\n\r\n");
    CHECK(client.read_until("0\r\n\r\n") == "b\r\ndata: two\n\n\r\n0\r\n\r\n");
    CHECK(std::chrono::steady_clock::now() - began >= 30ms);
    client.ask();  // the connection is still good
    client.read_until("0\r\n\r\n");
    CHECK(server.requests() == 2);
}

TEST_CASE("text trickles in chunks", "[http_server]") {
    http_server server(always(server_reply().trickle("abcde", 2, 1ms)));
    wire client(server);
    client.ask();
    CHECK(body_of(client.read_until("0\r\n\r\n")) == "2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n");
}

TEST_CASE("the server knows every accident", "[http_server]") {
    http_server server([](const server_request& ask) {
        if (ask.target == "/cut") return server_reply().event("one").close();
        if (ask.target == "/short") return server_reply().announce(100).raw("only this").close();
        if (ask.target == "/chunk") return server_reply().event("one").raw("what?\r\n").close();
        if (ask.target == "/ssh") return server_reply().raw("SSH-2.0-OpenSSH_9.2\r\n").close();
        if (ask.target == "/429") return openai_error(429, "slow", "rate", "", "1.5");
        if (ask.target == "/throw") throw std::runtime_error("handler failed");
        return server_reply().pause(1ms).reset();
    });
    const auto whole = [&server](std::string_view target) {
        wire client(server);
        client.ask(target);
        const auto text = client.read_all();
        CHECK(client.end == asio::error::eof);
        return text;
    };
    CHECK(body_of(whole("/cut")) == "b\r\ndata: one\n\n\r\n");
    CHECK(body_of(whole("/short")) == "only this");
    CHECK(whole("/short").find("Content-Length: 100\r\n") != std::string::npos);
    CHECK(body_of(whole("/chunk")) == "b\r\ndata: one\n\n\r\nwhat?\r\n");
    CHECK(whole("/ssh") == "SSH-2.0-OpenSSH_9.2\r\n");

    wire client(server);
    client.ask("/429");
    const auto refused = client.read_until("}}");
    CHECK(refused.starts_with("HTTP/1.1 429 "));
    CHECK(refused.find("Retry-After: 1.5\r\n") != std::string::npos);
    client.ask("/throw");
    CHECK(client.read_until("handler failed").starts_with("HTTP/1.1 500 "));
    client.ask("/reset");
    CHECK(client.read_all().empty());
    CHECK(client.end == asio::error::connection_reset);
    CHECK(server.departures() == 0);
}

TEST_CASE("the server notices a client that leaves while it waits", "[http_server]") {
    http_server server([](const server_request& ask) {
        if (ask.target == "/stall") return server_reply().stall();
        return server_reply().event("one").pause(1h).event("two");
    });
    wire silent(server);
    silent.ask("/stall");
    wire paused(server);
    paused.ask("/pause");
    paused.read_until("one");
    REQUIRE(server.wait_for_requests(2));
    CHECK(server.departures() == 0);
    CHECK(server.in_flight_max() == 2);
    silent.leave();
    CHECK(server.wait_for_departures(1));
    paused.leave();
    CHECK(server.wait_for_departures(2));
    CHECK_FALSE(server.wait_for_departures(3, 1ms));
}

TEST_CASE("the server notices a client that leaves while it writes", "[http_server]") {
    http_server server(always(server_reply().body(std::string(32 * 1024 * 1024, 'x'))));
    wire client(server);
    client.ask();
    client.read_until("x");
    client.leave();
    CHECK(server.wait_for_departures(1));
}

TEST_CASE("a script that may not be sent is refused", "[http_server]") {
    CHECK_THROWS_AS(server_reply().header("X", "a\r\nb"), std::invalid_argument);
    CHECK_THROWS_AS(server_reply().body("").header("X", "late"), std::invalid_argument);
    CHECK_THROWS_AS(server_reply().body("a").body("b"), std::invalid_argument);
    CHECK_THROWS_AS(server_reply(99), std::invalid_argument);
}

TEST_CASE("the server refuses what is no request, and bodies that are too large", "[http_server]") {
    http_server server(always(server_reply().body("fine")), {.max_body = 4});
    wire garbage(server);
    garbage.send("GET\r\n\r\n");
    CHECK(garbage.read_all().starts_with("HTTP/1.1 400 "));
    wire large(server);
    large.ask("/", "12345");
    CHECK(large.read_all().starts_with("HTTP/1.1 413 "));
    CHECK(server.requests() == 0);
    wire polite(server);
    polite.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK(polite.read_until("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
    polite.send("ab");
    CHECK(body_of(polite.read_until("fine")) == "fine");
}

TEST_CASE("an answer that says so closes the connection", "[http_server]") {
    http_server server(always(server_reply().header("Connection", "close").body("bye")));
    wire client(server);
    client.ask();
    CHECK(body_of(client.read_all()) == "bye");
    http_server keeps(always(server_reply().body("bye")));
    wire old(keeps);
    old.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    CHECK(body_of(old.read_all()) == "bye");
}

TEST_CASE("a server can be destroyed in the middle of everything", "[http_server]") {
    auto server = std::make_unique<http_server>([](const server_request& ask) {
        return ask.target == "/stall" ? server_reply().stall()
                                      : server_reply().event("one").pause(1h).event("two");
    });
    wire idle(*server), halfway(*server), stalled(*server), paused(*server);
    halfway.send("POST / HTTP/1.1\r\nHo");
    stalled.ask("/stall");
    paused.ask();
    paused.read_until("one");
    REQUIRE(server->wait_for_requests(2));
    server.reset();
    idle.read_all();
    CHECK(idle.end);
    paused.read_all();
    CHECK(paused.end);
}

TEST_CASE("the ready-made replies are what an OpenAI server writes", "[http_server]") {
    http_server server([](const server_request& ask) {
        return ask.target == "/unary" ? openai_reply("say \"hi\"") : openai_stream({"a", "b"}, 1ms);
    });
    wire client(server);
    client.ask("/unary");
    const auto body = nlohmann::json::parse(body_of(client.read_until("}}")));
    CHECK(body["choices"][0]["message"]["content"] == "say \"hi\"");
    CHECK(body["choices"][0]["finish_reason"] == "stop");
    CHECK(body["usage"]["total_tokens"] == 15);

    client.ask("/stream");
    const auto stream = body_of(client.read_until("0\r\n\r\n"));
    std::vector<std::string> events;
    for (std::size_t at = 0; (at = stream.find("data: ", at)) != std::string::npos;) {
        at += 6;
        events.push_back(stream.substr(at, stream.find("\n\n", at) - at));
    }
    REQUIRE(events.size() == 5);
    const auto first = nlohmann::json::parse(events[0]);
    CHECK(first["choices"][0]["delta"]["role"] == "assistant");
    CHECK(first["choices"][0]["delta"]["content"] == "a");
    CHECK(nlohmann::json::parse(events[1])["choices"][0]["delta"]["content"] == "b");
    CHECK(nlohmann::json::parse(events[2])["choices"][0]["finish_reason"] == "stop");
    CHECK(nlohmann::json::parse(events[3])["usage"]["prompt_tokens"] == 10);
    CHECK(events[4] == "[DONE]");
}

}  // namespace test_testing_http_server
