// Each line is a chunk of one stream: read after the others it says what it says alone.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/openai_chunks.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

using namespace llmkit;
using namespace llmkit::detail;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input(reinterpret_cast<const char*>(data), size);
    openai_chunks chunks;
    while (!input.empty()) {
        const std::string_view line = input.substr(0, input.find('\n'));
        input.remove_prefix(std::min(line.size() + 1, input.size()));
        // A block of its own, so that a byte read behind it is seen.
        const std::vector<char> chunk(line.begin(), line.end());
        const std::string_view text(chunk.data(), chunk.size());
        event_facts together, alone;
        const bool fine = chunks.read(text, together);
        if (fine != scan_openai_event(text, alone) || together != alone) __builtin_trap();
    }
    return 0;
}
