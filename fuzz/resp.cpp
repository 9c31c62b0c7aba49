// Replies do not depend on how the bytes are cut, and stay within their bounds.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/resp_parser.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace llmkit::detail;

namespace {

constexpr resp_limits limits{1000, 100, 5, 200};

struct sum {
    std::size_t bytes = 0;
    std::size_t items = 0;
};

void show(const resp_value& value, std::size_t depth, std::string& out, sum& total) {
    if (depth > limits.depth) __builtin_trap();
    total.bytes += value.text().size();
    out.append(std::to_string(static_cast<int>(value.kind()))).append(":");
    out.append(std::to_string(value.integer())).append(":");
    out.append(std::to_string(value.text().size())).append(":").append(value.text());
    if (value.kind() == resp_kind::number) out.append(std::to_string(value.number()));
    total.items += value.items().size();
    for (const auto& item : value.items()) show(item, depth + 1, out, total);
}

std::string read(std::string_view input, std::size_t piece_size) {
    resp_parser parser(limits);
    std::string all;
    for (std::size_t at = 0; at < input.size(); at += piece_size) {
        const std::string_view cut = input.substr(at, piece_size);
        // A block of its own, so that a view that outlives its piece is seen.
        const std::vector<char> piece(cut.begin(), cut.end());
        parser.feed({piece.data(), piece.size()});
        resp_value reply;
        reply_step how = parser.next(reply);
        for (; how == reply_step::reply || how == reply_step::aside; how = parser.next(reply)) {
            all += how == reply_step::reply ? '\n' : '>';
            sum total;
            show(reply, 0, all, total);
            if (total.bytes > limits.bytes || total.items > limits.items) __builtin_trap();
        }
        if (how == reply_step::broken) return all + " broken";
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
