// llmkit/cache/figures.hpp: what a cache layer found in its store, and how long that took.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/reading.hpp>
#include <llmkit/metrics/histogram.hpp>

namespace llmkit {

/// What has come of it so far.
struct cache_counts {
    std::uint64_t hits = 0;           ///< calls that were given a fresh answer
    std::uint64_t stale = 0;          ///< calls that were given a stale one
    std::uint64_t refusals = 0;       ///< calls that were given a refusal again
    std::uint64_t misses = 0;         ///< calls for which there was nothing
    std::uint64_t writes = 0;         ///< answers given to the store, refusals included
    std::uint64_t errors = 0;         ///< finds and writes that the store failed
    std::uint64_t timeouts = 0;       ///< and those that were not done within their limit
    std::uint64_t read_bytes = 0;     ///< of what was found; not counted for stores that never wait
    std::uint64_t written_bytes = 0;  ///< of what was written
    histogram_snapshot find;          ///< how long finding took, where the store may wait
    histogram_snapshot write;         ///< likewise
};

/// Counts what a cache does; give `cache` one to see it.
///
///     llmkit::cache_figures seen;
///     auto client = pipeline(provider) | cache(store, {.ttl = 10min}, seen) | monitor(figures);
///     figures.watch("cache", seen);   // in the table, the JSON and Prometheus's text
///
/// A handle: copies share the counts, so one may serve several caches. Thread-safe.
class cache_figures {
public:
    cache_figures() : shared_(std::make_shared<tally>()) {}

    cache_counts read() const {
        const auto at = [](const count& of) { return of.load(std::memory_order_relaxed); };
        cache_counts now;
        now.hits = at(shared_->hits);
        now.stale = at(shared_->stale);
        now.refusals = at(shared_->refusals);
        now.misses = at(shared_->misses);
        now.writes = at(shared_->writes);
        now.errors = at(shared_->errors);
        now.timeouts = at(shared_->timeouts);
        now.read_bytes = at(shared_->read_bytes);
        now.written_bytes = at(shared_->written_bytes);
        now.find = shared_->find.snapshot();
        now.write = shared_->write.snapshot();
        return now;
    }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const;

    // For the cache.
    void hit(bool stale) const { add(stale ? shared_->stale : shared_->hits); }
    void refusal() const { add(shared_->refusals); }
    void miss() const { add(shared_->misses); }
    void found(duration took, const cache_hit& what) const {
        shared_->find.record(took);
        if (what) add(shared_->read_bytes, what.entry()->weight());
    }
    void wrote(std::uint64_t bytes) const {
        add(shared_->writes);
        add(shared_->written_bytes, bytes);
    }
    void write_took(duration took) const { shared_->write.record(took); }
    void failed(error_kind why) const {
        add(why == error_kind::timeout ? shared_->timeouts : shared_->errors);
    }

private:
    using count = std::atomic<std::uint64_t>;
    struct tally {
        count hits{0}, stale{0}, refusals{0}, misses{0}, writes{0}, errors{0}, timeouts{0},
            read_bytes{0}, written_bytes{0};
        histogram find, write;
    };
    static void add(count& to, std::uint64_t more = 1) {
        to.fetch_add(more, std::memory_order_relaxed);
    }

    std::shared_ptr<tally> shared_;
};

inline std::vector<reading> cache_figures::readings() const {
    const cache_counts now = read();
    const auto seconds = [](duration span) { return std::chrono::duration<double>(span).count(); };
    std::vector<reading> all{
        reading::total("hits", now.hits, "Calls that were given a fresh answer."),
        reading::total("stale_hits", now.stale, "Calls that were given a stale answer."),
        reading::total("refusals", now.refusals, "Calls that were given a refusal again."),
        reading::total("misses", now.misses, "Calls for which there was nothing."),
        reading::total("writes", now.writes, "Answers given to the store."),
        reading::total("errors", now.errors, "Finds and writes that the store failed."),
        reading::total("timeouts", now.timeouts, "Finds and writes not done within their limit."),
        reading::total("written_bytes", now.written_bytes, "Bytes of what was written."),
    };
    if (now.find.count() == 0) return all;
    all.push_back(reading::total("read_bytes", now.read_bytes, "Bytes of what was found."));
    all.push_back(reading::total("finds", now.find.count(), "How often the store was asked."));
    all.push_back(reading::total("find_seconds", seconds(now.find.sum()),
                                 "How long finding took, all together."));
    all.push_back(reading::now("find_p50_seconds", seconds(now.find.p50()),
                               "Half of the finds took at most so long."));
    all.push_back(reading::now("find_p99_seconds", seconds(now.find.p99()),
                               "Of 100 finds 99 took at most so long."));
    all.push_back(reading::total("write_seconds", seconds(now.write.sum()),
                                 "How long writing took, all together."));
    all.push_back(reading::now("write_p99_seconds", seconds(now.write.p99()),
                               "Of 100 writes 99 took at most so long."));
    return all;
}

}  // namespace llmkit
