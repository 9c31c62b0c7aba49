// llmkit/detail/reply_step.hpp: what a parser of a store's replies says after each step.
#pragma once

#include <cstdint>

namespace llmkit::detail {

enum class reply_step : std::uint8_t {
    more,    ///< all input was taken; give more
    reply,   ///< a whole reply: the answer to the oldest command that has none
    aside,   ///< something that the store said unasked, and that answers no command
    broken,  ///< this is not the protocol, or over a limit; nothing more can be read
};

}  // namespace llmkit::detail
