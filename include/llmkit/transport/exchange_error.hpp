// llmkit/transport/exchange_error.hpp: what ended an exchange, in words.
#pragma once

#include <string>
#include <system_error>

#include <fmt/format.h>
#include <asio/error.hpp>

#include <llmkit/core/error.hpp>
#include <llmkit/detail/http1_error.hpp>
#include <llmkit/transport/hold.hpp>

namespace llmkit::detail {

/// The limits of one exchange as they are in force: the request's, at most the policy's.
struct exchange_limits {
    duration connect = duration::max();
    duration first_event = duration::max();
    duration idle = duration::max();
    std::uint64_t max_body = 0;
};

inline std::string in_words(duration span) {
    using seconds = std::chrono::duration<double>;
    const double count = std::chrono::duration_cast<seconds>(span).count();
    return count < 1 ? fmt::format("{:g} ms", count * 1000) : fmt::format("{:g} s", count);
}

/// The error for a limit that passed while `doing` something.
inline error cut_error(cut_why why, const exchange_limits& limits, std::string_view doing) {
    const auto timeout = [](std::string text, const char* code) {
        return error(error_kind::timeout, std::move(text)).with_code(code);
    };
    switch (why) {
        case cut_why::connect:
            return timeout(
                fmt::format("no connection within {} (while {})", in_words(limits.connect), doing),
                "connect_limit");
        case cut_why::first_event:
            return timeout(
                fmt::format("no answer within {} of sending", in_words(limits.first_event)),
                "first_event_limit");
        case cut_why::idle:
            return timeout(fmt::format("nothing more came for {}", in_words(limits.idle)),
                           "idle_limit");
        case cut_why::closed:
            return error(error_kind::closed,
                         fmt::format("the pipeline was closed while {}", doing));
        case cut_why::none:
        case cut_why::total:
            break;
    }
    return timeout(fmt::format("the time for the whole call ran out while {}", doing),
                   "total_limit");
}

/// The error for an answer that is not what HTTP allows.
inline error parse_error(http1_error why) {
    switch (why) {
        case http1_error::line_too_long:
        case http1_error::head_too_large:
        case http1_error::too_many_fields:
        case http1_error::extensions_too_large:
        case http1_error::trailers_too_large:
        case http1_error::body_too_large:
            return error(error_kind::too_large, std::string(describe(why)));
        case http1_error::truncated:
            return error(error_kind::truncated, std::string(describe(why)));
        default:
            return error(error_kind::protocol, std::string(describe(why)));
    }
}

inline error body_too_large(std::uint64_t limit) {
    return error(error_kind::too_large,
                 fmt::format("the answer's body is larger than the limit of {} bytes", limit))
        .with_advice("Raise http_policy::max_body or the request's max_body if this is expected.");
}

/// The error for a connection that ended by itself; `started` when a part of the answer came.
inline error lost_error(const std::error_code& failed, bool started) {
    if (failed == asio::error::bad_descriptor)
        return error(error_kind::closed, "the io_context has ended");
    const bool quietly = failed == asio::error::eof;
    if (started && failed != asio::error::connection_reset)
        return parse_error(http1_error::truncated);
    return error(error_kind::connection_lost,
                 fmt::format("the server closed the connection {}{}",
                             started ? "in the middle of its answer" : "without an answer",
                             quietly ? std::string() : " (" + failed.message() + ")"));
}

}  // namespace llmkit::detail
