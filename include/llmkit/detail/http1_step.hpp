// llmkit/detail/http1_step.hpp: what an incremental HTTP/1.1 parser says after each step.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace llmkit::detail {

enum class http1_step : unsigned char {
    need_more,  ///< all input was consumed; give more, or call `finish()` at its end
    head,       ///< start line and headers are there; comes once a message
    data,       ///< `data` holds bytes of the body
    complete,   ///< the message is over
    failed,     ///< refused; the parser's `error()` says why
};

/// One step: what came of it, and how many bytes of the input it used up.
struct http1_progress {
    http1_step step = http1_step::need_more;
    std::size_t consumed = 0;
    std::string_view data;  ///< part of the input that was given; never empty in a `data` step
};
static_assert(std::is_trivially_destructible_v<http1_progress>);

}  // namespace llmkit::detail
