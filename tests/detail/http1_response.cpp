#include <llmkit/detail/http1_parser.hpp>

#include <string>
#include <string_view>

#include "http1_pieces.hpp"
#include "test.hpp"

namespace test_detail_http1_response {

using namespace llmkit::detail;
using http1_test::outcome;

namespace {
// Whole, one byte at a time, and cut at every place: all must agree.
outcome parse(std::string_view bytes, std::string_view method = "GET", http1_limits limits = {}) {
    http1_response_parser parser(limits);
    const auto reset = [&] { parser.reset(method); };
    reset();
    const outcome whole = http1_test::run(parser, bytes, {});
    INFO(bytes);
    CHECK(http1_test::disagreement(parser, reset, bytes, whole).empty());
    return whole;
}

http1_error error_of(std::string_view bytes, std::string_view method = "GET",
                     http1_limits limits = {}) {
    const outcome out = parse(bytes, method, limits);
    CHECK_FALSE(out.complete);
    return out.error;
}

outcome good(std::string_view bytes, std::string_view method = "GET", http1_limits limits = {}) {
    const outcome out = parse(bytes, method, limits);
    INFO(bytes);
    INFO(describe(out.error));
    CHECK(out.complete);
    return out;
}

const std::string ok = "HTTP/1.1 200 OK\r\n";
}  // namespace

TEST_CASE("a response with Content-Length is read to its last byte and no further", "[http1]") {
    const std::string bytes =
        ok + "Content-Type: text/plain\r\nX-Empty:\r\ncontent-LENGTH:\t 5 \r\n\r\nhello";
    const outcome out = good(bytes + "HTTP/1.1 200 next");
    CHECK(out.first_line == "200 OK");
    CHECK(out.fields == "Content-Type: text/plain\nX-Empty: \ncontent-LENGTH: 5\n");
    CHECK(out.body == "hello");
    CHECK(out.keep_alive);
    CHECK(out.consumed == bytes.size());
    CHECK(good(ok + "Content-Length: 0\r\n\r\n").body.empty());
    CHECK(error_of(ok + "Content-Length: 5\r\n\r\nhell") == http1_error::truncated);
}

TEST_CASE("the step interface hands out each part once and then repeats its end", "[http1]") {
    http1_response_parser parser;
    CHECK_FALSE(parser.started());
    CHECK(parser.step("").step == http1_step::need_more);
    CHECK_FALSE(parser.started());
    const std::string text = ok + "Content-Length: 3\r\n\r\nabcREST";
    std::string_view in = text;
    auto p = parser.step(in);
    CHECK(p.step == http1_step::head);
    CHECK(p.consumed == text.size() - 7);
    CHECK(parser.started());
    CHECK(parser.content_length() == 3u);
    CHECK(parser.delimiter() == http1_delimiter::length);
    CHECK_FALSE(parser.keep_alive());
    in.remove_prefix(p.consumed);
    p = parser.step(in);
    CHECK(p.step == http1_step::data);
    CHECK(p.data == "abc");
    CHECK(p.data.data() == in.data());
    CHECK(parser.complete());
    CHECK(parser.keep_alive());
    in.remove_prefix(p.consumed);
    for (int i = 0; i < 2; ++i) {
        p = parser.step(in);
        CHECK(p.step == http1_step::complete);
        CHECK(p.consumed == 0);
    }
    CHECK(parser.finish().step == http1_step::complete);
    const llmkit::headers kept = parser.take_fields();
    CHECK(kept.get("content-length").value() == "3");
    parser.reset();
    CHECK_FALSE(parser.started());
    CHECK(parser.step(text).step == http1_step::head);
    CHECK(parser.fields().size() == 1);
}

TEST_CASE("a response to HEAD, a 204 and a 304 have no body, whatever they announce", "[http1]") {
    const std::string length = "Content-Length: 5\r\n\r\n";
    const outcome head = good(ok + length, "HEAD");
    CHECK(head.body.empty());
    CHECK(head.keep_alive);
    CHECK(good(ok + "Transfer-Encoding: chunked\r\n\r\n", "HEAD").body.empty());
    CHECK(good(ok + "\r\n", "HEAD").keep_alive);
    CHECK(good("HTTP/1.1 204 No Content\r\n\r\n").keep_alive);
    CHECK(good("HTTP/1.1 204 No Content\r\n" + length).keep_alive);
    CHECK(good("HTTP/1.1 304 Not Modified\r\n" + length).keep_alive);
    CHECK(good(ok + "\r\n", "CONNECT").consumed == ok.size() + 2);
    CHECK(good("HTTP/1.1 407 No\r\n" + length + "hello", "CONNECT").body == "hello");
    CHECK(error_of(ok + length) == http1_error::truncated);
}

TEST_CASE("a response without a length lasts until the connection closes", "[http1]") {
    const outcome out = good(ok + "Connection: keep-alive\r\n\r\nsome text");
    CHECK(out.body == "some text");
    CHECK_FALSE(out.keep_alive);
    CHECK(good("HTTP/1.0 200 OK\r\n\r\n").body.empty());
}

TEST_CASE("a connection is kept alive by the rules of its version", "[http1]") {
    const std::string end = "Content-Length: 0\r\n\r\n";
    CHECK(good(ok + end).keep_alive);
    CHECK(good(ok + "Connection: keep-alive\r\n" + end).keep_alive);
    CHECK_FALSE(good(ok + "Connection: close\r\n" + end).keep_alive);
    CHECK_FALSE(good(ok + "connection: Upgrade , CLOSE\r\n" + end).keep_alive);
    CHECK_FALSE(good(ok + "Connection: keep-alive\r\nConnection: close\r\n" + end).keep_alive);
    CHECK(good(ok + "Connection: closed\r\n" + end).keep_alive);
    CHECK_FALSE(good("HTTP/1.0 200 OK\r\n" + end).keep_alive);
    CHECK(good("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + end).keep_alive);
    CHECK_FALSE(good("HTTP/1.0 200 OK\r\nConnection: close, keep-alive\r\n" + end).keep_alive);
    CHECK_FALSE(
        good(ok + "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").keep_alive);
}

TEST_CASE("interim responses are skipped up to a limit and 101 is refused", "[http1]") {
    const std::string answer = ok + "Content-Length: 2\r\n\r\nhi";
    const outcome out = good(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: "
        "9\r\nConnection: close\r\n\r\n" +
        answer);
    CHECK(out.first_line == "200 OK");
    CHECK(out.fields == "Content-Length: 2\n");
    CHECK(out.keep_alive);
    http1_limits two;
    two.interim_responses = 2;
    const std::string interim = "HTTP/1.1 102 P\r\n\r\n";
    CHECK(good(interim + interim + answer, "GET", two).body == "hi");
    CHECK(error_of(interim + interim + interim + answer, "GET", two) ==
          http1_error::too_many_interim);
    CHECK(error_of("HTTP/1.1 101 Switching Protocols\r\n\r\n") == http1_error::unexpected_upgrade);
    CHECK(error_of("HTTP/1.1 100 Continue\r\n\r\n") == http1_error::truncated);
}

TEST_CASE("status lines are read strictly", "[http1]") {
    const std::string end = "\r\nContent-Length: 0\r\n\r\n";
    CHECK(good("HTTP/1.1 200 " + end).first_line == "200 ");
    CHECK(good("HTTP/1.1 200" + end).first_line == "200 ");
    CHECK(good("HTTP/1.1 529 Over  loaded \xC3\xA9\t!" + end).first_line ==
          "529 Over  loaded \xC3\xA9\t!");
    CHECK(good("HTTP/1.1 999 X" + end).first_line == "999 X");
    for (const std::string_view bad :
         {"HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK",
          "HTTP/1.1\t200 OK", "HTTP/1.1 099 X", "HTTP/1.1 +20 X", "HTTP/1.1 200\tOK",
          "HTTP/1.1 2x0 OK", "HTTP/ 200 OK", "HTTP/", "HTTP/x 200", "HTTP/1.1 200 O\x01K",
          "HTTP/1.1 200 O\x7fK"})
        CHECK(error_of(std::string(bad) + end) == http1_error::bad_start_line);
    for (const std::string_view other : {"HTTP/2 200 OK", "HTTP/1.2 200 OK", "HTTP/0.9 200 OK",
                                         "HTTP/1.10 200 OK", "HTTP/1 200 OK", "HTTP/11 200 OK"})
        CHECK(error_of(std::string(other) + end) == http1_error::unsupported_version);
}

TEST_CASE("another protocol on the port is told from its first bytes", "[http1]") {
    for (const std::string_view bytes :
         {std::string_view("\x15\x03\x01\x00\x02\x02\x46", 7), std::string_view("SSH-2.0-OpenSSH"),
          std::string_view("http/1.1 200 OK\r\n\r\n"),
          std::string_view("\r\nHTTP/1.1 200 OK\r\n\r\n"),
          std::string_view("\0\0\x12\x04\0\0\0\0\0", 9), std::string_view("HTTX"),
          std::string_view("ICY 200 OK\r\n\r\n"), std::string_view("<html>")})
        CHECK(error_of(bytes) == http1_error::not_http);
    http1_response_parser parser;
    CHECK(parser.step("HTTP").step == http1_step::need_more);
    CHECK(parser.step("S").step == http1_step::failed);
}

TEST_CASE("the end of input at any place of a response is a truncation", "[http1]") {
    const std::string sized = ok + "Content-Length: 5\r\n\r\nhello";
    const std::string chunked =
        ok + "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n";
    for (const std::string& bytes : {sized, chunked})
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            http1_response_parser parser;
            const outcome out = http1_test::run(parser, bytes.substr(0, size), {});
            if (out.error != http1_error::truncated || out.complete) FAIL(bytes.substr(0, size));
        }
}

TEST_CASE("a chunked response is put together again", "[http1]") {
    const std::string head = ok + "Transfer-Encoding: Chunked\r\n\r\n";
    const std::string bytes =
        head + "5\r\nhello\r\n1\r\n \r\n00000000000000A;q=\"a;b\" ; c\r\n0123456789\r\n0\r\n\r\n";
    const outcome out = good(bytes + "more");
    CHECK(out.body == "hello 0123456789");
    CHECK(out.consumed == bytes.size());
    CHECK(out.keep_alive);
    CHECK(out.trailers.empty());
    CHECK(good(head + "0\r\n\r\n").body.empty());
    CHECK(good(head + "000\r\n\r\n").body.empty());
    CHECK(good(head + "3\r\n\r\n\n\r\n0\r\n\r\n").body == "\r\n\n");
    CHECK(good(head + "a \t;x\r\n0\r\n\r\n0\r\n\r\n\r\n0;x\r\n\r\n").body == "0\r\n\r\n0\r\n\r\n");
}

TEST_CASE("trailers are kept apart from the headers", "[http1]") {
    const std::string head = ok + "A: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const outcome out =
        good(head + "1\r\nx\r\n0\r\nA: 2\r\nContent-Length: 99\r\nConnection: close\r\n\r\n");
    CHECK(out.fields == "A: 1\nTransfer-Encoding: chunked\n");
    CHECK(out.trailers == "A: 2\nContent-Length: 99\nConnection: close\n");
    CHECK(out.keep_alive);
    const std::string last = head + "0\r\n";
    CHECK(error_of(last + " folded\r\n\r\n") == http1_error::folded_field);
    CHECK(error_of(last + "A : b\r\n\r\n") == http1_error::space_before_colon);
    CHECK(error_of(last + "nothing\r\n\r\n") == http1_error::bad_field_name);
    CHECK(error_of(last + "A: \x01\r\n\r\n") == http1_error::bad_field_value);
    CHECK(error_of(last + "A: b\n\r\n") == http1_error::bare_line_break);
    CHECK(error_of(last + "A: b\r\n\n") == http1_error::bare_line_break);
}

TEST_CASE("broken chunk framing is refused", "[http1]") {
    const std::string head = ok + "Transfer-Encoding: chunked\r\n\r\n";
    for (const std::string_view body : {"\r\nhello",
                                        "x\r\n",
                                        "-1\r\n",
                                        "+5\r\nhello\r\n",
                                        " 5\r\nhello\r\n",
                                        "5 \r\nhello\r\n",
                                        "0x5\r\nhello\r\n",
                                        "5\nhello\r\n",
                                        "5\r\r\nhello\r\n",
                                        "5\r\nhello0\r\n\r\n",
                                        "5\r\nhello!\r\n",
                                        "5\r\nhello\n0\r\n\r\n",
                                        "5\r\nhello\r0\r\n",
                                        "5\r\nhello\r\n\r\n",
                                        "5;a\nb\r\nhello\r\n",
                                        "5;\x01\r\nhello\r\n",
                                        "5,a\r\nhello\r\n",
                                        "5 a\r\nhello\r\n",
                                        "10000000000000000\r\n",
                                        "00000000000000005\r\nhello\r\n",
                                        "{malformed json: <<<",
                                        "data: {}\n\n",
                                        ";\r\n"})
        CHECK(error_of(head + std::string(body)) == http1_error::bad_chunk);
    CHECK(error_of(head + "ffffffffffffffff\r\nx") == http1_error::truncated);
    CHECK(error_of(head + "5\r\nhello\r\n0\r\n") == http1_error::truncated);
}

TEST_CASE("chunk sizes near the largest number do not wrap around a limit", "[http1]") {
    const std::string head = ok + "Transfer-Encoding: chunked\r\n\r\n";
    const std::string bytes = head + "5\r\nhello\r\nfffffffffffffffb\r\nx";
    CHECK(error_of(bytes) == http1_error::body_too_large);
    http1_limits limits;
    limits.body_bytes = 10;
    CHECK(error_of(bytes, "GET", limits) == http1_error::body_too_large);
}

TEST_CASE("no two readings of a response's length are possible", "[http1][smuggling]") {
    const auto with = [](std::string_view fields) {
        return ok + std::string(fields) + "\r\n12345";
    };
    const std::string chunks = "0\r\n\r\n";
    CHECK(good(with("Content-Length: 5\r\nContent-Length: 5\r\n")).body == "12345");
    CHECK(good(with("Content-Length: 5, 5,05\r\n")).body == "12345");
    CHECK(error_of(with("Content-Length: 5\r\nContent-Length: 6\r\n")) ==
          http1_error::conflicting_lengths);
    CHECK(error_of(with("Content-Length: 5, 6\r\n")) == http1_error::conflicting_lengths);
    for (const std::string_view length :
         {"", "+5", "-5", "5 5", "5a", "0x5", "5.0", "5,", ",5", "5,,5", "5;", "\"5\"",
          "18446744073709551616", "99999999999999999999999", "5\t5", "\xEF\xBC\x95"})
        CHECK(error_of(with("Content-Length: " + std::string(length) + "\r\n")) ==
              http1_error::bad_content_length);
    CHECK(error_of(with("Content-Length: 18446744073709551615\r\n")) == http1_error::truncated);
    const std::string coded = "Transfer-Encoding: chunked\r\n";
    CHECK(error_of(with(coded + "Content-Length: 5\r\n")) == http1_error::length_and_coding);
    CHECK(error_of(with("Content-Length: 5\r\n" + coded)) == http1_error::length_and_coding);
    CHECK(error_of(with("Content-Length: 5\r\n" + coded), "HEAD") ==
          http1_error::length_and_coding);
    CHECK(error_of("HTTP/1.0 200 OK\r\n" + coded + "\r\n" + chunks) ==
          http1_error::coding_in_http10);
    for (const std::string_view coding :
         {"gzip, chunked", "chunked, gzip", "gzip", "identity", "", "xchunked", "chunkedx",
          "chunked,", ", chunked", "chunked, chunked", "chunked;q=1", "\"chunked\"", "chun ked"})
        CHECK(error_of(ok + "Transfer-Encoding: " + std::string(coding) + "\r\n\r\n" + chunks) ==
              http1_error::unknown_coding);
    CHECK(error_of(ok + coded + coded + "\r\n" + chunks) == http1_error::unknown_coding);
    // Hidden from one reader by a space, a control, a fold or a lone line break.
    CHECK(error_of(ok + "Transfer-Encoding : chunked\r\n\r\n" + chunks) ==
          http1_error::space_before_colon);
    CHECK(error_of(ok + "Transfer-Encoding\t: chunked\r\n\r\n" + chunks) ==
          http1_error::space_before_colon);
    CHECK(error_of(ok + " Transfer-Encoding: chunked\r\n\r\n" + chunks) ==
          http1_error::folded_field);
    CHECK(error_of(ok + "Transfer-Encoding:\r\n chunked\r\n\r\n" + chunks) ==
          http1_error::unknown_coding);
    CHECK(error_of(ok +
                   "Transfer-Encoding: \x0b"
                   "chunked\r\n\r\n" +
                   chunks) == http1_error::bad_field_value);
    CHECK(error_of(ok + "X: y\nTransfer-Encoding: chunked\r\n\r\n" + chunks) ==
          http1_error::bare_line_break);
    CHECK(error_of(ok + "X: y\rTransfer-Encoding: chunked\r\n\r\n" + chunks) ==
          http1_error::bare_line_break);
    CHECK(error_of(ok + std::string("X\0: y\r\n\r\n", 10)) == http1_error::bad_field_name);
    CHECK(error_of(ok + std::string("X: \0y\r\n\r\n", 10)) == http1_error::bad_field_value);
}

TEST_CASE("lines of a head end in CR LF and nothing else", "[http1]") {
    CHECK(error_of("HTTP/1.1 200 OK\n\n") == http1_error::bare_line_break);
    CHECK(error_of(ok + "A: b\n\r\n") == http1_error::bare_line_break);
    CHECK(error_of(ok + "A: b\r\n\n") == http1_error::bare_line_break);
    CHECK(error_of(ok + "A: b\r\r\n\r\n") == http1_error::bare_line_break);
    CHECK(error_of(ok + "\r\r\n") == http1_error::bad_field_name);
    CHECK(error_of("HTTP/1.1 200 O\rK\r\n\r\n") == http1_error::bare_line_break);
    CHECK(error_of(ok + "\n") == http1_error::bare_line_break);
}

TEST_CASE("malformed header lines are refused", "[http1]") {
    const auto with = [](std::string_view line) { return ok + std::string(line) + "\r\n\r\n"; };
    CHECK(error_of(with("no colon")) == http1_error::bad_field_name);
    CHECK(error_of(with(": empty")) == http1_error::bad_field_name);
    CHECK(error_of(with("a b: c")) == http1_error::bad_field_name);
    CHECK(error_of(with("a(b): c")) == http1_error::bad_field_name);
    CHECK(error_of(with("\xC3\xA9: c")) == http1_error::bad_field_name);
    CHECK(error_of(with("a : b")) == http1_error::space_before_colon);
    CHECK(error_of(with(" a: b")) == http1_error::folded_field);
    CHECK(error_of(with("a: b\r\n\tc")) == http1_error::folded_field);
    CHECK(error_of(with("a: b\x7f")) == http1_error::bad_field_value);
    CHECK(good(with("a:b:c \t \r\nContent-Length: 0")).fields == "a: b:c\nContent-Length: 0\n");
    CHECK(good(with("a: \xFF\xC3\xA9\tx\r\nContent-Length: 0")).fields ==
          "a: \xFF\xC3\xA9\tx\nContent-Length: 0\n");
}

TEST_CASE("each limit of a response stops at its byte", "[http1][limits]") {
    const std::string end = "Content-Length: 0\r\n\r\n";
    http1_limits limits;
    limits.line_bytes = 40;
    CHECK(good(ok + "A: " + std::string(35, 'x') + "\r\n" + end, "GET", limits).complete);
    CHECK(error_of(ok + "A: " + std::string(36, 'x') + "\r\n" + end, "GET", limits) ==
          http1_error::line_too_long);
    CHECK(error_of("HTTP/1.1 200 " + std::string(500, 'x'), "GET", limits) ==
          http1_error::line_too_long);
    CHECK(error_of(ok + std::string(500, 'x'), "GET", limits) == http1_error::line_too_long);

    limits = {};
    const std::string head = ok + "A: b\r\nB: c\r\n" + end;
    limits.head_bytes = head.size();
    CHECK(good(head, "GET", limits).complete);
    limits.head_bytes = head.size() - 1;
    CHECK(error_of(head, "GET", limits) == http1_error::head_too_large);
    CHECK(error_of(ok + std::string(500, 'x'), "GET", limits) == http1_error::head_too_large);

    limits = {};
    limits.fields = 3;
    CHECK(good(head, "GET", limits).complete);
    limits.fields = 2;
    CHECK(error_of(head, "GET", limits) == http1_error::too_many_fields);

    limits = {};
    limits.body_bytes = 4;
    CHECK(good(ok + "Content-Length: 4\r\n\r\n1234", "GET", limits).body == "1234");
    const outcome large = parse(ok + "Content-Length: 5\r\n\r\n12345", "GET", limits);
    CHECK(large.error == http1_error::body_too_large);
    CHECK_FALSE(large.head);
    CHECK(good(ok + "\r\n1234", "GET", limits).body == "1234");
    CHECK(error_of(ok + "\r\n12345", "GET", limits) == http1_error::body_too_large);
    CHECK(good(ok + "Content-Length: 5\r\n\r\n", "HEAD", limits).complete);
}

TEST_CASE("each limit of a chunked body stops at its byte", "[http1][limits]") {
    const std::string head = ok + "Transfer-Encoding: chunked\r\n\r\n";
    http1_limits limits;
    limits.body_bytes = 4;
    CHECK(good(head + "2\r\n12\r\n2\r\n34\r\n0\r\n\r\n", "GET", limits).body == "1234");
    CHECK(error_of(head + "2\r\n12\r\n3\r\n345\r\n0\r\n\r\n", "GET", limits) ==
          http1_error::body_too_large);

    limits = {};
    limits.chunk_line_bytes = 8;
    CHECK(good(head + "1;abcd\r\nx\r\n0\r\n\r\n", "GET", limits).body == "x");
    CHECK(error_of(head + "1;abcde\r\nx\r\n0\r\n\r\n", "GET", limits) ==
          http1_error::chunk_line_too_long);
    CHECK(error_of(head + std::string(100, '1'), "GET", limits) ==
          http1_error::chunk_line_too_long);

    limits = {};
    limits.chunk_extension_bytes = 5;
    CHECK(good(head + "1;ab\r\nx\r\n1;\r\ny\r\n0;\r\n\r\n", "GET", limits).body == "xy");
    CHECK(error_of(head + "1;ab\r\nx\r\n1;\r\ny\r\n0;c\r\n\r\n", "GET", limits) ==
          http1_error::extensions_too_large);

    limits = {};
    limits.trailer_bytes = 12;
    CHECK(good(head + "0\r\nA: b\r\nC: d\r\n\r\n", "GET", limits).trailers == "A: b\nC: d\n");
    CHECK(error_of(head + "0\r\nA: b\r\nC: de\r\n\r\n", "GET", limits) ==
          http1_error::trailers_too_large);
    CHECK(error_of(head + "0\r\nA: b\r\nC: def\r\n\r\n", "GET", limits) ==
          http1_error::trailers_too_large);
    limits.trailer_bytes = 0;
    CHECK(good(head + "0\r\n\r\n", "GET", limits).complete);
    CHECK(error_of(head + "0\r\nA: b\r\n\r\n", "GET", limits) == http1_error::trailers_too_large);

    limits = {};
    limits.fields = 1;
    CHECK(good(head + "0\r\nA: b\r\n\r\n", "GET", limits).complete);
    CHECK(error_of(head + "0\r\nA: b\r\nC: d\r\n\r\n", "GET", limits) ==
          http1_error::too_many_fields);
}

TEST_CASE("a header bomb ends at the limit with memory bounded", "[http1][limits]") {
    http1_response_parser parser;
    CHECK(parser.step(ok + "A: ").step == http1_step::need_more);
    const std::string piece(1000, 'x');
    std::size_t fed = 0;
    while (parser.step(piece).step == http1_step::need_more) fed += piece.size();
    CHECK(parser.error() == http1_error::line_too_long);
    CHECK(fed <= 16 * 1024);

    parser.reset();
    parser.step(ok);
    std::size_t lines = 0;
    while (parser.step("A: b\r\n").step == http1_step::need_more) ++lines;
    CHECK(parser.error() == http1_error::too_many_fields);
    CHECK(lines == 100);
}

TEST_CASE("after a failure the parser stays failed until its reset", "[http1]") {
    http1_response_parser parser;
    CHECK(parser.step("nonsense").step == http1_step::failed);
    const auto p = parser.step(ok);
    CHECK(p.step == http1_step::failed);
    CHECK(p.consumed == 0);
    CHECK(parser.finish().step == http1_step::failed);
    CHECK(parser.error() == http1_error::not_http);
    parser.reset();
    CHECK(parser.error() == http1_error::none);
    CHECK(parser.step(ok + "\r\n").step == http1_step::head);
}

TEST_CASE("answers that follow one another on a connection are told apart", "[http1]") {
    const std::string three = ok + "Content-Length: 1\r\n\r\na" + ok +
                              "Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\nT: x\r\n\r\n" + ok +
                              "Content-Length: 1\r\n\r\nc";
    http1_response_parser parser;
    std::string_view in = three;
    std::string bodies;
    for (int i = 0; i < 3; ++i) {
        parser.reset();
        const outcome out = http1_test::run(parser, in, {});
        REQUIRE(out.complete);
        CHECK(out.trailers == (i == 1 ? "T: x\n" : ""));
        bodies += out.body;
        in.remove_prefix(out.consumed);
    }
    CHECK(bodies == "abc");
    CHECK(in.empty());
}

TEST_CASE("every HTTP error has its own words", "[http1]") {
    std::string seen;
    for (int i = 0; i <= static_cast<int>(http1_error::truncated); ++i) {
        const std::string_view text = describe(static_cast<http1_error>(i));
        CHECK(text.size() > 5);
        CHECK(text != "unknown HTTP error");
        CHECK(seen.find(text) == std::string::npos);
        seen.append(text).append("\n");
    }
}

}  // namespace test_detail_http1_response
