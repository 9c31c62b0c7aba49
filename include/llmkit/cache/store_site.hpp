// llmkit/cache/store_site.hpp: what all connections to one server of a store have in common.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/cache/store_address.hpp>
#include <llmkit/cache/store_policy.hpp>
#include <llmkit/core/error.hpp>

namespace llmkit::detail {

/// What became of commands, counted from any thread.
struct store_counts {
    std::atomic<std::size_t> connections{0};
    std::atomic<std::size_t> waiting{0};
    std::atomic<std::uint64_t> commands{0};
    std::atomic<std::uint64_t> replies{0};
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> given_up{0};
    std::atomic<std::uint64_t> connected{0};
    std::atomic<std::uint64_t> unreached{0};
    std::atomic<std::uint64_t> lost{0};
    std::atomic<std::uint64_t> bytes_sent{0};
    std::atomic<std::uint64_t> bytes_received{0};
    std::atomic<duration::rep> reply_time{0};

    store_figures figures() const {
        store_figures now;
        now.connections = connections;
        now.waiting = waiting;
        now.commands = commands;
        now.replies = replies;
        now.failures = failures;
        now.given_up = given_up;
        now.connected = connected;
        now.unreached = unreached;
        now.lost = lost;
        now.bytes_sent = bytes_sent;
        now.bytes_received = bytes_received;
        now.reply_time = duration(reply_time);
        return now;
    }
};

/// What is said first on every new connection. A server that accepts connections and answers
/// nothing counts as down, so say something.
template <class Reply>
struct store_greeting {
    std::string text;         ///< the commands
    std::size_t replies = 0;  ///< how many they are
    /// Why a reply to one of them makes the connection useless; nothing: it does not.
    std::function<std::optional<error>(const Reply&)> judge;
};

/// A server, the language it speaks, and how far one may go with it. `Parser` reads replies as they
/// come (`reply`, `feed`, `next` and `problem`, as detail/resp_parser.hpp has them) and is copied for
/// each connection.
template <class Parser>
struct store_site {
    store_site(store_address at, const store_policy& within,
               store_greeting<typename Parser::reply> first, Parser language)
        : where(std::move(at)),
          policy(within),
          greeting(std::move(first)),
          parser(std::move(language)) {}

    const store_address where;
    const store_policy policy;
    const store_greeting<typename Parser::reply> greeting;
    const Parser parser;
    mutable store_counts counts;
};

}  // namespace llmkit::detail
