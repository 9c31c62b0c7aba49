// llmkit/cache/erasures.hpp: keeps what was erased from coming back by what was under way.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>

#include <llmkit/core/key.hpp>
#include <llmkit/core/limit.hpp>

namespace llmkit::detail {

/// Tells who carries an entry from one level to another whether its key was erased meanwhile. Now
/// and then it says so without reason, because keys share their marks: then a write is taken back
/// that need not be. Thread-safe.
class erase_marks {
public:
    std::uint64_t of(const key128& key) const { return mark(key).load(); }
    void erased(const key128& key) { mark(key).fetch_add(1); }

private:
    static constexpr std::size_t count = 1024;
    std::atomic<std::uint64_t>& mark(const key128& key) { return marks_[key.low % count]; }
    const std::atomic<std::uint64_t>& mark(const key128& key) const {
        return marks_[key.low % count];
    }

    std::array<std::atomic<std::uint64_t>, count> marks_{};
};

/// The keys that were erased of late: what was stored before is not given, whoever still has it: a
/// level that failed to erase it, or one in which a write arrived late. Bounded: the oldest are
/// forgotten first; of those that perhaps are not gone it is remembered that nothing older may be
/// believed. Thread-safe.
class erased_keys {
public:
    static constexpr std::size_t most = 4096;

    /// `gone`: no level has it any more.
    void add(const key128& key, time_point now, bool gone) {
        const std::lock_guard lock(mutex_);
        const auto [place, fresh] = keys_.try_emplace(key);
        place->second = {now, gone};
        any_ = true;
        if (!fresh) return;
        order_.push_back(key);
        if (order_.size() <= most) return;
        const auto oldest = keys_.find(order_.front());
        if (!oldest->second.gone) all_before_ = std::max(all_before_, oldest->second.when);
        keys_.erase(oldest);
        order_.pop_front();
    }
    /// Whether an entry that was stored at `stored` has been erased.
    bool covers(const key128& key, time_point stored) const {
        if (!any_) return false;
        const std::lock_guard lock(mutex_);
        const auto at = keys_.find(key);
        return stored < all_before_ || (at != keys_.end() && at->second.covers(stored));
    }

private:
    struct erasure {
        time_point when;
        bool gone = false;
        // Virtual time may stand still between the two.
        bool covers(time_point stored) const { return gone ? stored < when : stored <= when; }
    };

    mutable std::mutex mutex_;
    std::atomic<bool> any_{false};
    std::unordered_map<key128, erasure> keys_;
    std::deque<key128> order_;
    time_point all_before_ = time_point::min();
};

}  // namespace llmkit::detail
