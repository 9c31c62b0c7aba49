// llmkit/core/limit.hpp: how long a wait may last, and for whom it is done.
#pragma once

#include <algorithm>
#include <atomic>
#include <type_traits>

#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// One link of the chain of pipelines that a call runs under, so that closing a pipeline finds the
/// waits that are done for it. Lives as long as the call.
struct wait_owner {
    const void* scope = nullptr;
    const wait_owner* outer = nullptr;

    bool belongs_to(const void* which) const {
        for (const wait_owner* link = this; link; link = link->outer) {
            if (link->scope == which) return true;
        }
        return false;
    }
};

/// A point in time after which nobody waits any more.
///
/// Copies are cheap. A limit can only be shortened (`earliest`); the exceptions are a call that
/// several callers joined, whose limit moves later while it runs (`extended`), and a part of a call
/// that has ended (`provisional`). What was shortened stays so however far these move.
struct limit {
    using moving = std::atomic<duration::rep>;  ///< nanoseconds since the clock's epoch

    time_point until = time_point::max();
    const wait_owner* owner = nullptr;
    const moving* extended = nullptr;        ///< counts instead of `until` where it is later
    const moving* provisional = nullptr;     ///< an earlier end, which may move later
    time_point ceiling = time_point::max();  ///< never later than this

    /// The limit in force now.
    time_point effective() const {
        time_point at = until;
        if (extended) at = std::max(at, now_of(*extended));
        if (provisional) at = std::min(at, now_of(*provisional));
        return std::min(at, ceiling);
    }
    /// The same limit, but not later than `other`.
    limit earliest(time_point other) const {
        limit shorter = *this;
        if (other < effective()) {
            shorter = limit();
            shorter.until = other;
            shorter.owner = owner;
        } else if (extended || provisional) {
            shorter.ceiling = std::min(ceiling, other);
        }
        return shorter;
    }

private:
    static time_point now_of(const moving& at) {
        return time_point{duration{at.load(std::memory_order_relaxed)}};
    }
};
static_assert(std::is_trivially_destructible_v<limit>);

/// `at + span` without overflow: far future and "for ever" both end at `time_point::max()`.
constexpr time_point after(time_point at, duration span) {
    if (span > duration::zero() && at > time_point::max() - span) return time_point::max();
    return at + span;
}

}  // namespace llmkit
