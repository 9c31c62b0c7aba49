// llmkit/cache/store_outage.hpp: when a store that could not be reached is tried again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include <llmkit/cache/store_policy.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/detail/random_source.hpp>

namespace llmkit::detail {

/// Decides who may try a server that failed, and when. Guarded by its owner.
class store_outage {
public:
    store_outage(const store_policy& rule, std::uint64_t seed)
        : first_(rule.retry_first), most_(rule.retry_most), chance_(seed) {}

    /// The server failed (again). Nobody tries it for a while, each time for longer.
    void failed(error why, time_point now) {
        duration pause = first_;
        for (int i = 0; i < failures_ && pause < most_; ++i)
            pause += std::min(pause, most_ - pause);
        pause = std::min(pause, most_);
        if (pause > duration::zero())
            pause -= duration(static_cast<duration::rep>(
                chance_() % (static_cast<std::uint64_t>(pause.count()) / 2 + 1)));
        failures_ = std::min(failures_ + 1, 62);
        retry_at_ = after(now, pause);
        why_ = std::move(why);
    }
    void over() { failures_ = 0; }

    /// Whether a command must fail at once, with `why`. `trying`: somebody is finding out already.
    bool holds(time_point now, bool trying) const {
        return failures_ > 0 && (trying || now < retry_at_);
    }
    const error& why() const { return why_; }
    time_point retry_at() const { return retry_at_; }

private:
    duration first_;
    duration most_;
    random_source chance_;
    int failures_ = 0;
    time_point retry_at_;
    error why_;
};

}  // namespace llmkit::detail
