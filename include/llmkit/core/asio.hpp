// llmkit/core/asio.hpp: the one header that knows which Asio it stands on.
#pragma once

#ifndef ASIO_STANDALONE
#define ASIO_STANDALONE 1
#endif
#ifndef ASIO_NO_DEPRECATED
#define ASIO_NO_DEPRECATED 1
#endif

#include <asio/version.hpp>

#if ASIO_VERSION < 102201
#error "llmkit: Asio 1.22.1 or newer is needed (Debian 12: apt-get install libasio-dev)."
#endif
#if defined(__clang__) && ASIO_VERSION < 102400 && !defined(ASIO_HAS_CO_AWAIT)
#error \
    "llmkit: this Asio does not see Clang's coroutines. Add -DASIO_HAS_CO_AWAIT=1 (the CMake target llmkit::llmkit does)."
#endif

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_state.hpp>
#include <asio/co_spawn.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#ifndef ASIO_HAS_CO_AWAIT
#error \
    "llmkit: Asio was built without coroutines. Compile with -std=c++20 (g++ 12 or newer, clang 19 or newer)."
#endif

// g++ 12 takes a coroutine frame's own operator delete for a mismatch once it has inlined the rest.
// The warning carries the position of the end of the file, so it cannot be switched off by scope.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace llmkit {

namespace asio = ::asio;

/// Work that has not begun yet: lazy, cancellable, run on the executor of whoever awaits it.
///
///     llmkit::task<int> twice(int n) { co_return 2 * n; }
///     int four = co_await twice(2);
///
/// A task is Asio's own `awaitable`, so `co_spawn`, `&&`, `||` and every completion token work with
/// it. Take parameters by value: the body runs after the call expression has ended.
template <class T>
using task = asio::awaitable<T>;

/// Any place where handlers run: an io_context's executor, a strand, a simulation's world.
using executor = asio::any_io_executor;

/// The one exception that passes through layers: the caller cancelled.
[[noreturn]] inline void throw_cancelled() {
    throw asio::system_error(asio::error::operation_aborted);
}

/// True for the exception that `throw_cancelled` and Asio's own operations raise on cancellation.
inline bool is_cancellation(const asio::system_error& failure) {
    return failure.code() == asio::error::operation_aborted;
}

}  // namespace llmkit
