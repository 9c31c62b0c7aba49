// llmkit/detail/valued.hpp: `void` as a value, so that one template serves both.
#pragma once

#include <type_traits>
#include <utility>

#include <llmkit/core/asio.hpp>

namespace llmkit::detail {

class nothing {};
inline task<nothing> valued(task<void> work) {
    co_await std::move(work);
    co_return nothing();
}
template <class T>
task<T> valued(task<T> work) {
    return work;
}
template <class T>
using value_of = std::conditional_t<std::is_void_v<T>, nothing, T>;

}  // namespace llmkit::detail
