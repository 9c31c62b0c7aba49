// Whatever a server sends, the facts lie inside it and malformed text leaves none.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/openai_scan.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace llmkit;
using namespace llmkit::detail;

namespace {

void require(bool holds) {
    if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    event_facts facts;
    const bool fine = scan_openai_event(input, facts);
    require(fine || facts == event_facts{});
    require(std::size_t{facts.text_at} + facts.text_size <= size);
    if (facts.text_size != 0) {
        require(facts.content && facts.text_at > 0 && input[facts.text_at - 1] == '"');
        require(input[facts.text_at + facts.text_size] == '"');
        std::string text;
        unescape(input.substr(facts.text_at, facts.text_size), text);
        require(valid_utf8(text));
    }
    event_facts body;
    const bool whole = scan_openai_body(input, body);
    require(body.last == whole);
    require(whole == json_scanner(input).finish());
    scan_error(input);
    scan_model(input);
    return 0;
}
