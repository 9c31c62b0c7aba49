// llmkit/cache/backend.hpp: what a store must do to serve as a cache.
#pragma once

#include <concepts>
#include <memory>
#include <string_view>
#include <utility>

#include <llmkit/cache/entry.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// What a store found: an entry and the name of the level that had it, or nothing.
class cache_hit {
public:
    cache_hit() = default;
    cache_hit(std::shared_ptr<const cache_entry> found, std::string_view level)
        : entry_(std::move(found)), level_(level) {}

    explicit operator bool() const { return entry_ != nullptr; }
    const std::shared_ptr<const cache_entry>& entry() const { return entry_; }
    /// "memory", "redis": lives as long as the program, because answers carry it.
    std::string_view level() const { return level_; }
    /// An answer is fresher than none.
    bool fresher_than(const cache_hit& other) const {
        return entry_ && (!other.entry_ || entry_->fresh_until > other.entry_->fresh_until);
    }

private:
    std::shared_ptr<const cache_entry> entry_;
    std::string_view level_;
};

/// A store of answers: a copyable, thread-safe handle; copies share what is stored.
///
///     class my_store {
///     public:
///         std::string_view name() const;
///         task<result<cache_hit>> find(key128, time_point now, limit until) const;
///         task<result<void>> put(key128, std::shared_ptr<const cache_entry>, time_point now,
///                                limit until) const;
///         task<result<void>> erase(key128, limit until) const;
///     };
///
/// `find` gives an empty hit for a key that it has not, for an entry past its `keep_until`, and for
/// one that it cannot read; an error means that the store itself failed. Every wait ends by
/// `until`. A store need not compare questions: the cache layer does, whatever a store hands out.
///
/// A few keys are those of tags (`is_tag_key`, cache/tag.hpp), by which answers are invalidated for
/// all who share the store. For these a store sees to more: `put` returns when the entry is where
/// every other process finds it, not when it waits to be written; a store of several levels has
/// them in the one that all share, and looks into no other; and no key is led to another server
/// while its own is away.
template <class B>
concept cache_backend =
    std::copy_constructible<B> &&
    requires(const B& store, key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
             limit until) {
        { store.name() } -> std::convertible_to<std::string_view>;
        { store.find(key, now, until) } -> std::same_as<task<result<cache_hit>>>;
        { store.put(key, std::move(entry), now, until) } -> std::same_as<task<result<void>>>;
        { store.erase(key, until) } -> std::same_as<task<result<void>>>;
    };

/// A store that answers at once: the cache layer then needs no coroutine to ask it, and stores
/// answers where they end. `try_put` is false when the entry was refused.
template <class B>
concept instant_cache_backend =
    cache_backend<B> &&
    requires(const B& store, key128 key, std::shared_ptr<const cache_entry> entry, time_point now) {
        { store.try_find(key, now) } -> std::same_as<cache_hit>;
        { store.try_put(key, std::move(entry), now) } -> std::same_as<bool>;
    };

/// A store that has some of its answers at hand: `try_find` gives such a one at once, and then a
/// hit needs no coroutine; `find_further` looks where `try_find` does not.
template <class B>
concept front_cache_backend =
    cache_backend<B> && requires(const B& store, key128 key, time_point now, limit until) {
        { store.try_find(key, now) } -> std::same_as<cache_hit>;
        { store.find_further(key, now, until) } -> std::same_as<task<result<cache_hit>>>;
    };

/// A store whose `put` returns before the entry is where it will stay. `written` ends when all is,
/// or at its limit: a pipeline that is closed waits for it.
template <class B>
concept write_behind_backend = cache_backend<B> && requires(const B& store, limit until) {
    { store.written(until) } -> std::same_as<task<void>>;
};

}  // namespace llmkit
