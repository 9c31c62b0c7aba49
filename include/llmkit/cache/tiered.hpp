// llmkit/cache/tiered.hpp: several stores as one, the quickest first.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/level.hpp>
#include <llmkit/cache/tiered_lease.hpp>
#include <llmkit/cache/tiers.hpp>

namespace llmkit {

namespace detail {

/// Whether a tiered cache answers without a coroutine.
enum class at_once : std::uint8_t { never, from_the_front, always };

template <cache_backend Store>
const cache_level<Store>& as_level(const cache_level<Store>& made) {
    return made;
}
template <cache_backend Store>
cache_level<Store> as_level(const Store& store) {
    return cache_level<Store>(store);
}

template <class T>
inline constexpr bool instant_level = instant_cache_backend<T>;
template <class Store>
inline constexpr bool instant_level<cache_level<Store>> = instant_cache_backend<Store>;

template <class First, class... Rest>
constexpr at_once speed_of() {
    if ((instant_level<First> && ... && instant_level<Rest>)) return at_once::always;
    return instant_level<First> ? at_once::from_the_front : at_once::never;
}

}  // namespace detail

/// The store that `tiered` makes. A handle: copies share levels, figures and queue. Thread-safe.
template <detail::at_once Speed>
class tiered_cache {
public:
    template <class... Levels>
    explicit tiered_cache(const cache_level<Levels>&... levels) {
        static_assert(sizeof...(Levels) <= 16, "llmkit: a tiered cache has at most 16 levels.");
        std::vector<std::unique_ptr<detail::any_level>> all;
        (all.push_back(std::make_unique<detail::level_of<Levels>>(levels)), ...);
        tiers_ = std::make_shared<detail::tiers>(std::move(all));
    }

    /// Answers are written into instant levels at once, and into the others behind the calls, from
    /// a bounded queue. For all copies; say it before the cache is used.
    tiered_cache write_behind(write_behind_policy policy = {}) const {
        tiers_->write_behind(policy);
        return *this;
    }

    std::string_view name() const { return "tiered"; }

    /// Asks the levels in turn, each within its limit and `until`, for a fresh answer; a stale one
    /// if there is no other. No error: a level that fails has nothing.
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        cache_hit found = tiers_->at_hand(key, now);
        if (found && now < found.entry()->fresh_until) return found_already(std::move(found));
        return detail::tiers::find_further(tiers_, key, until, std::move(found));
    }
    /// An error when no level took it.
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point,
                           limit until) const {
        return detail::tiers::put(tiers_, key, std::move(entry), until);
    }
    /// From all levels, those that are down as well. An error when one of them failed: then this
    /// cache does not give what that level still has, but others that share the level do.
    task<result<void>> erase(key128 key, limit until) const {
        return detail::tiers::erase(tiers_, key, until);
    }

    cache_hit try_find(key128 key, time_point now) const
        requires(Speed != detail::at_once::never)
    {
        return tiers_->at_hand(key, now);
    }
    task<result<cache_hit>> find_further(key128 key, time_point, limit until) const
        requires(Speed == detail::at_once::from_the_front)
    {
        return detail::tiers::find_further(tiers_, key, until, cache_hit());
    }
    bool try_put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now) const
        requires(Speed == detail::at_once::always)
    {
        return tiers_->try_put(key, entry, now);
    }

    /// A lease in the last level that has them: it is released when the answer is there.
    task<result<std::shared_ptr<cache_lease>>> lease(key128 key, limit until) const
        requires(Speed != detail::at_once::always)
    {
        return detail::tiered_lease::take(tiers_, key, until);
    }
    /// Whether a level has leases.
    bool has_leases() const { return tiers_->has_leases(); }

    /// Ends when all that was put is where it belongs, or at the limit.
    task<void> written(limit until) const
        requires(Speed != detail::at_once::always)
    {
        return wait_written(tiers_, until);
    }
    /// The same; whatever is not written by then is dropped, and nothing is written behind any
    /// more. True when all was written. Levels stay open.
    task<bool> close(limit until) const { return detail::tiers::close(tiers_, until); }

    tiered_stats stats() const { return tiers_->stats(); }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const { return stats().readings(); }

private:
    static task<result<cache_hit>> found_already(cache_hit found) { co_return found; }
    static task<void> wait_written(std::shared_ptr<detail::tiers> in, limit until) {
        co_await detail::tiers::written(std::move(in), until);
    }

    std::shared_ptr<detail::tiers> tiers_;
};

/// Several stores as one: the first that has an answer gives it, and those before it get it, too.
///
///     auto answers = llmkit::tiered(llmkit::memory_cache(10'000),
///                                   llmkit::level(llmkit::sqlite_cache("answers.db")).limit(5ms))
///                        .write_behind();
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///
/// Each is a store, or a store with options by `level`. They are asked in the order in which they
/// stand, each for at most its limit. A level that fails or is late a few times in a row is down:
/// it is skipped, and costs no call anything, until a look-up beside the calls finds it up again.
/// Answers are written into all levels before `put` ends, or `write_behind` the calls. What a level
/// keeps ends with its `ttl` at the latest. Where the first level is instant, as `memory_cache` is,
/// its hits need no coroutine.
template <class... Levels>
    requires(sizeof...(Levels) > 0)
auto tiered(Levels... levels) {
    return tiered_cache<detail::speed_of<Levels...>()>(detail::as_level(levels)...);
}

}  // namespace llmkit
