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
/// Copies are cheap. A limit can only be shortened (`earliest`); the one exception is a call that
/// several callers joined, whose limit moves later while it runs (`extended`).
struct limit {
    time_point until = time_point::max();
    const wait_owner* owner = nullptr;
    const std::atomic<duration::rep>* extended = nullptr;  ///< nanoseconds since the clock's epoch

    /// The limit in force now.
    time_point effective() const {
        if (!extended) return until;
        const time_point later{duration{extended->load(std::memory_order_relaxed)}};
        return std::max(until, later);
    }
    /// The same limit, but not later than `other`.
    limit earliest(time_point other) const {
        limit shorter = *this;
        if (other < effective()) {
            shorter.until = other;
            shorter.extended = nullptr;
        }
        return shorter;
    }
};
static_assert(std::is_trivially_destructible_v<limit>);

/// `at + span` without overflow: far future and "for ever" both end at `time_point::max()`.
constexpr time_point after(time_point at, duration span) {
    if (span > duration::zero() && at > time_point::max() - span) return time_point::max();
    return at + span;
}

}  // namespace llmkit
