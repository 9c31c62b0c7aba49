#include "http2_bed.hpp"
#include "http2_frames.hpp"
#include "test.hpp"

namespace test_transport_http2_rules {

using namespace llmkit;
using namespace llmkit_test;

namespace {

task<void> fetch(http_transport client, http_request ask, result<std::string>& into) {
    auto answer = co_await client.send(std::move(ask));
    if (!answer) {
        into = answer.error();
        co_return;
    }
    into = co_await answer->read_all();
}

/// What becomes of one call to a peer that says `text`.
struct told {
    explicit told(std::string text, bool then_closes = false, bool post = false) {
        asio::io_context context;
        raw_server server(context, says(std::move(text), then_closes));
        auto client = http2_client(context.get_executor());
        http_request ask("POST", server.url(), {},
                         bytes(post ? std::string(3'000'000, 'y') : std::string()));
        ask.first_event = ask.idle = 3s;
        run_test(context, fetch(client, std::move(ask), body));
        context.restart();
        context.poll();
        open = client.connections().open;
        accepted = server.accepted();
    }
    error_kind kind() const { return body ? error_kind::unset : body.error().kind(); }
    std::string text() const { return body ? *body : body.error().to_string(); }

    result<std::string> body;
    std::size_t open = 0;
    std::size_t accepted = 0;
};

/// It ended the connection, with an error of kind `protocol` that says so.
void breaks(const std::string& name, const told& what, std::string_view says) {
    INFO(name << ": " << what.text());
    CHECK(what.kind() == error_kind::protocol);
    CHECK(what.text().find(says) != std::string::npos);
    CHECK(what.open == 0);
}

std::string times(std::string_view text, int count) {
    std::string all;
    for (int i = 0; i < count; ++i) all += text;
    return all;
}
const std::string head = frame(headers_frame, end_headers, 1, status(200));

}  // namespace

TEST_CASE("floods of frames that bring nothing end the connection", "[http2]") {
    breaks("SETTINGS", told(times(frame(settings_frame, 0, 0), 20'000)), "");
    breaks("settings in one frame",
           told(frame(settings_frame, 0, 0, times(number(3, 2) + number(100, 4), 2000))), "");
    breaks("PING", told(times(frame(ping_frame, 0, 0, "12345678"), 20'000)), "");
    breaks("PING answers", told(times(frame(ping_frame, ack, 0, "12345678"), 20'000)),
           "bring nothing");
    breaks("empty DATA", told(head + times(frame(data_frame, 0, 1), 20'000)), "bring nothing");
    breaks("PRIORITY", told(times(frame(priority_frame, 0, 3, number(0, 5)), 20'000)),
           "bring nothing");
    breaks("WINDOW_UPDATE", told(times(frame(window_frame, 0, 0, number(1, 4)), 20'000)),
           "bring nothing");
    breaks("CONTINUATION",
           told(frame(headers_frame, 0, 1, status(200)) +
                times(frame(continuation_frame, 0, 1, field("a", "b")), 20'000)),
           "");
    breaks("empty CONTINUATION",
           told(frame(headers_frame, 0, 1, status(200)) +
                times(frame(continuation_frame, 0, 1), 20'000)),
           "");
}

TEST_CASE("what breaks the rules of HTTP/2 ends the connection", "[http2]") {
    breaks("an oversize frame", told(frame(data_frame, 0, 1, std::string(16385, 'x'))),
           "rules of HTTP/2");
    breaks("a frame of 16 MiB", told("\xff\xff\xff" + number(0, 6)), "rules of HTTP/2");
    breaks("a promise", told(frame(promise_frame, end_headers, 1, number(2, 4) + status(200))),
           "rules of HTTP/2");
    breaks("a window too large", told(frame(window_frame, 0, 0, number(0x7fffffff, 4))),
           "rules of HTTP/2");
    breaks("a head that is no HPACK",
           told(frame(headers_frame, end_headers, 1, std::string(20, '\xff'))), "rules of HTTP/2");
    breaks("an answer nobody asked for", told(frame(headers_frame, end_headers, 7, status(200))),
           "rules of HTTP/2");
    breaks("DATA before the head", told(frame(data_frame, 0, 1, "x")), "rules of HTTP/2");
    breaks("DATA of no stream", told(frame(data_frame, 0, 0, "x")), "rules of HTTP/2");
    breaks("a reset of no stream", told(frame(reset_frame, 0, 9, number(8, 4))), "rules of HTTP/2");
    breaks("settings of a wrong size", told(frame(settings_frame, 0, 0, "123")), "rules of HTTP/2");
    breaks("a continuation of nothing", told(frame(continuation_frame, end_headers, 1, "")),
           "rules of HTTP/2");
}

TEST_CASE("a server that speaks no HTTP/2 is told from one that does", "[http2]") {
    asio::io_context context;
    raw_server server(context, [](std::shared_ptr<peer> client, std::size_t) -> task<void> {
        co_await client->more();
        co_await client->send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        co_await client->gone();
    });
    result<std::string> body;
    run_test(context, fetch(http2_client(context.get_executor()), get(server.url()), body));
    REQUIRE(!body);
    CHECK(body.error().kind() == error_kind::protocol);
    CHECK(body.error().to_string().find("prior_knowledge") != std::string::npos);
}

namespace {
/// How many frames of a type a client has sent, after its preface.
int count_frames(std::string_view text, unsigned type) {
    int count = 0;
    text.remove_prefix(std::min<std::size_t>(text.size(), 24));
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    while (text.size() >= 9) {
        count += byte(3) == type;
        const std::size_t size = 9 + (byte(0) * 65536u + byte(1) * 256u + byte(2));
        text.remove_prefix(std::min(text.size(), size));
    }
    return count;
}
}  // namespace

TEST_CASE("a server that wants HTTP/1.1 for what it was asked gets it, on another connection",
          "[http2]") {
    asio::io_context context;
    std::vector<std::string> asked;
    raw_server server(context, [&](std::shared_ptr<peer> client, std::size_t) -> task<void> {
        co_await client->more();
        if (!client->unread().starts_with("PRI * HTTP/2.0")) {
            std::string text;
            if (!co_await client->request(text)) co_return;
            asked.push_back(text.substr(0, text.find('\r')));
            co_await client->send(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfour");
            co_return;
        }
        co_await client->send(frame(settings_frame, 0, 0) + frame(settings_frame, ack, 0) +
                              frame(reset_frame, 0, 1, number(NGHTTP2_HTTP_1_1_REQUIRED, 4)));
        co_await client->gone();
    });
    auto client = http2_client(context.get_executor());
    for (int i = 0; i < 2; ++i) {
        result<std::string> body;
        run_test(context, fetch(client, get(server.url()), body));
        CHECK(body.value() == "four");
    }
    // The second call found the idle connection on which HTTP/2 is spoken, and did not take it.
    CHECK(server.accepted() == 3);
    CHECK(asked == std::vector<std::string>(2, "GET / HTTP/1.1"));
}

TEST_CASE("a server that has not said how many streams it allows gets a few", "[http2]") {
    asio::io_context context;
    int sent = 0;
    raw_server server(context, [&](std::shared_ptr<peer> client, std::size_t) -> task<void> {
        bool more = true;
        while (more) {
            more = co_await client->more();
            sent = count_frames(client->unread(), headers_frame);
        }
    });
    const auto client = http2_client(context.get_executor());
    std::vector<result<std::string>> bodies(100);
    std::vector<child<void>> calls;
    for (auto& each : bodies)
        calls.emplace_back(client.clock(), fetch(client, get(server.url()), each));
    while (sent == 0 && context.run_one_for(5s) > 0) {
    }
    context.poll();
    CHECK(sent == 32);
    CHECK(client.connections().waiting == 100 - 32);
}

TEST_CASE("an answer that breaks the rules of HTTP ends with its stream alone", "[http2]") {
    const auto stream_only = [](const std::string& name, const std::string& text, error_kind kind) {
        const told what(text);
        INFO(name << ": " << what.text());
        CHECK(what.kind() == kind);
        CHECK(what.open == 1);
    };
    const auto protocol = error_kind::protocol;
    stream_only("a body shorter than promised",
                frame(headers_frame, end_headers, 1, status(200) + field("content-length", "9")) +
                    frame(data_frame, end_stream, 1, "four"),
                protocol);
    stream_only("a body longer than promised",
                frame(headers_frame, end_headers, 1, status(200) + field("content-length", "2")) +
                    frame(data_frame, 0, 1, "four"),
                protocol);
    stream_only("two lengths",
                frame(headers_frame, end_headers, 1,
                      status(200) + field("content-length", "2") + field("content-length", "4")),
                protocol);
    stream_only("no status", frame(headers_frame, end_headers, 1, field("a", "b")), protocol);
    stream_only("two status fields",
                frame(headers_frame, end_headers, 1, status(200) + status(200)), protocol);
    stream_only("a name in capitals",
                frame(headers_frame, end_headers, 1, status(200) + field("X-A", "b")), protocol);
    stream_only(
        "a field of one connection",
        frame(headers_frame, end_headers, 1, status(200) + field("transfer-encoding", "chunked")),
        protocol);
    std::string many = status(200);
    for (int i = 0; i < 120; ++i) many += field("a", "b");
    stream_only("too many fields", frame(headers_frame, end_headers, 1, many),
                error_kind::too_large);
    // One field of 3,000 bytes in the table, and then its index again and again.
    std::string bomb = status(200) + std::string("\x40\x01x\x7f\xb9\x16", 6);
    bomb += std::string(3000, 'y') + std::string(10'000, '\xbe');
    stream_only("a bomb of a head", frame(headers_frame, end_headers, 1, bomb),
                error_kind::too_large);
    stream_only("too many interim answers",
                times(frame(headers_frame, end_headers, 1, status(103)), 101), protocol);
    std::string trailers;
    for (int i = 0; i < 100; ++i) trailers += field("t", std::string(100, 't'));
    stream_only("trailers too large",
                head + frame(headers_frame, end_headers | end_stream, 1, trailers),
                error_kind::too_large);
}

TEST_CASE("a sound answer may come in any pieces", "[http2]") {
    const std::string text = frame(headers_frame, end_headers, 1, status(100)) +
                             frame(headers_frame, 0, 1, status(200)) +
                             frame(continuation_frame, 0, 1, field("a", "b")) +
                             frame(continuation_frame, end_headers, 1, field("c", "d")) +
                             frame(data_frame, 0, 1, "fo") + frame(ping_frame, 0, 0, "12345678") +
                             frame(data_frame, 8, 1, std::string("\x03ur\0\0\0", 6)) +  // padded
                             frame(headers_frame, end_headers | end_stream, 1, field("t", "u"));
    CHECK(told(text).text() == "four");
    asio::io_context context;
    raw_server server(context, [&](std::shared_ptr<peer> client, std::size_t) -> task<void> {
        co_await client->send(frame(settings_frame, 0, 0));
        co_await client->more();
        for (const char each : text) {
            co_await client->send(std::string(1, each));
            co_await asio::post(asio::use_awaitable);
            co_await asio::post(asio::use_awaitable);
        }
        co_await client->gone();
    });
    result<std::string> body;
    run_test(context, fetch(http2_client(context.get_executor()), get(server.url()), body));
    REQUIRE(body);
    CHECK(*body == "four");
}

TEST_CASE("an answer that comes before the whole request ends the request", "[http2]") {
    const told early(frame(headers_frame, end_headers | end_stream, 1, status(413)), false, true);
    CHECK(early.kind() == error_kind::unset);
    CHECK(early.open == 1);
    // The same, and then the server's own word that it wants no more.
    const told nginx(frame(headers_frame, end_headers | end_stream, 1, status(413)) +
                         frame(reset_frame, 0, 1, number(0, 4)),
                     false, true);
    CHECK(nginx.kind() == error_kind::unset);
}

TEST_CASE("a server that answers before the whole request is told that no more of it comes",
          "[http2]") {
    asio::io_context context;
    std::shared_ptr<peer> there;
    raw_server server(context, [&](std::shared_ptr<peer> client, std::size_t) -> task<void> {
        there = client;
        co_await client->more();
        co_await client->send(frame(settings_frame, 0, 0) +
                              frame(headers_frame, end_headers | end_stream, 1, status(413)));
        bool more = true;
        while (more) more = co_await client->more();
    });
    const auto client = http2_client(context.get_executor());
    result<std::string> body;
    http_request post("POST", server.url(), {}, bytes(std::string(3'000'000, 'y')));
    run_test(context, fetch(client, std::move(post), body));
    CHECK(body);
    context.restart();
    const auto resets = [&] { return count_frames(there->unread(), reset_frame); };
    while (resets() == 0 && context.run_one_for(5s) > 0) {
    }
    CHECK(resets() == 1);
    server.stop();
}

TEST_CASE("a connection that ends early is told from an answer that is complete", "[http2]") {
    const told nothing("", true);
    CHECK(nothing.kind() == error_kind::connection_lost);
    CHECK(nothing.accepted == 2);  // it has not even said that it read our settings
    const told half(head + frame(data_frame, 0, 1, "fo"), true);
    CHECK(half.kind() == error_kind::truncated);
    CHECK(told(whole_answer(1, "four"), true).text() == "four");
    const told reset(head + frame(reset_frame, 0, 1, number(2, 4)));
    CHECK(reset.kind() == error_kind::connection_lost);
    CHECK(reset.text().find("INTERNAL_ERROR") != std::string::npos);
    CHECK(reset.open == 1);
}

}  // namespace test_transport_http2_rules
