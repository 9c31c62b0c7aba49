#include <llmkit/detail/http1_write.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <llmkit/detail/http1_parser.hpp>

#include "http1_pieces.hpp"
#include "test.hpp"

namespace test_detail_http1_write {

using namespace llmkit::detail;
using llmkit::headers;

TEST_CASE("a request's head is written with its host and length", "[http1]") {
    headers fields;
    fields.add("Authorization", "Bearer k").add("X-Empty", "");
    std::string out = "before|";
    std::string why;
    REQUIRE(write_request_head(out, "POST", "/v1/chat?x=1", "h:81", fields, http1_body::sized(12),
                               why));
    CHECK(why.empty());
    CHECK(out ==
          "before|POST /v1/chat?x=1 HTTP/1.1\r\nHost: h:81\r\nAuthorization: Bearer k\r\n"
          "X-Empty: \r\nContent-Length: 12\r\n\r\n");
    out.clear();
    REQUIRE(write_request_head(out, "GET", "/", "h", {}, http1_body::none(), why));
    CHECK(out == "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    out.clear();
    fields.clear();
    fields.add("host", "other");
    REQUIRE(write_request_head(out, "PUT", "*", "h", fields, http1_body::chunked(), why));
    CHECK(out == "PUT * HTTP/1.1\r\nhost: other\r\nTransfer-Encoding: chunked\r\n\r\n");
    out.clear();
    const auto most = http1_body::sized(std::numeric_limits<std::uint64_t>::max());
    REQUIRE(write_request_head(out, "PUT", "/", "h", {}, most, why));
    CHECK(out.find("Content-Length: 18446744073709551615\r\n") != std::string::npos);
}

TEST_CASE("nothing is written when a part of a request may not be sent", "[http1]") {
    std::string out = "untouched";
    std::string why;
    const auto refused = [&](std::string_view method, std::string_view target,
                             std::string_view host, const headers& fields) {
        why.clear();
        CHECK_FALSE(write_request_head(out, method, target, host, fields, http1_body::none(), why));
        CHECK(out == "untouched");
        CHECK_FALSE(why.empty());
        CHECK(why.find("secret") == std::string::npos);
    };
    const auto with = [](std::string_view name, std::string_view value) {
        headers h;
        h.add("fine", "yes").add(name, value);
        return h;
    };
    refused("", "/", "h", {});
    refused("GE T", "/", "h", {});
    refused("GET\r\n", "/", "h", {});
    refused("GET", "", "h", {});
    refused("GET", "/ HTTP/1.1\r\nX: secret", "h", {});
    refused("GET", "/\n", "h", {});
    refused("GET", "/\xC3\xA9", "h", {});
    refused("GET", "/", "h\r\nX: secret", {});
    refused("GET", "/", "h", with("A", "secret\r\nX: y"));
    CHECK(why.find("'A'") != std::string::npos);
    refused("GET", "/", "h", with("A", "secret\n"));
    refused("GET", "/", "h", with("A", "secret\r"));
    refused("GET", "/", "h", with("A", std::string_view("secret\0", 7)));
    refused("GET", "/", "h", with("A: secret\r\nB", "x"));
    refused("GET", "/", "h", with("", "secret"));
    refused("GET", "/", "h", with("content-length", "1"));
    CHECK(why.find("content-length") != std::string::npos);
    refused("GET", "/", "h", with("Transfer-Encoding", "chunked"));
    headers hosts;
    hosts.add("Host", "a").add("host", "b");
    refused("GET", "/", "h", hosts);
}

TEST_CASE("a response's head is written, or refused as a whole", "[http1]") {
    std::string out;
    std::string why;
    headers fields;
    fields.add("A", "b");
    REQUIRE(write_response_head(out, 429, "Too Many", fields, http1_body::sized(0), why));
    CHECK(out == "HTTP/1.1 429 Too Many\r\nA: b\r\nContent-Length: 0\r\n\r\n");
    out.clear();
    CHECK_FALSE(write_response_head(out, 99, "", fields, http1_body::none(), why));
    CHECK_FALSE(write_response_head(out, 1000, "", fields, http1_body::none(), why));
    CHECK_FALSE(write_response_head(out, 200, "OK\r\nX: y", fields, http1_body::none(), why));
    fields.add("C", "d\n");
    CHECK_FALSE(write_response_head(out, 200, "OK", fields, http1_body::none(), why));
    CHECK(out.empty());
    CHECK_FALSE(why.empty());
}

TEST_CASE("chunks are written so that an empty one does not end the body", "[http1]") {
    std::string out;
    write_chunk(out, "hello");
    write_chunk(out, "");
    write_chunk(out, std::string(255, 'x'));
    headers trailers;
    trailers.add("T", "v");
    write_last_chunk(out, trailers);
    CHECK(out == "5\r\nhello\r\nff\r\n" + std::string(255, 'x') + "\r\n0\r\nT: v\r\n\r\n");
    out.clear();
    write_last_chunk(out);
    CHECK(out == "0\r\n\r\n");
    out.clear();
    write_chunk_size(out, 0x123abc);
    CHECK(out == "123abc\r\n");
}

TEST_CASE("what the writer writes, the parser reads", "[http1]") {
    headers fields;
    fields.add("Content-Type", "text/plain").add("X", "\xC3\xA9\ttab");
    std::string why;
    std::string request;
    REQUIRE(write_request_head(request, "POST", "/p?q", "[::1]:8080", fields, http1_body::sized(4),
                               why));
    request += "body";
    http1_request_parser server;
    const auto asked = http1_test::run(server, request, http1_test::every_byte(request.size()));
    CHECK(asked.complete);
    CHECK(asked.first_line == "POST /p?q");
    CHECK(asked.body == "body");
    CHECK(server.fields().get("host").value() == "[::1]:8080");
    CHECK(server.fields().get("x").value() == "\xC3\xA9\ttab");

    std::string answer;
    REQUIRE(write_response_head(answer, 200, "OK", fields, http1_body::chunked(), why));
    write_chunk(answer, "some");
    write_chunk(answer, " text");
    write_last_chunk(answer);
    http1_response_parser client;
    const auto got = http1_test::run(client, answer, {});
    CHECK(got.complete);
    CHECK(got.body == "some text");
    CHECK(got.keep_alive);
}

}  // namespace test_detail_http1_write
