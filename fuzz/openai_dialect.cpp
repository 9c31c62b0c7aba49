// Whatever a server answers: what is read for people is text, and an answer that can be written as a
// stream says the same when that is put together again.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/provider/openai_dialect.hpp"

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
    const event body(bytes::copy(input));
    const dialect& spoken = openai_dialect();
    chat_delta delta;
    spoken.read_delta(body, delta);
    require(valid_utf8(delta.text()));
    if (const auto vectors = spoken.read_embeddings(body)) require(json_scanner(input).finish());
    const auto answer = spoken.read_completion(body);
    if (answer) {
        require(json_scanner(input).finish());
        require(valid_utf8(answer->text()) && valid_utf8(answer->refusal()));
        for (const tool_call& call : answer->tool_calls()) require(valid_utf8(call.arguments));
    }
    const auto chunks = spoken.unfold(body);
    require(!chunks || json_scanner(input).finish());
    if (!chunks) return 0;
    const auto whole = spoken.fold(*chunks);
    require(whole && json_scanner(whole->data()).finish());
    return 0;
}
