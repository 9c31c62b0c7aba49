// llmkit/detail/s3fifo_shard.hpp: one shard of the S3-FIFO store, without its lock.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace llmkit::detail {

/// What a store holds now (`entries`, `bytes`) and has done since it was made (the rest).
struct s3fifo_stats {
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t evictions = 0;    ///< pushed out for room
    std::uint64_t expirations = 0;  ///< found too old
    std::uint64_t refused = 0;      ///< too big, null, or without a time to live

    s3fifo_stats& operator+=(const s3fifo_stats& other) {
        entries += other.entries;
        bytes += other.bytes;
        hits += other.hits;
        misses += other.misses;
        evictions += other.evictions;
        expirations += other.expirations;
        refused += other.refused;
        return *this;
    }
};

/// The queues and the index of one shard. Entries and ghosts (keys that were let go, remembered
/// without a value) are nodes of one slab, linked by number. The index is open addressing with
/// linear probing; a slot is four bytes, 24 of node number and 8 of hash, so that it stays in a
/// near cache and a hit waits for two far lines only: the node and the value's reference count.
///
/// Not thread-safe. Everything it drops goes to a `graveyard` that the caller empties unlocked.
template <class Key, class V>
class s3fifo_shard {
public:
    using pointer = std::shared_ptr<const V>;
    using time_point = std::chrono::steady_clock::time_point;

    /// Where dropped values lie until the lock is released.
    class graveyard {
    public:
        void bury(pointer& value) {
            if (used_ < few_.size()) {
                few_[used_++] = std::move(value);
            } else {
                many_.push_back(std::move(value));
            }
        }

    private:
        std::array<pointer, 4> few_;
        std::size_t used_ = 0;
        std::vector<pointer> many_;
    };

    /// Entries and their ghosts are numbered with 24 bits.
    static constexpr std::size_t most_entries = (std::size_t{1} << 23) - 1;

    s3fifo_shard(std::size_t max_entries, std::size_t max_bytes)
        : max_entries_(std::min(max_entries, most_entries)), max_bytes_(max_bytes) {}

    bool fits(std::size_t bytes) const { return max_entries_ > 0 && bytes <= max_bytes_; }

    pointer find(const Key& key, std::uint32_t hash, time_point now, pointer& expired) {
        const std::uint32_t at = lookup(key, hash);
        if (at == none || nodes_[at].queue == ghosts) {
            ++stats_.misses;
            return nullptr;
        }
        node& found = nodes_[at];
        if (found.expires <= now) {
            expired = std::move(found.value);
            remove(at);
            ++stats_.expirations;
            ++stats_.misses;
            return nullptr;
        }
        if (found.uses < most_uses) ++found.uses;
        ++stats_.hits;
        return found.value;
    }

    /// Precondition: `fits(bytes)`.
    void put(const Key& key, std::uint32_t hash, pointer value, std::size_t bytes,
             time_point expires, time_point now, graveyard& dead) {
        auto target = small;
        std::uint8_t uses = 0;
        if (const std::uint32_t old = lookup(key, hash); old != none) {
            // Asked for again soon after it was let go, or replaced: it keeps or earns its place.
            target = nodes_[old].queue == small ? small : main;
            uses = nodes_[old].queue == ghosts ? std::uint8_t{0} : nodes_[old].uses;
            drop(old, dead);
        }
        while (resident() + 1 > max_entries_ || bytes > max_bytes_ - resident_bytes()) {
            make_room(now, dead);
        }
        grow_index();
        const std::uint32_t at = new_node();
        node& fresh = nodes_[at];
        fresh.key = key;
        fresh.hash = hash;
        // make_shared keeps the count just before the value; elsewhere the hint is idle, not wrong.
        counts_[at] = reinterpret_cast<std::uintptr_t>(value.get()) - 16;
        fresh.value = std::move(value);
        fresh.expires = expires;
        fresh.bytes = bytes;
        fresh.uses = uses;
        link(at, target);
        enter(at);
    }

    bool erase(const Key& key, std::uint32_t hash, graveyard& dead) {
        const std::uint32_t at = lookup(key, hash);
        if (at == none || nodes_[at].queue == ghosts) return false;
        drop(at, dead);
        return true;
    }

    void count_refusal() { ++stats_.refused; }

    /// Hands the entries over to `other`, and takes its; limits and counters stay.
    void swap_contents(s3fifo_shard& other) noexcept {
        nodes_.swap(other.nodes_);
        counts_.swap(other.counts_);
        index_.swap(other.index_);
        std::swap(queues_, other.queues_);
        std::swap(free_, other.free_);
        std::swap(used_slots_, other.used_slots_);
    }

    s3fifo_stats stats() const {
        s3fifo_stats now = stats_;
        now.entries = resident();
        now.bytes = resident_bytes();
        return now;
    }

private:
    enum queue_id : std::uint8_t { small, main, ghosts, nowhere };

    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
    static constexpr std::uint32_t hash_bits = 0xFF000000u;
    static constexpr std::uint8_t most_uses = 3;     // two bits, as in the paper
    static constexpr std::uint8_t uses_to_stay = 2;  // to leave the small queue for the main one

    struct alignas(64) node {  // one cache line for a 16-byte key
        Key key{};
        pointer value;
        time_point expires{};
        std::size_t bytes = 0;
        std::uint32_t newer = none;
        std::uint32_t older = none;
        std::uint32_t hash = 0;
        std::uint8_t uses = 0;
        queue_id queue = nowhere;
    };
    struct fifo {
        std::uint32_t newest = none;
        std::uint32_t oldest = none;
        std::size_t count = 0;
        std::size_t bytes = 0;
    };

    std::size_t resident() const { return queues_[small].count + queues_[main].count; }
    std::size_t resident_bytes() const { return queues_[small].bytes + queues_[main].bytes; }

    // --- eviction

    void make_room(time_point now, graveyard& dead) {
        const fifo& newcomers = queues_[small];
        const bool crowded = newcomers.count >= std::max<std::size_t>(max_entries_ / 10, 1) ||
                             newcomers.bytes >= std::max<std::size_t>(max_bytes_ / 10, 1);
        if (newcomers.count > 0 && (crowded || queues_[main].count == 0)) {
            leave_small(newcomers.oldest, now, dead);
        } else {
            leave_main(queues_[main].oldest, now, dead);
        }
    }

    void leave_small(std::uint32_t at, time_point now, graveyard& dead) {
        node& oldest = nodes_[at];
        if (oldest.expires <= now) return expire(at, dead);
        if (oldest.uses >= uses_to_stay) {
            unlink(at);
            oldest.uses = 0;
            link(at, main);
            return;
        }
        dead.bury(oldest.value);
        ++stats_.evictions;
        unlink(at);
        link(at, ghosts);
        // As many ghosts as there is room for entries; where bytes are the limit, as many as fit
        // there now.
        const std::size_t most = std::max<std::size_t>(resident(), 1);
        while (queues_[ghosts].count > most) remove(queues_[ghosts].oldest);
    }

    void leave_main(std::uint32_t at, time_point now, graveyard& dead) {
        node& oldest = nodes_[at];
        if (oldest.expires <= now) return expire(at, dead);
        if (oldest.uses > 0) {
            unlink(at);
            --oldest.uses;
            link(at, main);
            return;
        }
        drop(at, dead);
        ++stats_.evictions;
    }

    void expire(std::uint32_t at, graveyard& dead) {
        drop(at, dead);
        ++stats_.expirations;
    }

    void drop(std::uint32_t at, graveyard& dead) {
        if (nodes_[at].value) dead.bury(nodes_[at].value);
        remove(at);
    }

    // --- queues

    void link(std::uint32_t at, queue_id id) {
        fifo& queue = queues_[id];
        node& it = nodes_[at];
        it.queue = id;
        it.newer = none;
        it.older = queue.newest;
        if (queue.newest != none) nodes_[queue.newest].newer = at;
        queue.newest = at;
        if (queue.oldest == none) queue.oldest = at;
        ++queue.count;
        queue.bytes += it.bytes;
    }

    void unlink(std::uint32_t at) {
        node& it = nodes_[at];
        fifo& queue = queues_[it.queue];
        (it.newer != none ? nodes_[it.newer].older : queue.newest) = it.older;
        (it.older != none ? nodes_[it.older].newer : queue.oldest) = it.newer;
        --queue.count;
        queue.bytes -= it.bytes;
    }

    // --- nodes and index

    std::uint32_t new_node() {
        if (free_ != none) return std::exchange(free_, nodes_[free_].older);
        nodes_.emplace_back();
        counts_.resize(nodes_.size());
        return static_cast<std::uint32_t>(nodes_.size() - 1);
    }

    void remove(std::uint32_t at) {
        unlink(at);
        leave_index(at);
        node& it = nodes_[at];
        it.queue = nowhere;
        it.older = free_;
        free_ = at;
    }

    static std::uint32_t slot_of(std::uint32_t at, std::uint32_t hash) {
        return (hash & hash_bits) | at;
    }

    std::uint32_t lookup(const Key& key, std::uint32_t hash) const {
        if (index_.empty()) return none;
        const std::size_t mask = index_.size() - 1;
        for (std::size_t i = hash & mask; index_[i] != none; i = (i + 1) & mask) {
            if (((index_[i] ^ hash) & hash_bits) != 0) continue;
            const std::uint32_t at = index_[i] & ~hash_bits;
            // Fetch the reference count while the node itself is on its way: a fifth off a hit.
            __builtin_prefetch(reinterpret_cast<const void*>(counts_[at]), 1);
            if (nodes_[at].key == key) return at;
        }
        return none;
    }

    void enter(std::uint32_t at) {
        const std::size_t mask = index_.size() - 1;
        std::size_t i = nodes_[at].hash & mask;
        while (index_[i] != none) i = (i + 1) & mask;
        index_[i] = slot_of(at, nodes_[at].hash);
        ++used_slots_;
    }

    void leave_index(std::uint32_t at) {
        const std::size_t mask = index_.size() - 1;
        const std::uint32_t slot = slot_of(at, nodes_[at].hash);
        std::size_t hole = nodes_[at].hash & mask;
        while (index_[hole] != slot) hole = (hole + 1) & mask;
        // Move later members of the run back, or they could no longer be found.
        for (std::size_t i = (hole + 1) & mask; index_[i] != none; i = (i + 1) & mask) {
            const std::size_t home = nodes_[index_[i] & ~hash_bits].hash & mask;
            if (((i - home) & mask) >= ((i - hole) & mask)) {
                index_[hole] = index_[i];
                hole = i;
            }
        }
        index_[hole] = none;
        --used_slots_;
    }

    void grow_index() {  // at most five eighths full
        if ((used_slots_ + 1) * 8 <= index_.size() * 5) return;
        std::vector<std::uint32_t> bigger(std::max<std::size_t>(index_.size() * 2, 16), none);
        const std::size_t mask = bigger.size() - 1;
        for (const std::uint32_t old : index_) {
            if (old == none) continue;
            std::size_t i = nodes_[old & ~hash_bits].hash & mask;
            while (bigger[i] != none) i = (i + 1) & mask;
            bigger[i] = old;
        }
        index_.swap(bigger);
    }

    std::vector<node> nodes_;
    std::vector<std::uintptr_t> counts_;  // by node: where its value's reference count lies
    std::vector<std::uint32_t> index_;
    std::array<fifo, 3> queues_;
    std::uint32_t free_ = none;
    std::size_t used_slots_ = 0;
    std::size_t max_entries_;
    std::size_t max_bytes_;
    s3fifo_stats stats_;
};

}  // namespace llmkit::detail
