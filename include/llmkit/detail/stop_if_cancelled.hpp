// llmkit/detail/stop_if_cancelled.hpp: tells a caller's cancellation from a store's own.
#pragma once

#include <llmkit/core/asio.hpp>

namespace llmkit::detail {

/// Throws if the caller has cancelled. A store may throw `operation_aborted` for reasons of its
/// own; only the caller's counts.
inline task<void> stop_if_cancelled() {
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
}

}  // namespace llmkit::detail
