// Decoding does not depend on how the data is cut, nor on the buffer; and a bomb stays bounded.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE -lz
#include "llmkit/transport/gzip_decoder.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t most = std::size_t{1} << 18U;

std::string decode(std::string_view input, std::size_t piece_size, std::size_t room) {
    llmkit::detail::gzip_decoder decoder;
    std::string all;
    std::vector<char> buffer(room);
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string_view cut = input.substr(at, piece_size);
        // A block of its own, so that a view that outlives its piece is seen.
        const std::vector<char> piece(cut.begin(), cut.end());
        decoder.feed({piece.data(), piece.size()});
        while (const std::size_t count = decoder.take(buffer.data(), room)) {
            if (count > room) __builtin_trap();
            all.append(buffer.data(), count);
            if (all.size() >= most) return all.substr(0, most) + " too large";
        }
        if (!decoder.problem().empty()) return all + ' ' + decoder.problem();
    }
    return all + (decoder.complete() ? " whole" : " cut");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::size_t piece_size = data[0] + std::size_t{1};
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string whole = decode(input, std::max<std::size_t>(input.size(), 1), 16 * 1024);
    if (decode(input, 1, 16 * 1024) != whole) __builtin_trap();
    if (decode(input, piece_size, piece_size) != whole) __builtin_trap();
    return 0;
}
