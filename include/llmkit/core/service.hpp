// llmkit/core/service.hpp: the one concept everything here is built from.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// Has the clock that everything timed around it uses.
template <class S>
concept has_clock = requires(const S& s) {
    { s.clock() } -> std::convertible_to<clock_handle>;
};

/// Something that answers requests: a provider, a layer around one, a combinator, a pipeline.
///
/// The call operator may be entered by many callers at once, also from several threads. A service
/// is a handle: what its tasks and streams touch after the call lives in a shared core.
template <class S>
concept service = has_clock<S> && std::move_constructible<S> && requires(S& s, request ask) {
    { s(std::move(ask)) } -> std::same_as<task<result<response>>>;
};

/// A layer derives from this, so that `a | b` finds llmkit's operator.
struct layer_tag {};

/// A value that turns a service into a service: `layer(next)` wraps.
template <class L>
concept layer = std::derived_from<std::remove_cvref_t<L>, layer_tag>;

/// Whose answers a service gives: provider and base URL, part of every key, so that two upstreams
/// never share a cached answer. Empty when nobody said.
template <class S>
std::string origin_of(const S& from) {
    if constexpr (requires {
                      { from.origin() } -> std::convertible_to<std::string>;
                  }) {
        return from.origin();
    } else {
        return std::string();
    }
}

}  // namespace llmkit
