// llmkit/cache/memory.hpp: answers kept in this process's memory.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/reading.hpp>
#include <llmkit/detail/s3fifo.hpp>

namespace llmkit {

/// A bounded cache in memory: at most `max_entries` answers and `max_bytes` of them.
///
///     llmkit::memory_cache answers(10'000);
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///     fmt::print("{} answers kept\n", answers.stats().entries);
///
/// Keeps what is asked for again and lets one-time questions pass (S3-FIFO). A hit copies nothing.
/// A handle: copies share the store, so one may serve several pipelines. Thread-safe. An answer
/// bigger than its shard's part of `max_bytes` is refused (one shard up to 1,024 entries or 8 MiB,
/// at most 16).
class memory_cache {
public:
    static constexpr std::size_t default_max_bytes = std::size_t{256} << 20;
    /// Tags, beside the answers, some 600 bytes each. Of further ones the answers are asked for
    /// again sooner than they had to.
    static constexpr std::size_t most_tags_kept = 16'384;

    /// `max_entries` of 0 keeps nothing.
    explicit memory_cache(std::size_t max_entries, std::size_t max_bytes = default_max_bytes)
        : shared_(std::make_shared<both>(max_entries, max_bytes)) {}

    std::string_view name() const { return "memory"; }

    cache_hit try_find(key128 key, time_point now) const {
        auto found = part(key).find(key, now);
        if (!found) return {};
        return cache_hit(std::move(found), name());
    }
    bool try_put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now) const {
        if (!entry) return false;
        const std::size_t bytes = entry->weight();
        const duration left = entry->keep_until - now;
        return part(key).put(key, std::move(entry), bytes, now, left);
    }

    task<result<cache_hit>> find(key128 key, time_point now, limit) const {
        return found_now(*this, key, now);
    }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit) const {
        return put_now(*this, key, std::move(entry), now);
    }
    task<result<void>> erase(key128 key, limit) const { return erase_now(*this, key); }

    /// True when there was something to erase.
    bool try_erase(key128 key) const { return part(key).erase(key); }
    void clear() const {
        shared_->answers.clear();
        shared_->tags.clear();
    }
    /// Entries, bytes, hits, misses, evictions, expirations.
    detail::s3fifo_stats stats() const { return shared_->answers.stats(); }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        const auto now = stats();
        return {
            reading::now("entries", now.entries, "Answers kept."),
            reading::now("bytes", now.bytes, "Bytes of the answers kept."),
            reading::total("hits", now.hits, "Look-ups that found an answer."),
            reading::total("misses", now.misses, "Look-ups that found none."),
            reading::total("evictions", now.evictions, "Answers pushed out for room."),
            reading::total("expirations", now.expirations, "Answers found too old."),
            reading::total("refused", now.refused, "Answers too large to be kept."),
        };
    }

private:
    using store = detail::s3fifo<key128, cache_entry>;

    // Tags stand apart: answers that pass by once must not push them out, and all theirs with them.
    struct both {
        both(std::size_t entries, std::size_t bytes)
            : answers(entries, bytes), tags(entries == 0 ? 0 : most_tags_kept) {}
        store answers;
        store tags;
    };
    store& part(const key128& key) const {
        return is_tag_key(key) ? shared_->tags : shared_->answers;
    }

    static task<result<cache_hit>> found_now(memory_cache self, key128 key, time_point now) {
        co_return self.try_find(key, now);
    }
    static task<result<void>> put_now(memory_cache self, key128 key,
                                      std::shared_ptr<const cache_entry> entry, time_point now) {
        self.try_put(key, std::move(entry), now);
        co_return result<void>();
    }
    static task<result<void>> erase_now(memory_cache self, key128 key) {
        self.try_erase(key);
        co_return result<void>();
    }

    std::shared_ptr<both> shared_;
};

static_assert(instant_cache_backend<memory_cache>);

}  // namespace llmkit
