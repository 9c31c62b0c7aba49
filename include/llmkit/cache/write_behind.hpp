// llmkit/cache/write_behind.hpp: what waits to be written into slower levels of a tiered cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <llmkit/cache/entry.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit {

/// How much may wait to be written behind the calls. What was put first is dropped when there is
/// no room.
struct write_behind_policy {
    std::size_t max_entries = 1024;
    std::size_t max_bytes = std::size_t{16} << 20;
    std::size_t writers = 8;  ///< entries that are written at the same time
};
static_assert(std::is_trivially_destructible_v<write_behind_policy>);

namespace detail {

/// Some of the levels of a tiered cache, as bits.
using level_set = std::uint32_t;

/// One entry and the levels it is to be written into.
struct pending_write {
    pending_write() {}

    key128 key;
    std::shared_ptr<const cache_entry> entry;
    level_set levels = 0;
    std::size_t bytes = 0;
    std::uint64_t mark = 0;  // of the key, when this was put (`erase_marks`)
    bool forgotten = false;  // erased while it was being written
};

/// The queue alone: who writes, and when, is left to others. Guarded by its owner's mutex. Entries
/// that it lets go of go into `gone`, to be destroyed after unlocking.
class pending_writes {
public:
    using entries = std::vector<std::shared_ptr<const cache_entry>>;

    void set(write_behind_policy policy) { policy_ = policy; }
    const write_behind_policy& policy() const { return policy_; }

    bool idle() const { return waiting_.empty() && writing_.empty(); }
    std::size_t waiting() const { return waiting_.size(); }
    /// Of what waits and what is being written.
    std::size_t bytes() const { return bytes_; }
    std::uint64_t dropped() const { return dropped_; }

    /// A further entry for a key that waits already is written with it, the newer one of both.
    void add(pending_write fresh, entries& gone) {
        const auto known = by_key_.find(fresh.key);
        if (known != by_key_.end()) {
            pending_write& kept = *known->second;
            kept.levels |= fresh.levels;
            if (fresh.entry->stored_at < kept.entry->stored_at) return gone.push_back(fresh.entry);
            bytes_ += fresh.bytes;
            bytes_ -= std::exchange(kept.bytes, fresh.bytes);
            kept.mark = fresh.mark;
            gone.push_back(std::exchange(kept.entry, std::move(fresh.entry)));
        } else {
            bytes_ += fresh.bytes;
            waiting_.push_back(std::move(fresh));
            by_key_[waiting_.back().key] = std::prev(waiting_.end());
        }
        while (waiting_.size() > policy_.max_entries ||
               (bytes_ > policy_.max_bytes && !waiting_.empty())) {
            drop_first(gone);
        }
    }

    /// The oldest write whose key is not being written already; it counts until `done`.
    std::optional<pending_write> take() {
        for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
            if (in_writing(at->key)) continue;
            writing_.push_back(*at);
            by_key_.erase(at->key);
            waiting_.erase(at);
            return writing_.back();
        }
        return std::nullopt;
    }
    void done(const key128& key, entries& gone) {
        const auto at = std::find_if(writing_.begin(), writing_.end(),
                                     [&](const pending_write& each) { return each.key == key; });
        if (at == writing_.end()) return;
        bytes_ -= at->bytes;
        gone.push_back(std::move(at->entry));
        writing_.erase(at);
    }

    /// The newest entry that waits or is being written; null when there is none.
    const pending_write* find(const key128& key) const {
        const auto at = by_key_.find(key);
        if (at != by_key_.end()) return &*at->second;
        for (const pending_write& each : writing_) {
            if (each.key == key && !each.forgotten) return &each;
        }
        return nullptr;
    }
    /// Takes out what waits under this key, and finds what is being written no more.
    void forget(const key128& key, entries& gone) {
        for (pending_write& each : writing_) {
            if (each.key == key) each.forgotten = true;
        }
        const auto at = by_key_.find(key);
        if (at != by_key_.end()) take_out(at->second, gone);
    }
    void drop_all(entries& gone) {
        while (!waiting_.empty()) drop_first(gone);
    }

private:
    using place = std::list<pending_write>::iterator;

    bool in_writing(const key128& key) const {
        return std::any_of(writing_.begin(), writing_.end(),
                           [&](const pending_write& each) { return each.key == key; });
    }
    void drop_first(entries& gone) {
        ++dropped_;
        take_out(waiting_.begin(), gone);
    }
    void take_out(place at, entries& gone) {
        bytes_ -= at->bytes;
        gone.push_back(std::move(at->entry));
        by_key_.erase(at->key);
        waiting_.erase(at);
    }

    write_behind_policy policy_;
    std::list<pending_write> waiting_;
    std::unordered_map<key128, place> by_key_;
    std::vector<pending_write> writing_;
    std::size_t bytes_ = 0;
    std::uint64_t dropped_ = 0;
};

}  // namespace detail

}  // namespace llmkit
