// llmkit/transport/warm_up.hpp: connections that are there before the first call needs one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/core/child.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/connect.hpp>
#include <llmkit/transport/hold.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// Connects a place of the pool, unless it has an idle connection, and leaves it there.
inline task<result<void>> warm_place(std::shared_ptr<const connector> with, http1_limits parsing,
                                     connection_pool::lease place, url to, exchange_limits limits) {
    auto hold = std::make_shared<connection_hold>(with->time, std::move(place));
    connection_hold::use opening(*hold);
    if (!hold->connected()) {
        hold->fill(std::make_unique<http1_connection>(with->sockets, with->time.base(), parsing));
        auto open = co_await establish(hold, std::move(with), to, limits, limit());
        if (!open) co_return open.error();
    }
    auto lease = opening.take();
    lease.connection()->used = true;  // it may be closed again by the time it is wanted
    lease.connection()->rest();
    lease.keep();
    co_return result<void>();
}

/// Connects at most `count` places of the pool at once, as many as are free; how many it came to.
/// An error when none could be connected.
inline task<result<std::size_t>> warm_up(std::shared_ptr<const connector> with,
                                         http1_limits parsing,
                                         std::shared_ptr<connection_pool> pool, url to,
                                         std::size_t count, exchange_limits limits) {
    const auto by = with->way.towards(to);
    if (!by) co_return by.error();
    // All first, then what is to be done with them: one that was idle is idle again at once.
    std::vector<connection_pool::lease> places;
    for (bool more = true; more && places.size() < count;) {
        auto place = connection_pool::acquire_now(pool, by->pool_key(to));
        more = static_cast<bool>(place);
        if (more) places.push_back(std::move(place));
    }
    std::vector<child<result<void>>> connecting;
    for (auto& place : places)
        connecting.emplace_back(with->time,
                                warm_place(with, parsing, std::move(place), to, limits));
    std::size_t ready = 0;
    std::optional<error> failed;
    for (auto& each : connecting) {
        auto done = co_await each.join();
        if (done) {
            ++ready;
        } else if (!failed) {
            failed = done.error();
        }
    }
    if (ready == 0 && failed) co_return *failed;
    co_return ready;
}

}  // namespace llmkit::detail
