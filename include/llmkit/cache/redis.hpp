// llmkit/cache/redis.hpp: answers kept in a Redis, for all machines that reach it.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/dated.hpp>
#include <llmkit/cache/redis_client.hpp>
#include <llmkit/cache/redis_lease.hpp>
#include <llmkit/cache/redis_options.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit {

/// What a Redis had for the cache, and how its connections are.
struct redis_figures {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t unreadable = 0;  ///< of the misses: there was something that is no entry
    std::uint64_t stored = 0;
    std::uint64_t failures = 0;  ///< look-ups and stores that failed
    store_figures connections;
};

/// Answers in a Redis, shared by whoever uses the same Redis, database and prefix.
///
///     llmkit::redis_cache answers("redis://:password@localhost:6379/0");
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///
/// A handle: copies share the connections; thread-safe. Look-ups of all callers are pipelined on few
/// connections (see `redis_client`). Redis removes an entry when it is too old to be of any use; how
/// much memory it uses, and what it evicts, is its own business (`maxmemory`, `maxmemory-policy`).
/// Processes agree by leases in Redis on who asks for an answer that it has not (cache/lease.hpp).
/// While Redis is away each call fails at once, which the layer `cache` takes for a miss. Entries
/// are checked when they are read: what is damaged, or was written by an llmkit that writes them
/// otherwise, is a miss.
class redis_cache {
public:
    explicit redis_cache(std::string_view url, const redis_options& options = {})
        : redis_cache(redis_client(url, options), options) {}
    /// Over a client's connections; of the options only prefix and codec count.
    explicit redis_cache(redis_client over, const redis_options& options = {})
        : core_(std::make_shared<core>(std::move(over), options)) {}

    std::string_view name() const { return level; }

    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(core_, key, now, until);
    }
    /// Ends when Redis has the entry, which all others then find.
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        return stored(core_, key, std::move(entry), now, until);
    }
    task<result<void>> erase(key128 key, limit until) const { return erased(core_, key, until); }

    /// The right to ask for an answer, for one process at a time: null while another has it.
    task<result<std::shared_ptr<cache_lease>>> lease(key128 key, limit until) const {
        return detail::redis_lease::take(core_->client, core_->lease_name(key), core_->term, until);
    }

    /// Why the URL cannot be used, if so: then every call fails with this.
    std::optional<error> problem() const { return core_->client.problem(); }
    const redis_client& client() const { return core_->client; }
    redis_figures stats() const {
        redis_figures now;
        now.hits = core_->hits;
        now.misses = core_->misses;
        now.unreadable = core_->unreadable;
        now.stored = core_->stored;
        now.failures = core_->failures;
        now.connections = core_->client.figures();
        return now;
    }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        const redis_figures now = stats();
        auto all = now.connections.readings();
        all.push_back(reading::total("hits", now.hits, "Answers found."));
        all.push_back(reading::total("misses", now.misses, "Answers not found."));
        all.push_back(reading::total("unreadable", now.unreadable, "Entries that are none."));
        all.push_back(reading::total("stored", now.stored, "Answers stored."));
        return all;
    }

private:
    static constexpr std::string_view level = "redis";
    // Changes with what stands under a key, so that programs of two versions do not fight over it.
    static constexpr std::string_view schema = "1:";

    struct core {
        core(redis_client over, const redis_options& options)
            : client(std::move(over)),
              prefix(options.prefix() + std::string(schema)),
              codec(options.codec()),
              term(std::max<duration>(options.lease_term(), std::chrono::milliseconds(10))) {}
        std::string name(const key128& key) const { return prefix + to_hex(key); }
        std::string lease_name(const key128& key) const { return name(key) + ":lease"; }

        const redis_client client;
        const std::string prefix;
        const entry_codec codec;
        const duration term;
        std::atomic<std::uint64_t> hits{0};
        std::atomic<std::uint64_t> misses{0};
        std::atomic<std::uint64_t> unreadable{0};
        std::atomic<std::uint64_t> stored{0};
        std::atomic<std::uint64_t> failures{0};
    };

    static task<result<cache_hit>> found(std::shared_ptr<core> in, key128 key, time_point now,
                                         limit until) {
        const executor here = co_await asio::this_coro::executor;
        auto reply = co_await in->client.command(until, "GET", in->name(key));
        if (!reply) {
            ++in->failures;
            co_return reply.error();
        }
        cache_hit hit;
        if (reply->kind() == detail::resp_kind::text) {
            std::string text = reply->take_text();
            const auto written = detail::dated::take(text, now, clock_handle(here).wall());
            auto entry = in->codec.decode(std::move(text), written);
            if (!entry) ++in->unreadable;
            if (entry && entry->keep_until > now) hit = cache_hit(std::move(entry), level);
        }
        ++(hit ? in->hits : in->misses);
        co_return hit;
    }
    static task<result<void>> stored(std::shared_ptr<core> in, key128 key,
                                     std::shared_ptr<const cache_entry> entry, time_point now,
                                     limit until) {
        if (!entry || entry->keep_until <= now) co_return result<void>();
        const executor here = co_await asio::this_coro::executor;
        std::string text = in->codec.encode(*entry, now);
        if (text.empty()) co_return result<void>();
        detail::dated::write(text, clock_handle(here).wall());
        // Redis knows whole milliseconds, and no time that far ahead.
        constexpr auto most = std::chrono::hours(24 * 3650);
        const auto keep = std::chrono::ceil<std::chrono::milliseconds>(
            std::min<duration>(entry->keep_until - now, most));
        auto reply =
            co_await in->client.command(until, "SET", in->name(key), text, "PX", keep.count());
        ++(reply ? in->stored : in->failures);
        if (!reply) co_return reply.error();
        co_return result<void>();
    }
    static task<result<void>> erased(std::shared_ptr<core> in, key128 key, limit until) {
        auto reply = co_await in->client.command(until, "DEL", in->name(key));
        if (!reply) co_return reply.error();
        co_return result<void>();
    }

    std::shared_ptr<core> core_;
};

static_assert(leasing_cache_backend<redis_cache>);

}  // namespace llmkit
