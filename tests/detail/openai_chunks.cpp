#include "llmkit/detail/openai_chunks.hpp"

#include <array>
#include <string>
#include <string_view>

#include "../detail/json_generator.hpp"
#include "test.hpp"

namespace test_detail_openai_chunks {

using namespace llmkit;
using namespace llmkit::detail;

namespace {

/// What a reader of a whole stream says of a chunk must be what scanning it alone says.
void check_same(openai_chunks& chunks, const std::string& chunk) {
    event_facts together;
    event_facts alone;
    // On the heap without room to spare, so that the address sanitizer sees a byte too many.
    const std::string exact(chunk);
    INFO(chunk);
    REQUIRE(chunks.read(exact, together) == scan_openai_event(exact, alone));
    REQUIRE(together == alone);
}

std::string openai_chunk(std::string_view text, std::string_view padding) {
    return R"({"id":"c1","created":1,"choices":[{"index":0,"delta":{"content":")" +
           std::string(text) + R"("},"finish_reason":null}],"usage":null,"obfuscation":")" +
           std::string(padding) + R"("})";
}

}  // namespace

TEST_CASE("the chunks of a stream say what each says alone", "[openai_chunks]") {
    openai_chunks chunks;
    const std::array<std::string, 17> stream{
        R"({"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]})",
        openai_chunk("Hello", "abcdef"),
        openai_chunk(" w\\u00f6rld", "x"),
        openai_chunk("\xC3\xB6", "abcdefghijklmnopqrstuvwxyz"),
        openai_chunk("\xC3", "a"),
        openai_chunk("", "a"),
        openai_chunk("a", ""),
        openai_chunk("a\"},\"delta\":{\"content\":\"b", "x"),
        openai_chunk("a", "\\x"),
        openai_chunk("a", "b\",\"error\":\"no"),
        openai_chunk("a", "b") + " ",
        openai_chunk("a", "b") + "}",
        openai_chunk("a", "b").substr(0, 40),
        R"({"id":"c1","created":1,"choices":[{"index":0,"delta":{"content":")",
        R"({"id":"c1","created":1,"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})",
        " [DONE] ",
        ""};
    for (const std::string& chunk : stream) check_same(chunks, chunk);
    for (const std::string& chunk : stream) {
        for (const std::string& next : stream) {
            check_same(chunks, chunk);
            check_same(chunks, next);
        }
    }
}

TEST_CASE("only the text that counts may differ, wherever else a chunk has some",
          "[openai_chunks]") {
    const auto chunk = [](std::string_view reasoning, std::string_view text,
                          std::string_view second) {
        return R"({"choices":[{"delta":{"reasoning":")" + std::string(reasoning) +
               R"(","content":"x","content":")" + std::string(text) +
               R"("}},{"index":1,"delta":{"content":")" + std::string(second) + R"("}}]})";
    };
    openai_chunks chunks;
    for (const char* first : {"", "a", "ab"})
        for (const char* second : {"b", "", "a\\n"})
            for (const char* third : {"", "a", "abc"})
                check_same(chunks, chunk(first, second, third));
}

TEST_CASE("damaged chunks among others say what each says alone", "[openai_chunks]") {
    llmkit_test::json_generator generate(77);
    openai_chunks chunks;
    std::string chunk = openai_chunk("Hello", "abcdef");
    int lost = 0;
    for (int i = 0; i < 20'000; ++i) {
        event_facts facts;
        if (!scan_openai_event(chunk, facts) || i % 50 == 0) {
            ++lost;
            chunk = openai_chunk("Hello", generate.below(3) == 0 ? "" : "abcdef");
        }
        check_same(chunks, chunk);
        std::string next = chunk;
        // Mostly the text or the padding, so that chunks are alike.
        const std::size_t at = next.find(generate.below(2) == 0 ? "content" : "obfusc");
        if (at != next.npos && generate.below(3) != 0) {
            next.replace(at + 9, 8, generate.damaged(next.substr(at + 9, 8)));
        } else if (generate.below(2) == 0) {
            next = generate.damaged(std::move(next));
        }
        check_same(chunks, next);
        if (generate.below(2) == 0) chunk = next;
    }
    CHECK(lost > 1000);
}

TEST_CASE("a large chunk is read and not kept", "[openai_chunks]") {
    openai_chunks chunks;
    const std::string large = openai_chunk(std::string(100'000, 'x'), "a");
    check_same(chunks, large);
    check_same(chunks, openai_chunk("a", "b"));
    check_same(chunks, large);
    check_same(chunks, openai_chunk(std::string(100'000, 'y'), "a"));
}

}  // namespace test_detail_openai_chunks
