// llmkit/cache/postgres_seat.hpp: a place for a connection to PostgreSQL.
#pragma once

#include <utility>

#include <llmkit/cache/postgres_connection.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/detail/nudge.hpp>

namespace llmkit::detail {

/// A place for a connection. The lead has one always, the others while there is much to do.
struct postgres_seat {
    postgres_seat(bool first, executor where, const clock_handle& time)
        : lead(first), line(std::move(where), time, tell) {}
    const bool lead;
    nudge tell;
    postgres_connection line;
    bool idle = false;     // under the mutex: connected, and waits for jobs
    bool dormant = false;  // under the mutex: waits to be needed
    time_point opened;
    time_point not_before;  // the next attempt to connect
};

}  // namespace llmkit::detail
