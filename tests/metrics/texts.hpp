// What the tests of exported figures share: looking for parts of a text.
#pragma once

#include <initializer_list>
#include <string_view>

#include "test.hpp"

namespace metrics_test {

inline bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}
inline void check_has(std::string_view text, std::initializer_list<std::string_view> parts) {
    INFO(text);
    for (const std::string_view part : parts) {
        INFO("looked for: " << part);
        CHECK(has(text, part));
    }
}

}  // namespace metrics_test
