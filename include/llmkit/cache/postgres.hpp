// llmkit/cache/postgres.hpp: answers kept in PostgreSQL. Needs libpq (llmkit::postgres).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/postgres_policy.hpp>
#include <llmkit/cache/postgres_store.hpp>

namespace llmkit {

/// Answers in a table of PostgreSQL (12 or newer), which machines share and which outlives them.
///
///     llmkit::postgres_cache answers("postgresql://user:password@db.example/app?sslmode=verify-full");
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///     metrics.watch("answers", answers);
///
/// The connection string is libpq's, with all that it knows: several hosts, `sslmode`, a password
/// from the environment or a file. The table is made when there is none; one of a newer llmkit, or of
/// something else, is refused. Times are the server's, so the clocks of the machines may differ.
///
/// A handle: copies share the connections; thread-safe. A thread of its own speaks with the server;
/// results come back on the caller's executor, and who is cancelled returns at once. Each wait ends
/// by its limit. Calls share few connections, each with several statements on their way. When a
/// connection ends, what was asked on it is asked again on the next one; while there is none, and
/// none can be made, calls fail at once, and a new one is tried after `retry`, doubled up to
/// `max_retry`.
///
/// The constructor neither blocks nor throws for the server's sake. The last handle's destructor
/// waits up to `close_limit` for what is still to be written. In a `simulation::world` calls block
/// instead of waiting, and take no time.
class postgres_cache {
public:
    explicit postgres_cache(const std::string& url, postgres_policy policy = {},
                            entry_codec codec = entry_codec(), std::string table = "llmkit_answers")
        : owner_(std::make_shared<owner>(url, policy, std::move(codec), std::move(table))) {}

    std::string_view name() const { return detail::postgres_deeds::level; }

    /// An error when the server cannot be asked, or not by then.
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(owner_->store, std::make_shared<job>(deed::find, key, now), until);
    }
    /// Ends when the server has it.
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        auto asked = std::make_shared<job>(deed::put, key, now);
        asked->entry = std::move(entry);
        return done(owner_->store, std::move(asked), until);
    }
    task<result<void>> erase(key128 key, limit until) const {
        return done(owner_->store, std::make_shared<job>(deed::erase, key, time_point()), until);
    }

    /// Calls fail from now on, on all copies; what waits is still done, and then the connections
    /// are closed.
    void close() const { owner_->store->close(); }

    /// Why the server cannot be used at the moment, if so.
    std::optional<error> problem() const { return owner_->store->problem(); }
    postgres_stats stats() const { return owner_->store->stats(); }
    /// The same for `metrics.watch(name, answers)`.
    std::vector<reading> readings() const { return stats().readings(); }

private:
    using store = detail::postgres_store;
    using job = detail::postgres_job;
    using deed = detail::postgres_deed;

    struct owner {
        owner(const std::string& url, postgres_policy policy, entry_codec codec, std::string table)
            : store(std::make_shared<detail::postgres_store>(url, policy, std::move(codec),
                                                             std::move(table))) {
            store->start();
        }
        owner(const owner&) = delete;
        owner& operator=(const owner&) = delete;
        ~owner() { store->stop(store->close_limit()); }
        const std::shared_ptr<detail::postgres_store> store;
    };

    static task<result<void>> done(std::shared_ptr<store> in, std::shared_ptr<job> asked,
                                   limit until) {
        if (asked->deed == deed::put && !asked->entry) co_return result<void>();
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const bool real = detail::in_real_time(time);
        if (real) asked->home = detail::way_back::into(time);
        in->ask(asked);
        if (!real) in->await_here(*asked);
        co_return co_await detail::job_ended(asked, time, until, "PostgreSQL");
    }
    static task<result<cache_hit>> found(std::shared_ptr<store> in, std::shared_ptr<job> asked,
                                         limit until) {
        auto ended = co_await done(std::move(in), asked, until);
        if (!ended) co_return ended.error();
        co_return asked->hit;
    }

    std::shared_ptr<const owner> owner_;
};

static_assert(cache_backend<postgres_cache>);

}  // namespace llmkit
