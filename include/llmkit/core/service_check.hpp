// llmkit/core/service_check.hpp: says in words why something is not a service or a layer.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <llmkit/core/service.hpp>

namespace llmkit {

template <class S>
class pipeline;

namespace detail {

template <class>
inline constexpr bool is_pipeline = false;
template <class S>
inline constexpr bool is_pipeline<pipeline<S>> = true;

template <class>
inline constexpr bool never = false;

template <class S>
concept takes_request = requires(S& s, request ask) { s(std::move(ask)); };
/// Compiles when `S` is a service; otherwise the first error says what is missing.
template <class S>
consteval void check_service() {
    if constexpr (!service<S>) {
        static_assert(!std::is_function_v<std::remove_pointer_t<S>>,
                      "llmkit: this is a function, not a service: call it to make one, "
                      "as in pipeline(openai(http)).");
        static_assert(std::is_class_v<S> || std::is_function_v<std::remove_pointer_t<S>>,
                      "llmkit: pipeline(...) takes a service, such as openai(http) or another "
                      "pipeline.");
        static_assert(!std::is_class_v<S> || !layer<S>,
                      "llmkit: this is a layer, not a service: layers stand to the right of a "
                      "pipeline, as in pipeline(provider) | retry().");
        if constexpr (std::is_class_v<S> && !layer<S>) {
            static_assert(std::move_constructible<S>, "llmkit: a service must be movable.");
            static_assert(takes_request<S>,
                          "llmkit: a service must be callable with an llmkit::request (not const, "
                          "by value).");
            if constexpr (takes_request<S>) {
                using returned = decltype(std::declval<S&>()(std::declval<request>()));
                static_assert(std::same_as<returned, task<result<response>>>,
                              "llmkit: a service's call must return "
                              "llmkit::task<llmkit::result<llmkit::response>>.");
            }
            static_assert(has_clock<S>,
                          "llmkit: a service must have clock() const; a layer passes on that of "
                          "the service it wraps.");
        }
    }
}

/// Compiles when `R` stands well to the right of a pipeline of `S`.
template <class R, class S>
consteval void check_layer() {
    using L = std::remove_cvref_t<R>;
    static_assert(!std::is_function_v<std::remove_pointer_t<L>>,
                  "llmkit: this is a function, not a layer: did you forget the parentheses? "
                  "Write retry() for retry.");
    static_assert(!is_pipeline<L>,
                  "llmkit: a pipeline cannot stand to the right of |: only layers can.");
    if constexpr (!std::is_function_v<std::remove_pointer_t<L>> && !is_pipeline<L>) {
        static_assert(std::is_class_v<L>,
                      "llmkit: what stands to the right of | must be a layer, such as retry().");
        if constexpr (std::is_class_v<L>) {
            constexpr bool service_itself = service<L>;
            static_assert(!service_itself,
                          "llmkit: a service cannot stand to the right of |: only layers can. "
                          "Start with it: pipeline(service) | ...");
            if constexpr (!service_itself) {
                static_assert(std::invocable<const L&, S>,
                              "llmkit: this is not a layer: it must be callable, const, with the "
                              "service that it wraps.");
                if constexpr (std::invocable<const L&, S>) {
                    check_service<std::invoke_result_t<const L&, S>>();
                }
            }
        }
    }
}

}  // namespace detail
}  // namespace llmkit
