#include "llmkit/detail/sse.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "test.hpp"

namespace test_detail_sse {

using namespace llmkit::detail;

namespace {

// Feeds the input in pieces that are gone after use, and writes each event as "name|id|data".
std::vector<std::string> frame(std::string_view input, std::size_t piece_size = 1 << 20,
                               std::size_t limit = 1 << 20, bool* failed = nullptr) {
    sse_framer framer(limit);
    std::vector<std::string> events;
    sse_event event;
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string_view cut = input.substr(at, piece_size);
        std::vector<char> piece(cut.begin(), cut.end());
        framer.feed({piece.data(), piece.size()});
        while (framer.next(event))
            events.push_back(std::string(event.name) + '|' + std::string(event.id) + '|' +
                             std::string(event.data));
        std::fill(piece.begin(), piece.end(), '?');
    }
    if (failed != nullptr) *failed = framer.failed();
    return events;
}

using lines = std::vector<std::string>;

}  // namespace

TEST_CASE("an event is what stands before a blank line", "[sse]") {
    CHECK(frame("data: a\n\ndata: b\n\n") == lines{"||a", "||b"});
    CHECK(frame("data:a\n\ndata:  b\n\n") == lines{"||a", "|| b"});
    CHECK(frame("event: delta\ndata: {}\n\ndata: x\n\n") == lines{"delta||{}", "||x"});
    CHECK(frame("\n\n\ndata: a\n\n\n\n") == lines{"||a"});
}

TEST_CASE("LF, CRLF and lone CR all end lines", "[sse]") {
    for (const std::string end : {"\n", "\r\n", "\r"}) {
        const std::string input =
            "event: e" + end + "data: a" + end + "data: b" + end + end + "data: c" + end + end;
        for (std::size_t size = 1; size < 12; ++size)
            CHECK(frame(input, size) == lines{"e||a\nb", "||c"});
        CHECK(frame(input) == lines{"e||a\nb", "||c"});
    }
    CHECK(frame("data: a\r\n\rdata: b\n\r\n") == lines{"||a", "||b"});
}

TEST_CASE("an event ended by a lone CR is given at once", "[sse]") {
    sse_framer framer;
    sse_event event;
    framer.feed("data: a\r\r");
    CHECK(framer.next(event));
    CHECK_FALSE(framer.next(event));
    framer.feed("\ndata: b\n");
    CHECK_FALSE(framer.next(event));
    framer.feed("\n");
    REQUIRE(framer.next(event));
    CHECK(event.data == "b");
}

TEST_CASE("several data lines are joined by LF", "[sse]") {
    CHECK(frame("data: a\ndata\ndata:\ndata: b\n\n") == lines{"||a\n\n\nb"});
    CHECK(frame("data\n\n") == lines{"||"});
    CHECK(frame("data:\ndata:\n\n") == lines{"||\n"});
}

TEST_CASE("comments, unknown fields and events without data never surface", "[sse]") {
    CHECK(frame(": ping\n\n:\n\nretry: 10\nfoo: bar\nnothing\n\nevent: lost\n\ndata: a\n\n") ==
          lines{"||a"});
    CHECK(frame(" data: a\nDATA: b\ndatax: c\n\n").empty());
}

TEST_CASE("a leading byte-order mark is ignored, a later one is not", "[sse]") {
    for (std::size_t size : {1U, 2U, 3U, 100U}) {
        CHECK(frame("\xEF\xBB\xBF"
                    "data: a\n\n",
                    size) == lines{"||a"});
        CHECK(frame("data: a\n\n\xEF\xBB\xBF"
                    "data: b\n\n",
                    size) == lines{"||a"});
    }
}

TEST_CASE("the last id is inherited, and one with NUL is ignored", "[sse]") {
    CHECK(frame("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n") == lines{"|1|a", "|1|b", "||c"});
    CHECK(frame(std::string_view("id: 1\nid: x\0y\ndata: a\n\n", 24)) == lines{"|1|a"});
}

TEST_CASE("an unfinished event at the end of the input is not given", "[sse]") {
    CHECK(frame("data: a\n\ndata: b\n") == lines{"||a"});
    CHECK(frame("data: a\n\ndata: b") == lines{"||a"});
    sse_framer framer;
    sse_event event;
    CHECK_FALSE(framer.unfinished());
    for (const char* piece : {"data: b", "\n"}) {
        framer.feed(piece);
        CHECK_FALSE(framer.next(event));
        CHECK(framer.unfinished());
    }
    framer.feed("\n");
    CHECK(framer.next(event));
    CHECK_FALSE(framer.unfinished());
}

TEST_CASE("an event that lies whole in a piece is not copied", "[sse]") {
    const std::string input = "event: n\r\ndata: abc\r\n\r\ndata: d\n\n";
    sse_framer framer;
    sse_event event;
    framer.feed(input);
    REQUIRE(framer.next(event));
    CHECK(event.data.data() == input.data() + input.find("abc"));
    CHECK(event.name.data() == input.data() + 7);
    REQUIRE(framer.next(event));
    CHECK(event.data.data() == input.data() + input.find("d\n\n"));
}

TEST_CASE("a character split across reads arrives whole", "[sse]") {
    CHECK(frame("data: é🙂\n\n", 1) == lines{"||é🙂"});
}

TEST_CASE("an event beyond the limit fails, wherever its bytes are cut", "[sse]") {
    for (std::size_t size : {1U, 7U, 1000U}) {
        bool failed = false;
        CHECK(frame("data: 4567890\n\n", size, 13, &failed) == lines{"||4567890"});
        CHECK_FALSE(failed);
        CHECK(frame("data: 1\n\ndata: 45678901\n\ndata: 2\n\n", size, 13, &failed) == lines{"||1"});
        CHECK(failed);
        CHECK(frame("data: 1\ndata: 2\ndata: 3\n\n", size, 20, &failed).empty());
        CHECK(failed);
        CHECK(frame(std::string(50, 'x'), size, 20, &failed).empty());
        CHECK(failed);
        std::string pings;
        for (int i = 0; i < 100; ++i) pings += ": ping\n";
        CHECK(frame(pings + "data: 1\n\n", size, 13, &failed) == lines{"||1"});
        CHECK_FALSE(failed);
    }
}

TEST_CASE("events do not depend on where the bytes are cut", "[sse]") {
    static constexpr std::string_view pieces[] = {
        "data: ", "data:", "event: x", "id: 7", ":", "\n", "\r", "\r\n", "\n\n", "é", "ab", " "};
    std::mt19937 random(5);
    std::size_t events = 0;
    for (int i = 0; i < 3000; ++i) {
        std::string input;
        for (std::size_t n = random() % 40; n > 0; --n)
            input += pieces[random() % std::size(pieces)];
        const lines whole = frame(input);
        events += whole.size();
        INFO(input);
        REQUIRE(frame(input, 1) == whole);
        REQUIRE(frame(input, 2 + random() % 9) == whole);
    }
    CHECK(events > 1000);
}

}  // namespace test_detail_sse
