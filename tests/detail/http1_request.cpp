#include <llmkit/detail/http1_parser.hpp>

#include <string>
#include <string_view>

#include "http1_pieces.hpp"
#include "test.hpp"

namespace test_detail_http1_request {

using namespace llmkit::detail;
using http1_test::outcome;

namespace {
outcome parse(std::string_view bytes, http1_limits limits = {}) {
    http1_request_parser parser(limits);
    const auto reset = [&] { parser.reset(); };
    const outcome whole = http1_test::run(parser, bytes, {});
    INFO(bytes);
    CHECK(http1_test::disagreement(parser, reset, bytes, whole).empty());
    return whole;
}

http1_error error_of(std::string_view bytes, http1_limits limits = {}) {
    const outcome out = parse(bytes, limits);
    CHECK_FALSE(out.complete);
    return out.error;
}

outcome good(std::string_view bytes, http1_limits limits = {}) {
    const outcome out = parse(bytes, limits);
    INFO(bytes);
    INFO(describe(out.error));
    CHECK(out.complete);
    return out;
}

const std::string host = "Host: h\r\n";
}  // namespace

TEST_CASE("a request without a body ends with its head", "[http1]") {
    const std::string bytes = "GET /v1/models?x=%20 HTTP/1.1\r\n" + host + "\r\n";
    const outcome out = good(bytes + "GET / HTTP/1.1\r\n");
    CHECK(out.first_line == "GET /v1/models?x=%20");
    CHECK(out.body.empty());
    CHECK(out.keep_alive);
    CHECK(out.consumed == bytes.size());
}

TEST_CASE("a request's body comes by length or in chunks", "[http1]") {
    const std::string line = "POST / HTTP/1.1\r\n" + host;
    CHECK(good(line + "Content-Length: 3\r\n\r\nabcX").body == "abc");
    CHECK(good(line + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nX").body == "abc");
    CHECK(error_of(line + "Content-Length: 3\r\n\r\nab") == http1_error::truncated);
    http1_limits limits;
    limits.body_bytes = 2;
    CHECK(error_of(line + "Content-Length: 3\r\n\r\nabc", limits) == http1_error::body_too_large);
}

TEST_CASE("request lines are read strictly", "[http1]") {
    const auto with = [](std::string_view line) {
        return std::string(line) + "\r\n" + host + "\r\n";
    };
    CHECK(good(with("OPTIONS * HTTP/1.1")).first_line == "OPTIONS *");
    CHECK(good(with("GET http://h/x HTTP/1.1")).first_line == "GET http://h/x");
    CHECK(good(with("CONNECT h:443 HTTP/1.1")).first_line == "CONNECT h:443");
    CHECK(good(with("\r\nGET / HTTP/1.1")).first_line == "GET /");
    for (const std::string_view bad :
         {"GET /", "GET  / HTTP/1.1", "GET /  HTTP/1.1", "GET / x HTTP/1.1", "GET /\tHTTP/1.1",
          "GET HTTP/1.1", "G(T / HTTP/1.1", "GET x HTTP/1.1", "GET * HTTP/1.1",
          "GET /\xC3\xA9 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET / http/1.1", "GET / HTTP/1.1 ",
          "GET / HTTP/", "\r\n\r\nGET / HTTP/1.1"})
        CHECK(error_of(with(bad)) == http1_error::bad_start_line);
    for (const std::string_view other : {"GET / HTTP/2.0", "GET / HTTP/1.2", "GET / HTTP/0.9"})
        CHECK(error_of(with(other)) == http1_error::unsupported_version);
    CHECK(error_of("GET / HTTP/1.1\n\n") == http1_error::bare_line_break);
    CHECK(error_of("GET /\r HTTP/1.1\r\n\r\n") == http1_error::bare_line_break);
    CHECK(error_of(std::string_view("\x16\x03\x01\x02\x00\x01", 6)) == http1_error::not_http);
    CHECK(error_of("/ HTTP/1.1\r\n\r\n") == http1_error::not_http);
    CHECK(error_of("") == http1_error::truncated);
}

TEST_CASE("a request needs exactly one Host", "[http1][smuggling]") {
    CHECK(error_of("GET / HTTP/1.1\r\n\r\n") == http1_error::bad_host);
    CHECK(error_of("GET / HTTP/1.1\r\n" + host + host + "\r\n") == http1_error::bad_host);
    CHECK(good("GET / HTTP/1.0\r\n\r\n").complete);
    CHECK(error_of("GET / HTTP/1.0\r\n" + host + host + "\r\n") == http1_error::bad_host);
}

TEST_CASE("no two readings of a request's length are possible", "[http1][smuggling]") {
    const std::string line = "POST / HTTP/1.1\r\n" + host;
    const std::string tail = "\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n";
    CHECK(error_of(line + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + tail) ==
          http1_error::length_and_coding);
    CHECK(error_of(line + "Content-Length: 5\r\nContent-Length: 0\r\n" + tail) ==
          http1_error::conflicting_lengths);
    CHECK(error_of(line + "Transfer-Encoding: chunked, identity\r\n" + tail) ==
          http1_error::unknown_coding);
    CHECK(error_of(line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n" + tail) ==
          http1_error::unknown_coding);
    CHECK(error_of(line + "Transfer-Encoding : chunked\r\n" + tail) ==
          http1_error::space_before_colon);
    CHECK(error_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + tail) ==
          http1_error::coding_in_http10);
}

TEST_CASE("a client's wish for 100 Continue is seen", "[http1]") {
    http1_request_parser parser;
    parser.step("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n");
    CHECK(parser.expects_continue());
    parser.reset();
    parser.step("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    CHECK_FALSE(parser.expects_continue());
}

TEST_CASE("pipelined requests are told apart", "[http1]") {
    const std::string bytes = "POST /a HTTP/1.1\r\n" + host + "Content-Length: 1\r\n\r\n1" +
                              "\r\nGET /b HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n";
    http1_request_parser parser;
    const outcome first = http1_test::run(parser, bytes, {});
    REQUIRE(first.complete);
    CHECK(first.keep_alive);
    parser.reset();
    const outcome second = http1_test::run(parser, bytes.substr(first.consumed), {});
    REQUIRE(second.complete);
    CHECK(second.first_line == "GET /b");
    CHECK_FALSE(second.keep_alive);
}

TEST_CASE("a refused request gets a fitting status", "[http1]") {
    CHECK(refusal_status(http1_error::bad_chunk) == 400);
    CHECK(refusal_status(http1_error::head_too_large) == 431);
    CHECK(refusal_status(http1_error::body_too_large) == 413);
    CHECK(refusal_status(http1_error::unknown_coding) == 501);
    CHECK(refusal_status(http1_error::unsupported_version) == 505);
}

}  // namespace test_detail_http1_request
