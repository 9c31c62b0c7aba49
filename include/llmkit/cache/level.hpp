// llmkit/cache/level.hpp: one level of a tiered cache: a store, its limits, and how it does.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/lease.hpp>
#include <llmkit/cache/level_figures.hpp>
#include <llmkit/cache/level_health.hpp>

namespace llmkit {

/// What a level may cost, and how long it keeps.
struct level_policy {
    duration ttl = duration::max();  ///< it keeps what is written into it no longer
    /// A look-up waits for it no longer, and a later answer counts as a failure.
    duration limit = std::chrono::milliseconds(25);
    duration write_limit = std::chrono::seconds(1);  ///< the same for a write, behind the calls
    health_policy health;
    bool enforced = false;
};
static_assert(std::is_trivially_destructible_v<level_policy>);

/// A store with the options that `tiered` is to use it with; made by `level`.
template <cache_backend Store>
class cache_level {
public:
    explicit cache_level(Store store) : store_(std::move(store)), name_(store_.name()) {}

    /// What is written into this level is kept no longer than this from then on.
    cache_level ttl(duration most) const { return with(&level_policy::ttl, most); }
    /// A look-up waits for this level no longer. Default 25 ms.
    cache_level limit(duration most) const { return with(&level_policy::limit, most); }
    /// A write into this level takes no longer. Default 1 s.
    cache_level write_limit(duration most) const { return with(&level_policy::write_limit, most); }
    /// When it is given up, and how often it is tried again.
    cache_level health(health_policy how) const { return with(&level_policy::health, how); }
    /// For a store that may hang in spite of its limit: each call to it runs in a coroutine of its
    /// own, which is left behind when its time is over. Costs some two microseconds a call.
    cache_level enforce() const { return with(&level_policy::enforced, true); }
    /// What hits and figures call it, for a second store of one kind. The text must live as long
    /// as the program.
    cache_level named(std::string_view name) const {
        cache_level other = *this;
        other.name_ = name;
        return other;
    }

    const Store& store() const { return store_; }
    const level_policy& policy() const { return policy_; }
    std::string_view name() const { return name_; }

private:
    template <class T>
    cache_level with(T level_policy::* option, T value) const {
        cache_level other = *this;
        other.policy_.*option = value;
        return other;
    }

    Store store_;
    level_policy policy_;
    std::string_view name_;
};

/// Options for one level of `tiered`:
///
///     tiered(level(memory_cache(10'000)).ttl(10min), level(redis_cache(…)).limit(5ms))
template <cache_backend Store>
cache_level<Store> level(Store store) {
    return cache_level<Store>(std::move(store));
}

namespace detail {

/// A level without its store's type, and all that is known about it.
class any_level {
public:
    any_level(const level_policy& with, std::string_view as, bool at_once, bool with_leases)
        : policy(with), name(as), instant(at_once), leases(with_leases), health(with.health) {}
    virtual ~any_level() = default;

    // Of an instant level:
    virtual cache_hit try_find(key128 key, time_point now) const = 0;
    virtual bool try_put(key128 key, std::shared_ptr<const cache_entry> entry,
                         time_point now) const = 0;
    /// False when the store cannot, and `erase` must.
    virtual bool try_erase(key128 key) const = 0;
    // Of any:
    virtual task<result<cache_hit>> find(key128 key, time_point now, limit until) const = 0;
    virtual task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry,
                                   time_point now, limit until) const = 0;
    virtual task<result<void>> erase(key128 key, limit until) const = 0;
    /// Of a level with `leases`.
    virtual task<result<std::shared_ptr<cache_lease>>> lease(key128 key, limit until) const = 0;

    level_stats stats() const {
        level_stats now = counts.read();
        now.name = name;
        now.instant = instant;
        now.state = health.state();
        return now;
    }

    const level_policy policy;
    const std::string_view name;
    const bool instant;
    const bool leases;
    level_health health;
    level_counts counts;
};

template <cache_backend Store>
class level_of final : public any_level {
public:
    explicit level_of(const cache_level<Store>& made)
        : any_level(made.policy(), made.name(), instant_cache_backend<Store>,
                    leasing_cache_backend<Store>),
          store_(made.store()) {}

    cache_hit try_find(key128 key, time_point now) const override {
        if constexpr (instant_cache_backend<Store>) return store_.try_find(key, now);
        return cache_hit();
    }
    bool try_put(key128 key, std::shared_ptr<const cache_entry> entry,
                 time_point now) const override {
        if constexpr (instant_cache_backend<Store>) {
            return store_.try_put(key, std::move(entry), now);
        }
        return false;
    }
    bool try_erase(key128 key) const override {
        if constexpr (requires { store_.try_erase(key); }) {
            store_.try_erase(key);
            return true;
        }
        return false;
    }
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const override {
        return store_.find(key, now, until);
    }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const override {
        return store_.put(key, std::move(entry), now, until);
    }
    task<result<void>> erase(key128 key, limit until) const override {
        return store_.erase(key, until);
    }
    task<result<std::shared_ptr<cache_lease>>> lease(key128 key, limit until) const override {
        if constexpr (leasing_cache_backend<Store>) {
            return store_.lease(key, until);
        } else {
            return no_lease();
        }
    }

private:
    static task<result<std::shared_ptr<cache_lease>>> no_lease() {
        co_return error(error_kind::refused, "this level has no leases");
    }

    const Store store_;
};

}  // namespace detail

}  // namespace llmkit
