// What real servers sent: tests/recordings.
#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <llmkit/detail/http1_parser.hpp>

#include "http1_pieces.hpp"
#include "test.hpp"

namespace test_detail_http1_recordings {

using namespace llmkit::detail;
using http1_test::outcome;

namespace {
// The bytes as they came over the wire: some files end in a note by the program that took them.
std::string recording(const std::string& name) {
    std::ifstream file(std::string(LLMKIT_SOURCE_DIR "/tests/recordings/") + name + ".http",
                       std::ios::binary);
    REQUIRE(file.is_open());
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const std::size_t note = bytes.rfind("\n[curl rc=");
    if (note != std::string::npos) bytes.resize(note);
    return bytes;
}

outcome parse(std::string_view bytes) {
    http1_response_parser parser;
    const auto reset = [&] { parser.reset("POST"); };
    reset();
    const outcome whole = http1_test::run(parser, bytes, {});
    CHECK(http1_test::disagreement(parser, reset, bytes, whole).empty());
    return whole;
}

struct expected {
    const char* name;
    const char* first_line;
    std::size_t body;
    const char* body_begins;
};
}  // namespace

TEST_CASE("recorded answers of real servers are read to their last byte", "[http1]") {
    const expected answers[] = {
        {"aimock.429", "429 Too Many Requests", 104, "{\"error\""},
        {"aimock.anthropic.stream", "200 OK", 1945, "event: message_start\n"},
        {"aimock.anthropic.unary", "200 OK", 269, "{\"id\""},
        {"aimock.embed", "200 OK", 163, "{\"object\""},
        {"aimock.nomatch", "404 Not Found", 112, "{\"error\""},
        {"aimock.stream", "200 OK", 2835, "data: {"},
        {"aimock.toolstream", "200 OK", 1710, "data: {"},
        {"aimock.unary", "200 OK", 346, "{\"id\""},
        {"llama.err400", "500 Internal Server Error", 138, "{\"error\""},
        {"llama.models", "200 OK", 206, "{\"object\""},
        {"llama.stream", "200 OK", 4296, "data: {"},
        {"llama.unary", "200 OK", 635, "{\"choices\""},
        {"llama26.anthropic.stream", "200 OK", 1658, "event: message_start\n"},
        {"llama26.anthropic.unary", "200 OK", 317, "{\"id\""},
        {"llama26.err", "400 Bad Request", 100, "{\"error\""},
        {"llama26.models", "200 OK", 555, "{\"models\""},
        {"llama26.stream", "200 OK", 4780, "data: {"},
        {"llama26.unary", "200 OK", 711, "{\"choices\""},
        {"llama503loading", "503 Service Unavailable", 75, "{\"error\""},
        {"llamaemb.501", "501 Not Implemented", 137, "{\"error\""},
        {"llamaemb.embed", "200 OK", 2809, "{\"model\""},
        {"mockllm.401", "401 Unauthorized", 120, "{\"error\""},
        {"mockllm.401stream", "200 OK", 128, "data: {"},
        {"mockllm.stream", "200 OK", 730, "data: {"},
        {"mockllm.unary", "200 OK", 176, "{\"id\""},
    };
    for (const expected& answer : answers) {
        INFO(answer.name);
        const std::string bytes = recording(answer.name);
        const outcome out = parse(bytes);
        CHECK(out.complete);
        CHECK(out.consumed == bytes.size());
        CHECK(out.first_line == answer.first_line);
        CHECK(out.body.size() == answer.body);
        CHECK(out.body.starts_with(answer.body_begins));
    }
}

TEST_CASE("a recorded stream that was cut off is a truncation, with what came before", "[http1]") {
    const outcome out = parse(recording("aimock.truncated"));
    CHECK(out.error == http1_error::truncated);
    CHECK(out.body.size() == 418);
    CHECK(out.body.ends_with("\n\n"));
}

TEST_CASE("a body without chunks under a chunked header is refused at once", "[http1]") {
    // These were recorded after curl had taken the chunks away.
    for (const char* name : {"aimock.chaos_500", "aimock.chaos_malformed", "aimock.models"}) {
        const outcome out = parse(recording(name));
        CHECK(out.error == http1_error::bad_chunk);
        CHECK(out.body.empty());
    }
}

}  // namespace test_detail_http1_recordings
