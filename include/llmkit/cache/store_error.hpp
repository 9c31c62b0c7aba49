// llmkit/cache/store_error.hpp: what can go wrong between us and a store, in words.
#pragma once

#include <string>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/timed_out.hpp>

namespace llmkit::detail {

inline error store_closed() { return error(error_kind::closed, "the store was closed"); }
inline error store_full(const std::string& name) {
    return error(error_kind::refused, "too many commands wait for " + name)
        .with_advice("Send less at once, or raise the store's max_commands or max_bytes.");
}
inline error store_late(const std::string& name) {
    return error(error_kind::timeout, "no reply in time from " + name);
}
inline error store_silent(const std::string& name, duration silence) {
    return error(error_kind::timeout,
                 fmt::format("{} did not answer for {}", name, llmkit::in_words(silence)))
        .with_advice("Check that the store is not stopped or overloaded.");
}
/// `asio::error::invalid_argument`: it said what its protocol does not allow.
inline error store_lost(const std::string& name, const std::error_code& failed,
                        std::string_view problem) {
    if (failed == asio::error::invalid_argument)
        return error(error_kind::protocol,
                     fmt::format("{} says what its protocol does not allow ({})", name,
                                 problem.empty() ? "a reply that nobody asked for" : problem))
            .with_advice("Check that the address is that of such a store.");
    return error(
        error_kind::connection_lost,
        fmt::format("the connection to {} ended ({})", name,
                    failed == asio::error::eof ? "closed by the store" : failed.message()));
}

}  // namespace llmkit::detail
