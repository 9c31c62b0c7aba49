// llmkit/detail/s3fifo.hpp: a bounded store that keeps what is asked for again and lets scans pass.
#pragma once

#include <llmkit/detail/s3fifo_shard.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

namespace llmkit::detail {

/// A thread-safe cache store: sharded, bounded in entries and in bytes, resistant to scans.
///
///     s3fifo<key128, answer, key_hash> store(10'000, 64 << 20);
///     store.put(key, std::make_shared<const answer>(…), size, clock.now(), 10min);
///     if (auto hit = store.find(key, clock.now())) use(*hit);
///
/// Eviction is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023):
/// newcomers pass a small queue of a tenth of the room; those asked for again while there, or again
/// soon after, move to the main queue, so that a scan of one-time keys pushes out only newcomers.
///
/// A hit hands out a shared pointer: nothing is copied or allocated. Values are destroyed outside
/// the lock. The room is divided evenly among the shards, and an entry bigger than its shard's part
/// is refused. `bytes` is what the caller says an entry weighs; the store's own bookkeeping is
/// about 80 bytes an entry, and as much again for each remembered key that was let go. `Hash` need
/// not be good, it is mixed here.
template <class Key, class V, class Hash = std::hash<Key>>
class s3fifo {
public:
    using pointer = std::shared_ptr<const V>;
    using time_point = std::chrono::steady_clock::time_point;
    using nanoseconds = std::chrono::nanoseconds;

    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    /// `shards` is rounded up to a power of two; 0 chooses by size: few for a small store, because
    /// each shard judges its own part alone. `max_entries` of 0 stores nothing.
    explicit s3fifo(std::size_t max_entries, std::size_t max_bytes = unlimited,
                    std::size_t shards = 0) {
        if (shards == 0) shards = shards_for(max_entries, max_bytes);
        shards = std::bit_ceil(std::clamp<std::size_t>(shards, 1, most_shards));
        while (shards > 1 && max_entries < shards) shards /= 2;
        shift_ = 64 - std::countr_zero(shards);
        shards_.reserve(shards);
        for (std::size_t i = 0; i < shards; ++i) {
            // The remainder goes to the first shards, so that the parts sum up to the whole.
            const std::size_t entries = max_entries / shards + (i < max_entries % shards ? 1 : 0);
            const std::size_t bytes = max_bytes == unlimited
                                          ? unlimited
                                          : max_bytes / shards + (i < max_bytes % shards ? 1 : 0);
            shards_.push_back(std::make_unique<guarded>(entries, bytes));
        }
    }

    /// The value, or null. An entry is expired from the instant `stored + ttl` on, and then gone.
    pointer find(const Key& key, time_point now) {
        const std::uint64_t hash = mixed(key);
        guarded& place = shard_of(hash);
        pointer expired;  // outlives the lock
        const std::lock_guard lock(place.mutex);
        return place.shard.find(key, low_bits(hash), now, expired);
    }

    /// Stores or replaces; false when refused: null, no room for it even in an empty shard, or a
    /// `ttl` that is not positive. An older value under this key is gone in any case.
    bool put(const Key& key, pointer value, std::size_t bytes, time_point now,
             nanoseconds ttl = nanoseconds::max()) {
        const std::uint64_t hash = mixed(key);
        guarded& place = shard_of(hash);
        typename shard_type::graveyard dead;  // outlives the lock
        const bool alive = value != nullptr && ttl > nanoseconds::zero();
        const time_point expires =
            ttl < time_point::max() - std::max(now, time_point{}) ? now + ttl : time_point::max();
        const std::lock_guard lock(place.mutex);
        if (alive && place.shard.fits(bytes)) {
            place.shard.put(key, low_bits(hash), std::move(value), bytes, expires, now, dead);
            return true;
        }
        place.shard.erase(key, low_bits(hash), dead);
        place.shard.count_refusal();
        return false;
    }

    /// True when there was something to erase.
    bool erase(const Key& key) {
        const std::uint64_t hash = mixed(key);
        guarded& place = shard_of(hash);
        typename shard_type::graveyard dead;
        const std::lock_guard lock(place.mutex);
        return place.shard.erase(key, low_bits(hash), dead);
    }

    /// Empties the store; the counters go on.
    void clear() {
        for (auto& place : shards_) {
            shard_type old(0, 0);  // takes the entries out, to be destroyed outside the lock
            const std::lock_guard lock(place->mutex);
            place->shard.swap_contents(old);
        }
    }

    /// Sums over all shards, each consistent in itself.
    s3fifo_stats stats() const {
        s3fifo_stats sum;
        for (const auto& place : shards_) {
            const std::lock_guard lock(place->mutex);
            sum += place->shard.stats();
        }
        return sum;
    }

    std::size_t shard_count() const { return shards_.size(); }

private:
    using shard_type = s3fifo_shard<Key, V>;

    struct alignas(64) guarded {  // a line of its own, or neighbours' locks slow each other
        guarded(std::size_t entries, std::size_t bytes) : shard(entries, bytes) {}
        mutable std::mutex mutex;
        shard_type shard;
    };

    static constexpr std::size_t most_shards = 256;

    static std::size_t shards_for(std::size_t entries, std::size_t bytes) {
        // Below some 500 entries a shard, or when a shard holds only a few big answers, uneven
        // parts cost more hits than a shared lock costs time.
        const std::size_t worthwhile = std::bit_floor(std::clamp<std::size_t>(
            std::min(entries / 512, bytes / (std::size_t{4} << 20)), 1, 16));
        return std::max(worthwhile, entries / shard_type::most_entries + 1);
    }

    static std::uint64_t mixed(const Key& key) {
        std::uint64_t h = static_cast<std::uint64_t>(Hash{}(key)) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
        return h * 0xD6E8FEB86659FD93u;
    }
    static std::uint32_t low_bits(std::uint64_t hash) {
        return static_cast<std::uint32_t>(hash >> 16);  // away from the bits that chose the shard
    }
    guarded& shard_of(std::uint64_t hash) {
        return *shards_[shift_ == 64 ? 0 : static_cast<std::size_t>(hash >> shift_)];
    }

    std::vector<std::unique_ptr<guarded>> shards_;
    int shift_ = 64;
};

}  // namespace llmkit::detail
