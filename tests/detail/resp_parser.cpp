#include <llmkit/detail/resp_parser.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/resp_write.hpp>

#include "test.hpp"

namespace test_detail_resp_parser {

using namespace llmkit::detail;

namespace {

/// A reply as text, for comparing.
std::string shown(const resp_value& value) {
    switch (value.kind()) {
        case resp_kind::nil:
            return "nil";
        case resp_kind::text:
            return '"' + value.text() + '"';
        case resp_kind::error:
            return "error(" + value.text() + ')';
        case resp_kind::integer:
            return std::to_string(value.integer());
        case resp_kind::number:
            return std::isnan(value.number()) ? "nan" : std::to_string(value.number());
        case resp_kind::list:
            break;
    }
    std::string out = "[";
    for (const auto& item : value.items()) out += (out.size() > 1 ? " " : "") + shown(item);
    return out + ']';
}

/// All replies in `input`, given in pieces; "!…" when it is broken, "…" when it ends midway.
std::string read(std::string_view input, std::size_t piece_size, const resp_limits& limits = {}) {
    resp_parser parser(limits);
    std::string all;
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string piece(input.substr(at, piece_size));  // gone before the next one
        parser.feed(piece);
        resp_value reply;
        for (bool more = false; !more;) {
            switch (parser.next(reply)) {
                case reply_step::more:
                    more = true;
                    break;
                case reply_step::reply:
                    all += shown(reply) + ' ';
                    break;
                case reply_step::aside:
                    all += "(aside " + shown(reply) + ") ";
                    break;
                case reply_step::broken:
                    return all + '!' + std::string(parser.problem());
            }
        }
    }
    return parser.midway() ? all + "…" : all;
}
/// In one piece, which byte by byte must not change.
std::string read(std::string_view input) {
    const std::string whole = read(input, input.size());
    for (const std::size_t size : {1U, 2U, 3U, 5U, 7U}) REQUIRE(read(input, size) == whole);
    return whole;
}

}  // namespace

TEST_CASE("replies of RESP2 are read however they are cut", "[resp]") {
    CHECK(read("+OK\r\n") == "\"OK\" ");
    CHECK(read("+\r\n") == "\"\" ");
    CHECK(read("-ERR unknown\r\n") == "error(ERR unknown) ");
    CHECK(read(":42\r\n:-1\r\n:+7\r\n") == "42 -1 7 ");
    CHECK(read("$5\r\nhello\r\n$0\r\n\r\n$-1\r\n") == "\"hello\" \"\" nil ");
    CHECK(read("$4\r\n\r\n\r\n\r\n") == "\"\r\n\r\n\" ");
    CHECK(read("*2\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n*-1\r\n") == "[\"a\" [1 []]] nil ");
}

TEST_CASE("replies of RESP3 become those of RESP2 where nothing is lost", "[resp]") {
    CHECK(read("_\r\n#t\r\n#f\r\n") == "nil 1 0 ");
    CHECK(read(",1.5\r\n,inf\r\n,nan\r\n") == "1.500000 inf nan ");
    CHECK(read("(123456789012345678901234567890\r\n") == "\"123456789012345678901234567890\" ");
    CHECK(read("=7\r\ntxt:abc\r\n!5\r\nERR x\r\n") == "\"abc\" error(ERR x) ");
    CHECK(read("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n~1\r\n+x\r\n") == "[\"a\" 1 \"b\" 2] [\"x\"] ");
}

TEST_CASE("what a server says unasked is told from replies, and attributes are passed over",
          "[resp]") {
    CHECK(read(">2\r\n+invalidate\r\n*1\r\n+k\r\n+OK\r\n") ==
          "(aside [\"invalidate\" [\"k\"]]) \"OK\" ");
    CHECK(read(">0\r\n+OK\r\n") == "(aside []) \"OK\" ");
    CHECK(read(">1\r\n$1\r\nx\r\n+OK\r\n") == "(aside [\"x\"]) \"OK\" ");
    CHECK(read("|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n|0\r\n+OK\r\n") == "\"v\" \"OK\" ");
    CHECK(read("*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n:2\r\n") == "[1 2] ");
}

TEST_CASE("a reply that has not ended is awaited", "[resp]") {
    for (const std::string_view part :
         {"+O", "+OK\r", "$5\r\nhel", "$5\r\nhello", "$5\r\nhello\r", "*2\r\n:1\r\n", "*1\r\n"})
        CHECK(read(part) == "…");
}

TEST_CASE("what is no RESP ends the reading", "[resp]") {
    for (const std::string_view wrong : {"HTTP/1.1 400 Bad Request\r\n",
                                         "\r\n",
                                         "+OK\n",
                                         "\n",
                                         ":\r\n",
                                         ":1x\r\n",
                                         ":+-1\r\n",
                                         ":9223372036854775808\r\n",
                                         "$-2\r\n",
                                         "$x\r\n",
                                         "$3\r\nabcd\r\n",
                                         "$3\r\nabc\n\r\n",
                                         "*-2\r\n",
                                         "#x\r\n",
                                         "_x\r\n",
                                         ",x\r\n",
                                         "*1\r\n>1\r\n+x\r\n",
                                         "%-5\r\n",
                                         "$?\r\n",
                                         "*?\r\n",
                                         "$ 3\r\nabc\r\n"}) {
        INFO(wrong);
        CHECK(read(wrong).starts_with('!'));
    }
    // And stays so.
    resp_parser parser;
    resp_value reply;
    parser.feed("?\r\n");
    CHECK(parser.next(reply) == reply_step::broken);
    parser.feed("+OK\r\n");
    CHECK(parser.next(reply) == reply_step::broken);
}

TEST_CASE("no reply takes more than its bounds allow", "[resp]") {
    resp_limits small;
    small.bytes = 10;
    small.items = 5;
    small.depth = 3;
    small.line = 20;
    const auto limited = [&](std::string_view input) {
        const std::string whole = read(input, input.size(), small);
        REQUIRE(read(input, 1, small) == whole);
        return whole;
    };
    CHECK(limited("$10\r\n0123456789\r\n$10\r\n0123456789\r\n") ==
          "\"0123456789\" \"0123456789\" ");
    CHECK(limited("$11\r\n").starts_with('!'));
    CHECK(limited("$9223372036854775807\r\n").starts_with('!'));
    CHECK(limited("*2\r\n$6\r\n012345\r\n$6\r\n").starts_with('!'));
    CHECK(limited("+0123456789a\r\n").starts_with('!'));
    CHECK(limited("-0123456789012345678901").starts_with('!'));
    CHECK(limited("*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n*1\r\n:1\r\n") == "[1 2 3 4 5] [1] ");
    CHECK(limited("*6\r\n").starts_with('!'));
    CHECK(limited("%3\r\n").starts_with('!'));
    CHECK(limited("*3\r\n*3\r\n").starts_with('!'));
    CHECK(limited("*1\r\n*1\r\n*1\r\n:1\r\n") == "[[[1]]] ");
    CHECK(limited("*1\r\n*1\r\n*1\r\n*1\r\n").starts_with('!'));
    // A promise is not believed: what is not there takes no memory.
    CHECK(read("*1000000\r\n", 11) == "…");
}

TEST_CASE("a command is an array of texts in which any byte may stand", "[resp]") {
    CHECK(resp_command("SET", std::string_view("a\r\n\0b", 5), "") ==
          std::string("*3\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n", 30));
    CHECK(resp_command("EXPIRE", std::string("k"), -15) ==
          "*3\r\n$6\r\nEXPIRE\r\n$1\r\nk\r\n$3\r\n-15\r\n");
    const std::vector<std::string> words{"GET", "k"};
    CHECK(resp_command_of(words) == resp_command("GET", "k"));
    CHECK(read(resp_command_of(words)) == "[\"GET\" \"k\"] ");
}

}  // namespace test_detail_resp_parser
