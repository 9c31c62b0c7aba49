// Events do not depend on how the bytes are cut: one piece, byte by byte, and pieces of some size.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/sse.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace llmkit::detail;

namespace {

std::string frame(std::string_view input, std::size_t piece_size, std::size_t limit) {
    sse_framer framer(limit);
    std::string all;
    sse_event event;
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string_view cut = input.substr(at, piece_size);
        // A block of its own, so that a view that outlives its piece is seen.
        const std::vector<char> piece(cut.begin(), cut.end());
        framer.feed({piece.data(), piece.size()});
        while (framer.next(event)) {
            if (event.data.size() > limit) __builtin_trap();
            for (const std::string_view part : {event.data, event.name, event.id})
                all.append(std::to_string(part.size())).append(":").append(part);
        }
    }
    if (framer.failed()) return all + " failed";
    return framer.unfinished() ? all + " unfinished" : all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::size_t piece_size = data[0] + std::size_t{1};
    const std::size_t limit = data[1] == 0 ? std::size_t{1} << 20U : data[1];
    const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
    const std::string whole = frame(input, std::max<std::size_t>(input.size(), 1), limit);
    if (frame(input, 1, limit) != whole) __builtin_trap();
    if (frame(input, piece_size, limit) != whole) __builtin_trap();
    return 0;
}
