// llmkit/cache/sqlite.hpp: answers kept in a file. Needs libsqlite3 (llmkit::sqlite).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/sqlite_job.hpp>
#include <llmkit/cache/sqlite_policy.hpp>
#include <llmkit/cache/sqlite_store.hpp>

namespace llmkit {

/// Answers in a file, which outlive the program and may be shared with others on this machine.
///
///     llmkit::sqlite_cache answers("answers.db", {.max_bytes = 4 << 30});
///     if (auto why = answers.problem()) fmt::print("{}\n", *why);
///     auto client = llmkit::pipeline(provider) | llmkit::cache(answers);
///
/// A handle: copies share the file; thread-safe; any number of processes may use one file. Reads
/// run on threads of its own and are waited for as long as their limit allows; results come back
/// on the caller's executor, and who is cancelled returns at once. Writes are collected while the
/// one before is carried out (a write-ahead log, one transaction a batch): `put` never waits, and
/// what was put is found at once. What does not fit `max_pending_bytes` is dropped and counted. A
/// process that is killed loses what was not yet written, and nothing else; a machine that loses
/// its power may lose the last seconds.
///
/// The constructor opens the file (blocking) and never throws for it: `problem` says what is wrong,
/// and then every call fails with that, until opening it, which a call has tried again each
/// `reopen_after`, works. A damaged file is renamed to PATH.damaged, and a new one
/// begun. A file on a disk that cannot be written to is read. The last handle's destructor waits up
/// to `close_limit` for what is still to be written. In a `simulation::world` calls block instead
/// of waiting, and take no time.
class sqlite_cache {
public:
    explicit sqlite_cache(const std::string& path, sqlite_policy policy = {},
                          entry_codec codec = entry_codec())
        : owner_(std::make_shared<owner>(absolute(path), policy, std::move(codec))) {}

    std::string_view name() const { return detail::sqlite_store::level; }

    /// An error when the file cannot be read, or not by then.
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(owner_->store, key, now, until);
    }
    /// Leaves the entry to the writer, and waits for it only with that of a tag. No error: what
    /// cannot be written is counted.
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        return kept(owner_->store, key, std::move(entry), now, until);
    }
    /// Ends when the entry is no longer in the file.
    task<result<void>> erase(key128 key, limit until) const {
        return written(owner_->store, key, true, until);
    }

    /// Ends when all that was put is in the file; an error when not by then.
    task<result<void>> flush(limit until) const {
        return written(owner_->store, key128(), false, until);
    }
    /// Flushes, and lets go of the file. Calls fail from then on, on all copies.
    task<result<void>> close(limit until) const { return closed(owner_->store, until); }

    /// Why the file cannot be used, if so.
    std::optional<error> problem() const { return owner_->store->problem(); }
    sqlite_stats stats() const { return owner_->store->stats(); }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const { return stats().readings(); }

private:
    using store = detail::sqlite_store;
    using job = detail::sqlite_job;
    static constexpr std::string_view waited_for = "the file of answers";

    struct owner {
        owner(std::string path, sqlite_policy policy, entry_codec codec)
            : store(std::make_shared<detail::sqlite_store>(std::move(path), policy,
                                                           std::move(codec))) {
            store->start();
        }
        owner(const owner&) = delete;
        owner& operator=(const owner&) = delete;
        ~owner() { store->stop(store->close_limit()); }
        const std::shared_ptr<detail::sqlite_store> store;
    };

    // Also keeps SQLite from taking ":memory:" and the like for something else than a file.
    static std::string absolute(const std::string& path) {
        std::error_code failed;
        const auto full = std::filesystem::absolute(path, failed);
        return failed ? path : full.string();
    }

    static task<result<cache_hit>> found(std::shared_ptr<store> in, key128 key, time_point now,
                                         limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const auto asked = std::make_shared<job>(key, detail::file_time::of(time, now));
        const bool real = detail::in_real_time(time);
        if (!in->ask(*asked, real)) {
            if (real) {
                asked->home = detail::way_back::into(time);
                in->queue(asked);
            } else {
                in->look_up_here(*asked);
            }
        }
        auto ended = co_await detail::job_ended(asked, time, until, waited_for);
        if (!ended) co_return ended.error();
        co_return asked->hit;
    }
    static task<result<void>> kept(std::shared_ptr<store> in, key128 key,
                                   std::shared_ptr<const cache_entry> entry, time_point now,
                                   limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        if (entry)
            in->put(key, std::move(entry), detail::file_time::of(time, now),
                    detail::in_real_time(time));
        if (!is_tag_key(key)) co_return result<void>();
        co_return co_await written(in, key128(), false, until);  // other processes go by it
    }
    static task<result<void>> written(std::shared_ptr<store> in, key128 key, bool erasing,
                                      limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const auto asked = std::make_shared<job>(key, detail::file_time());
        const bool real = detail::in_real_time(time);
        if (real) asked->home = detail::way_back::into(time);
        in->flush(asked, erasing);
        if (!real) in->await_here(*asked);
        co_return co_await detail::job_ended(asked, time, until, waited_for);
    }
    static task<result<void>> closed(std::shared_ptr<store> in, limit until) {
        auto flushed = co_await written(in, key128(), false, until);
        in->close();
        co_return flushed;
    }

    std::shared_ptr<const owner> owner_;
};

static_assert(cache_backend<sqlite_cache>);

}  // namespace llmkit
