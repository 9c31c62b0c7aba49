#include <llmkit/transport/gzip.hpp>

#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/transport_conformance.hpp>
#include <llmkit/transport/http.hpp>

#include "test.hpp"
#include "transport/gzip_text.hpp"
#include "transport/raw_server.hpp"

namespace test_transport_gzip {

using namespace llmkit;
using namespace llmkit_test;
using testing::http_server;
using testing::server_reply;
using testing::server_request;

namespace {

class answered {
public:
    answered() {}
    int status = 0;
    headers fields;
    std::string body;
    std::vector<std::string> pieces;
    error failure;
};

task<void> ask(gzip_transport<http_transport> client, http_request what, answered& got) {
    auto answer = co_await client.send(std::move(what));
    if (!answer) {
        got.failure = answer.error();
        co_return;
    }
    got.status = answer->status();
    got.fields = answer->fields();
    for (;;) {
        auto piece = co_await answer->read();
        if (!piece) {
            got.failure = piece.error();
            auto again = co_await answer->read();
            CHECK(!again);
            break;
        }
        if (piece->empty()) break;
        got.pieces.emplace_back(piece->view());
        got.body += piece->view();
    }
}

/// One exchange with a server that answers so.
answered exchange(const server_reply& reply, std::string method = "GET", headers fields = {},
                  std::uint64_t max_body = 1 << 20, server_request* seen = nullptr) {
    http_server server([&reply](const server_request&) { return reply; });
    asio::io_context context;
    std::string why;
    http_request what(std::move(method), *url::parse(server.origin() + "/p?key=s3cr3t", why),
                      std::move(fields));
    answered got;
    run_test(context,
             ask(gzip(http(context.get_executor()), {.max_body = max_body}), std::move(what), got));
    if (seen) *seen = server.log().at(0);
    return got;
}

server_reply coded(std::string_view how = "gzip") {
    return server_reply().header("X-Before", "a").header("Content-Encoding", how);
}

void check_fails(const answered& got, error_kind kind) {
    CHECK(got.failure.kind() == kind);
    CHECK(got.failure.where().substr(0, 21) == "GET http://127.0.0.1:");
    CHECK(got.failure.to_string().find("s3cr3t") == std::string::npos);
}

}  // namespace

TEST_CASE("gzip asks for gzip and gives the answer decoded", "[gzip]") {
    const std::string text(100'000, 'x');
    server_request seen;
    const auto got = exchange(coded().body(gzipped(text)), "POST", {}, 1 << 20, &seen);
    CHECK(got.failure.kind() == error_kind::unset);
    CHECK((got.body == text));
    CHECK(got.fields.get("X-Before") == "a");
    CHECK_FALSE(got.fields.contains("Content-Encoding"));
    CHECK_FALSE(got.fields.contains("Content-Length"));
    CHECK(seen.fields.get("Accept-Encoding") == "gzip");
    CHECK(exchange(coded("X-GZip").body(gzipped(text))).body.size() == text.size());
    CHECK(exchange(coded("identity, gzip").body(gzipped("a"))).body == "a");
}

TEST_CASE("answers that come plain pass as they are", "[gzip]") {
    const auto plain = exchange(server_reply().body("{}"));
    CHECK(plain.body == "{}");
    CHECK(plain.fields.get("Content-Length") == "2");
    CHECK(exchange(coded("identity").body("{}")).body == "{}");
}

TEST_CASE("whoever names codings himself gets the answer as it comes", "[gzip]") {
    headers own;
    own.add("accept-encoding", "br, gzip");
    server_request seen;
    const auto got = exchange(coded().body(gzipped("{}")), "GET", own, 1 << 20, &seen);
    CHECK(got.body == gzipped("{}"));
    CHECK(got.fields.get("Content-Encoding") == "gzip");
    CHECK(seen.fields.get("Accept-Encoding") == "br, gzip");
}

TEST_CASE("answers without a body keep the headers of the one they stand for", "[gzip]") {
    const auto head = exchange(coded().announce(1000), "HEAD");
    CHECK(head.failure.kind() == error_kind::unset);
    CHECK(head.fields.get("Content-Encoding") == "gzip");
    CHECK(head.fields.get("Content-Length") == "1000");
    const auto unchanged = exchange(server_reply(304).header("Content-Encoding", "gzip").body(""));
    CHECK(unchanged.status == 304);
    CHECK(unchanged.fields.get("Content-Encoding") == "gzip");
    const auto empty = exchange(coded().body(""));
    CHECK(empty.failure.kind() == error_kind::unset);
    CHECK(empty.body.empty());
}

TEST_CASE("each event of a compressed stream comes when it was flushed", "[gzip]") {
    gzip_writer writer;
    server_reply reply = coded();
    reply.chunk(writer.piece("data: one\n\n")).pause(20ms);
    reply.chunk(writer.piece("data: two\n\n")).pause(20ms);
    reply.chunk(writer.end());
    const auto got = exchange(reply);
    CHECK(got.pieces == std::vector<std::string>{"data: one\n\n", "data: two\n\n"});
    CHECK(got.failure.kind() == error_kind::unset);
}

namespace {
task<void> read_first(gzip_transport<http_transport> client, http_request what,
                      std::string& first) {
    auto answer = co_await client.send(std::move(what));
    REQUIRE(answer);
    auto piece = co_await answer->read();
    REQUIRE(piece);
    first = piece->view();
    answer->finish();
}
}  // namespace

TEST_CASE("an event is there while the server is still silent", "[gzip]") {
    http_server server([](const server_request&) {
        gzip_writer writer;
        return coded().chunk(writer.piece("data: one\n\n")).stall();
    });
    asio::io_context context;
    std::string why, first;
    run_test(context, read_first(gzip(http(context.get_executor())),
                                 http_request("GET", *url::parse(server.origin(), why)), first));
    CHECK(first == "data: one\n\n");
}

TEST_CASE("a decompression bomb is too large, with memory bounded", "[gzip]") {
    std::string bomb;
    gzip_writer writer(9);
    for (int i = 0; i < 64; ++i) bomb += writer.piece(std::string(1 << 20, '\0'));
    bomb += writer.end();
    REQUIRE(bomb.size() < 200'000);
    const auto got = exchange(coded().body(bomb), "GET", {}, 100'000);
    check_fails(got, error_kind::too_large);
    CHECK(got.body.size() <= 100'000);
    for (const auto& piece : got.pieces) CHECK(piece.size() <= 16 * 1024);
    CHECK(exchange(coded().body(gzipped(std::string(1000, 'x'))), "GET", {}, 1000).body.size() ==
          1000);
    check_fails(exchange(coded().body(gzipped(std::string(1001, 'x'))), "GET", {}, 1000),
                error_kind::too_large);
}

TEST_CASE("gzip data that stops early, is broken, or goes on is an error", "[gzip]") {
    const std::string whole = gzipped("the whole truth");
    check_fails(exchange(coded().body(whole.substr(0, whole.size() - 1))), error_kind::truncated);
    check_fails(exchange(coded().body(whole.substr(0, 5))), error_kind::truncated);
    check_fails(exchange(coded().body("{\"plain\":1}")), error_kind::protocol);
    check_fails(exchange(coded().body(whole + "and more")), error_kind::protocol);
    // What the transport itself says of a cut body comes first.
    const auto cut = exchange(coded().announce(1000).raw(whole).close());
    check_fails(cut, error_kind::truncated);
    CHECK(cut.failure.message().find("gzip") == std::string_view::npos);
}

TEST_CASE("a coding that was not asked for is an error that says so", "[gzip]") {
    for (const char* how : {"br", "deflate", "gzip, gzip", "zstd"}) {
        const auto got = exchange(coded(how).body(gzipped("{}")));
        check_fails(got, error_kind::protocol);
        CHECK(got.failure.message().find("Content-Encoding") != std::string_view::npos);
    }
}

TEST_CASE("gzip over http conforms to the concept", "[gzip]") {
    static const auto checks = testing::transport_checks();
    for (const auto& check : checks) {
        DYNAMIC_SECTION(check.name()) {
            const auto found = check.run([](const executor& on) { return gzip(http(on)); });
            INFO(found.text());
            CHECK(found.passed());
        }
    }
}

}  // namespace test_transport_gzip
