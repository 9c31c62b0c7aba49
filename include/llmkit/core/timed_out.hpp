// llmkit/core/timed_out.hpp: the errors of waits that ended before what was waited for.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include <llmkit/core/error.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit {

/// A span for people: "30 s", "1.5 s", "250 ms", "40 us".
inline std::string in_words(duration span) {
    const double seconds = std::chrono::duration<double>(span).count();
    if (seconds >= 1 || seconds <= 0) return fmt::format("{:.4g} s", seconds);
    if (seconds >= 1e-3) return fmt::format("{:.4g} ms", seconds * 1e3);
    return fmt::format("{:.4g} us", seconds * 1e6);
}

/// The error of a limit of ours that passed: which one, and how long it was.
///
///     timed_out("first event", 5s);   // timeout: no first event within 5 s. …
///
/// Names in use: "connection", "first event", "further event", "complete answer".
inline error timed_out(std::string_view missing, duration span) {
    return error(error_kind::timeout, fmt::format("no {} within {}", missing, in_words(span)));
}

/// The error of a wait that ended because its pipeline was closed.
inline error closed_meanwhile() {
    return error(error_kind::closed, "the pipeline was closed during this call");
}

}  // namespace llmkit
