// Whatever a store hands out, reading it ends in an entry whose parts lie inside, or in none.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/cache/codec.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

using namespace llmkit;

namespace {

void require(bool holds) {
    if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string input(reinterpret_cast<const char*>(data), size);
    const time_point now{std::chrono::hours(1)};
    const entry_codec codec;
    require(!codec.decode(input, now));  // nobody guesses 128 bits of checksum

    // The fields, as if the checksum were right.
    const auto entry = detail::read_entry(bytes(input), 0, now, std::size_t{1} << 24);
    if (!entry) return 0;
    for (const event& one : entry->events) {
        require(std::size_t{one.facts().text_at} + one.facts().text_size <= one.data().size());
        require(one.facts().finish <= finish_reason::other);
    }
    // Written again it reads as the same.
    std::string again;
    detail::write_entry(again, *entry, now);
    const auto second = detail::read_entry(bytes(again), 0, now, std::size_t{1} << 24);
    require(second && second->events.size() == entry->events.size());
    for (std::size_t i = 0; i < entry->events.size(); ++i) {
        require(second->events[i].data() == entry->events[i].data());
        require(second->events[i].facts() == entry->events[i].facts());
    }
    std::string third;
    detail::write_entry(third, *second, now);
    require(third == again);
    return 0;
}
