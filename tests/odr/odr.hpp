#pragma once

#include <array>
#include <cstddef>
#include <llmkit/llmkit.hpp>

namespace odr {

/// Sizes of types that would differ if a header meant something else in one of the units.
using sizes = std::array<std::size_t, 4>;

inline sizes measure() {
    return {sizeof(llmkit::request), sizeof(llmkit::response), sizeof(llmkit::error),
            sizeof(llmkit::event_facts)};
}

sizes with_tls();

}  // namespace odr
