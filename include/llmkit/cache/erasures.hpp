// llmkit/cache/erasures.hpp: keeps what was erased from coming back by what was under way.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
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

/// The keys that a level could not be told to erase: what it still has of them is not given.
/// Bounded: when there are too many, all that is older is no longer believed. Thread-safe.
class unerased_keys {
public:
    static constexpr std::size_t most = 4096;

    void add(const key128& key, time_point now) {
        const std::lock_guard lock(mutex_);
        if (keys_.size() >= most && keys_.count(key) == 0) {
            keys_.clear();
            all_before_ = now;
        }
        keys_[key] = now;
        any_ = true;
    }
    /// The level has erased it after all, or has a newer entry.
    void remove(const key128& key) {
        if (!any_) return;
        const std::lock_guard lock(mutex_);
        keys_.erase(key);
        any_ = !keys_.empty() || all_before_ != time_point::min();
    }
    /// Whether an entry that was stored at `stored` should have been erased.
    bool covers(const key128& key, time_point stored) const {
        if (!any_) return false;
        const std::lock_guard lock(mutex_);
        const auto at = keys_.find(key);
        return stored <= all_before_ || (at != keys_.end() && stored <= at->second);
    }

private:
    mutable std::mutex mutex_;
    std::atomic<bool> any_{false};
    std::unordered_map<key128, time_point> keys_;
    time_point all_before_ = time_point::min();
};

}  // namespace llmkit::detail
