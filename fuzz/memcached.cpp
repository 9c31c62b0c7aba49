// Replies do not depend on how the bytes are cut, and stay within their bounds.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/memcached_parser.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace llmkit::detail;

namespace {

constexpr memcached_limits limits{1000, 200};

std::string read(std::string_view input, std::size_t piece_size) {
    memcached_parser parser(limits);
    std::string all;
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string_view cut = input.substr(at, piece_size);
        // A block of its own, so that a view that outlives its piece is seen.
        const std::vector<char> piece(cut.begin(), cut.end());
        parser.feed({piece.data(), piece.size()});
        memcached_reply reply;
        reply_step how = parser.next(reply);
        for (; how == reply_step::reply; how = parser.next(reply)) {
            if (reply.text.size() > limits.bytes) __builtin_trap();
            all += std::to_string(static_cast<int>(reply.kind)) + ' ' + std::to_string(reply.ttl) +
                   ' ' + std::to_string(reply.client) + ' ' + reply.text + '\n';
        }
        if (how == reply_step::broken) return all + " broken";
        if (how != reply_step::more) __builtin_trap();
    }
    return parser.midway() ? all + " midway" : all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::size_t piece_size = data[0] + std::size_t{1};
    const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string whole = read(input, std::max<std::size_t>(input.size(), 1));
    if (read(input, 1) != whole) __builtin_trap();
    if (read(input, piece_size) != whole) __builtin_trap();
    return 0;
}
