// llmkit/cache/memcached.hpp: answers kept in memcached, on one server or several.
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
#include <llmkit/cache/memcached_options.hpp>
#include <llmkit/cache/memcached_servers.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/detail/memcached_write.hpp>

namespace llmkit {

/// What memcached had for the cache, and how its connections are.
struct memcached_figures {
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t unreadable = 0;  ///< of the misses: there was something that is no entry
    std::uint64_t stored = 0;
    std::uint64_t too_large = 0;  ///< not stored: over `max_item_bytes` or memcached's own limit
    std::uint64_t failures = 0;   ///< look-ups and stores that failed
    store_figures connections;    ///< to all servers together
};

/// Answers in the memory of one memcached or several, 1.6 or newer, shared by whoever names the same
/// servers and prefix.
///
///     llmkit::memcached_cache answers("cache1.example,cache2.example:11212");
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///
/// Keys are spread over the servers by consistent hashing, the same by every llmkit that is given the
/// same names in any order. While a server is away its keys are misses at once, and the others go on
/// as before; it is tried again by itself (`store_policy`).
///
/// A handle: copies share the connections; thread-safe. Look-ups of all callers are pipelined on few
/// connections. What memcached evicts, and how much memory it has (`-m`), is its own business; it
/// drops an entry when that is of no more use, to the second. Entries are checked when they are
/// read: what is damaged is a miss.
class memcached_cache {
public:
    explicit memcached_cache(std::string_view servers, const memcached_options& options = {})
        : core_(std::make_shared<core>(servers, options)) {}

    std::string_view name() const { return level; }

    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(core_, key, now, until);
    }
    /// Ends when memcached has the entry. No error: what is too large is counted.
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        return stored(core_, key, std::move(entry), now, until);
    }
    task<result<void>> erase(key128 key, limit until) const { return erased(core_, key, until); }

    /// Ends all connections; calls fail from then on, on all copies.
    void close() const { core_->servers.close(); }

    /// Why the list of servers or the prefix cannot be used, if so: then every call fails with this.
    std::optional<error> problem() const { return core_->servers.problem(); }
    memcached_figures stats() const {
        memcached_figures now;
        now.hits = core_->hits;
        now.misses = core_->misses;
        now.unreadable = core_->unreadable;
        now.stored = core_->stored;
        now.too_large = core_->too_large;
        now.failures = core_->failures;
        now.connections = core_->servers.figures();
        return now;
    }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const {
        const memcached_figures now = stats();
        auto all = now.connections.readings();
        all.push_back(reading::total("hits", now.hits, "Answers found."));
        all.push_back(reading::total("misses", now.misses, "Answers not found."));
        all.push_back(reading::total("unreadable", now.unreadable, "Entries that are none."));
        all.push_back(reading::total("stored", now.stored, "Answers stored."));
        all.push_back(reading::total("too_large", now.too_large, "Answers too large to store."));
        return all;
    }

private:
    using kind = detail::memcached_kind;
    using reply = detail::memcached_reply;
    static constexpr std::string_view level = "memcached";
    // Changes with what stands under a key, so that programs of two versions do not fight over it.
    static constexpr std::string_view schema = "1:";

    struct core {
        core(std::string_view list, const memcached_options& options)
            : servers(list, options),
              prefix(options.prefix() + std::string(schema)),
              most(options.max_item_bytes()),
              codec(options.codec()) {}
        std::string name(const key128& key) const { return prefix + to_hex(key); }

        detail::memcached_servers servers;
        const std::string prefix;
        const std::size_t most;
        const entry_codec codec;
        std::atomic<std::uint64_t> hits{0};
        std::atomic<std::uint64_t> misses{0};
        std::atomic<std::uint64_t> unreadable{0};
        std::atomic<std::uint64_t> stored{0};
        std::atomic<std::uint64_t> too_large{0};
        std::atomic<std::uint64_t> failures{0};
    };

    static task<result<reply>> asked(std::shared_ptr<core> in, key128 key, std::string request,
                                     limit until) {
        auto said = co_await in->servers.ask(key, std::move(request), until);
        if (said && said->kind == kind::error) co_return detail::memcached_error(said->text);
        co_return said;
    }
    static task<result<cache_hit>> found(std::shared_ptr<core> in, key128 key, time_point now,
                                         limit until) {
        auto said = co_await asked(in, key, detail::memcached_get(in->name(key)), until);
        if (!said) {
            ++in->failures;
            co_return said.error();
        }
        cache_hit hit;
        if (said->kind == kind::value) {
            // Stored with its whole time, of which so much is left.
            const auto whole = static_cast<std::int64_t>(
                std::min<std::uint64_t>(said->client, std::numeric_limits<std::int32_t>::max()));
            const std::int64_t age =
                said->ttl < 0 ? 0 : std::max<std::int64_t>(whole - said->ttl, 0);
            auto entry = in->codec.decode(std::move(said->text), now - std::chrono::seconds(age));
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
        const std::string text = in->codec.encode(*entry, now);
        if (text.empty() || text.size() > in->most) {
            ++in->too_large;
            // Whoever asks must not be given what stood there before.
            co_return co_await erased(in, key, until);
        }
        const auto wall = clock_handle(here).wall();
        const auto time = detail::memcached_time::of(entry->keep_until - now, wall);
        auto said =
            co_await asked(in, key, detail::memcached_set(in->name(key), text, time), until);
        if (!said && said.error().message().find("too large") != std::string_view::npos) {
            ++in->too_large;
            co_return result<void>();
        }
        ++(said ? in->stored : in->failures);
        if (!said) co_return said.error();
        co_return result<void>();
    }
    static task<result<void>> erased(std::shared_ptr<core> in, key128 key, limit until) {
        auto said = co_await asked(in, key, detail::memcached_delete(in->name(key)), until);
        if (!said) co_return said.error();
        co_return result<void>();
    }

    std::shared_ptr<core> core_;
};

static_assert(cache_backend<memcached_cache>);

}  // namespace llmkit
