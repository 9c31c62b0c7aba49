// llmkit/detail/memcached_write.hpp: memcached's meta commands, and its rules of time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace llmkit::detail {

/// The most that a key may have (doc/protocol.txt).
inline constexpr std::size_t memcached_longest_key = 250;

/// Whether a part of a key may stand in one: no spaces, no control characters.
inline bool memcached_key_text(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) != 0x7F;
    });
}

/// How long an item is kept, as memcached wants to be told: up to 30 days as seconds from now, later
/// as a moment of the calendar, which it counts in 31 bits.
struct memcached_time {
    std::int64_t keep = 0;   ///< seconds
    std::int64_t token = 0;  ///< what is said; 0 would be "for ever"

    static memcached_time of(std::chrono::nanoseconds span,
                             std::chrono::system_clock::time_point wall) {
        using std::chrono::seconds;
        constexpr std::int64_t relative = std::int64_t{60} * 60 * 24 * 30;
        constexpr std::int64_t last = std::numeric_limits<std::int32_t>::max();
        const std::int64_t now =
            std::chrono::duration_cast<seconds>(wall.time_since_epoch()).count();
        memcached_time out;
        out.keep = std::max<std::int64_t>(std::chrono::ceil<seconds>(span).count(), 1);
        if (out.keep <= relative || now + relative >= last) {
            out.token = out.keep = std::min(out.keep, relative);
        } else {
            out.keep = std::min(out.keep, last - now);
            out.token = now + out.keep;
        }
        return out;
    }
};

inline std::string memcached_get(std::string_view key) {
    return fmt::format("mg {} v t f\r\n", key);
}
/// The item's whole time goes with it, so that what is left of it says how old it is.
inline std::string memcached_set(std::string_view key, std::string_view text,
                                 const memcached_time& until) {
    std::string out =
        fmt::format("ms {} {} T{} F{}\r\n", key, text.size(), until.token, until.keep);
    out.reserve(out.size() + text.size() + 2);
    return out.append(text).append("\r\n");
}
inline std::string memcached_delete(std::string_view key) { return fmt::format("md {}\r\n", key); }

}  // namespace llmkit::detail
