// llmkit/cache/dated.hpp: an entry's bytes with the moment of their writing, for stores that tell no age.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include <llmkit/core/clock.hpp>

namespace llmkit::detail {

/// The moment by the calendar, which machines share as well as they keep the time, in 8 bytes at the
/// end of the text: milliseconds, the most significant first.
class dated {
public:
    using wall_time = std::chrono::system_clock::time_point;

    static void write(std::string& text, wall_time wall) {
        const auto ms = static_cast<std::uint64_t>(since_epoch(wall));
        for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(ms >> shift);
    }
    /// Takes the moment off the text, and gives it on the reader's clock; not later than `now`: a
    /// calendar may have been set back. A text that is too short is left empty.
    static time_point take(std::string& text, time_point now, wall_time wall) {
        if (text.size() < size) {
            text.clear();
            return now;
        }
        std::uint64_t written = 0;
        for (std::size_t i = text.size() - size; i < text.size(); ++i)
            written = written << 8 | static_cast<unsigned char>(text[i]);
        text.resize(text.size() - size);
        const auto today = static_cast<std::uint64_t>(since_epoch(wall));
        const std::uint64_t age = today > written ? today - written : 0;
        return now - std::chrono::milliseconds(std::min(age, longest));
    }

private:
    static constexpr std::size_t size = 8;
    static constexpr std::uint64_t longest = std::uint64_t{100} * 365 * 24 * 3600 * 1000;

    static std::int64_t since_epoch(wall_time wall) {
        using std::chrono::milliseconds;
        return std::max<std::int64_t>(
            std::chrono::duration_cast<milliseconds>(wall.time_since_epoch()).count(), 0);
    }
};

}  // namespace llmkit::detail
