// llmkit/core/reading.hpp: a number that a part of a program shows to whoever watches it.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace llmkit {

/// One figure of a part: how much there is now, or how much it has come to so far.
///
///     std::vector<llmkit::reading> readings() const {
///         return {llmkit::reading::now("connections", open_, "Open connections."),
///                 llmkit::reading::total("bytes_sent", sent_, "Bytes sent.")};
///     }
///
/// The texts are literals, or live as long as the program. A name is in snake_case and ends in its
/// unit where it has one, "_seconds" or "_bytes". `metrics::watch` shows what has `readings()`.
struct reading {
    std::string_view name;
    double value = 0;
    bool counts = false;    ///< a count since the start, which never falls; otherwise a state
    std::string_view help;  ///< a sentence

    template <class Number>
    static reading now(std::string_view name, Number value, std::string_view help) {
        return {name, static_cast<double>(value), false, help};
    }
    template <class Number>
    static reading total(std::string_view name, Number value, std::string_view help) {
        return {name, static_cast<double>(value), true, help};
    }
};
static_assert(std::is_trivially_destructible_v<reading>);

}  // namespace llmkit
