// llmkit/cache/store_greet.hpp: a new connection to a store, and the first words on it.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <llmkit/cache/store_dial.hpp>
#include <llmkit/cache/store_error.hpp>
#include <llmkit/cache/store_site.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/reply_step.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// Says the greeting and reads its replies. The caller keeps both; whoever cuts the line ends it.
template <class Parser>
task<result<void>> greet_store(const store_site<Parser>& to, wire& line, Parser& parser) {
    const std::string name = to.where.name();
    outgoing what{asio::buffer(to.greeting.text), asio::const_buffer()};
    std::error_code failed;
    sent how = line.try_write(what);
    while (how == sent::later && !failed) {
        failed = co_await line.wait(asio::socket_base::wait_write);
        how = line.try_write(what);
    }
    std::array<char, 1024> room;
    typename Parser::reply reply;
    std::size_t left = to.greeting.replies;
    while (left > 0) {
        if (!failed) {
            const std::size_t count = co_await line.read_some(asio::buffer(room), failed);
            parser.feed({room.data(), count});
        }
        if (failed == asio::error::operation_aborted) throw_cancelled();
        if (failed) co_return store_lost(name, failed, {});
        for (bool more = true; more;) {
            switch (parser.next(reply)) {
                case reply_step::more:
                    more = false;
                    break;
                case reply_step::aside:
                    break;
                case reply_step::broken:
                    failed = asio::error::invalid_argument;
                    break;
                case reply_step::reply: {
                    if (left == 0) failed = asio::error::invalid_argument;
                    auto refused = to.greeting.judge(reply);
                    if (refused) co_return *refused;
                    if (left > 0) --left;
                }
            }
            if (failed) co_return store_lost(name, failed, parser.problem());
        }
    }
    co_return result<void>();
}

/// Cuts a connection at a limit.
struct cut_line {
    std::weak_ptr<wire> line;
    void operator()(expiry) const {
        if (const auto one = line.lock()) one->cut();
    }
};

/// Connects `line` and greets, within the policy's limit. The caller keeps `to` and `parser`.
template <class Parser>
task<result<void>> meet_store(std::shared_ptr<const store_network> net,
                              const store_site<Parser>& to, std::shared_ptr<wire> line,
                              Parser& parser) {
    limit until;
    until.until = after(net->time.now(), to.policy.connect);
    const cutoff<cut_line> patience(net->time, until, cut_line{line});
    auto met = co_await open_store(net, to.where, line, until);
    if (met) met = co_await greet_store(to, *line, parser);
    // Cut or not, whoever was late is told so.
    if (!met && net->time.now() >= until.until)
        met =
            error(error_kind::timeout, fmt::format("no connection to {} within {}", to.where.name(),
                                                   llmkit::in_words(to.policy.connect)))
                .with_advice("Check that the store runs and answers.");
    co_return met;
}

}  // namespace llmkit::detail
