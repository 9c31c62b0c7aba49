// llmkit/metrics/registry.hpp: where the monitor layer counts, and whoever asks reads.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/detail/label_table.hpp>
#include <llmkit/metrics/histogram.hpp>
#include <llmkit/metrics/snapshot.hpp>
#include <llmkit/metrics/watch_list.hpp>

namespace llmkit {

namespace detail {

/// What is shared by all copies of a `metrics`. Ended calls are counted in one of a few parts,
/// chosen by thread, so that threads seldom wait for each other; a snapshot sums the parts up.
class metrics_state {
public:
    using time_point = std::chrono::steady_clock::time_point;

    static constexpr std::size_t most_models = 64;
    static constexpr std::size_t most_errors = 32;
    static constexpr std::size_t most_levels = 8;

    void call_started(time_point now) noexcept {
        const std::int64_t flying = in_flight_.fetch_add(1, std::memory_order_relaxed) + 1;
        raise(in_flight_max_, flying);
        lower(first_, ticks(now));
    }

    void call_ended(const call_record& call, time_point now) {
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        const std::size_t model = models_.number_of(call.model.empty() ? "unnamed" : call.model);
        const bool hit = !call.cache_level.empty() || call.stale;
        const bool failed = !call.abandoned && !call.error.empty();
        const std::size_t level =
            hit ? levels_.number_of(call.cache_level.empty() ? "cache" : call.cache_level) : 0;
        const std::size_t error = failed && !call.after_content ? errors_.number_of(call.error) : 0;

        part& mine = parts_[part_of_this_thread()];
        const std::lock_guard lock(mine.mutex);
        mine.last = std::max(mine.last, now);
        if (!mine.models[model]) mine.models[model] = std::make_unique<call_figures>();
        count(*mine.models[model], call, hit, failed);
        if (hit) ++mine.hits[level];
        if (failed && !call.after_content) ++mine.errors[error];
    }

    void event_gap(std::chrono::nanoseconds gap) noexcept {
        gaps_[part_of_this_thread() % gaps_.size()].times.record(gap);
    }

    /// Without `until`, the window ends with the last call that ended.
    metrics_snapshot snapshot(std::optional<time_point> until) const {
        metrics_snapshot all;
        all.in_flight = std::max<std::int64_t>(in_flight_.load(std::memory_order_relaxed), 0);
        all.in_flight_max = in_flight_max_.load(std::memory_order_relaxed);
        for (const gap_part& some : gaps_) all.between_events.merge(some.times.snapshot());

        std::array<std::unique_ptr<model_figures>, label_table<most_models>::numbers()> models;
        std::array<std::uint64_t, label_table<most_errors>::numbers()> errors{};
        std::array<std::uint64_t, label_table<most_levels>::numbers()> hits{};
        time_point last = time_point::min();
        for (const part& one : parts_) {
            const std::lock_guard lock(one.mutex);
            last = std::max(last, one.last);
            for (std::size_t i = 0; i < models.size(); ++i) {
                if (!one.models[i]) continue;
                if (!models[i]) models[i] = std::make_unique<model_figures>();
                add(*models[i], *one.models[i]);
            }
            for (std::size_t i = 0; i < errors.size(); ++i) errors[i] += one.errors[i];
            for (std::size_t i = 0; i < hits.size(); ++i) hits[i] += one.hits[i];
        }
        for (std::size_t i = 0; i < models.size(); ++i) {
            if (!models[i]) continue;
            models[i]->name = models_.name_of(i);
            add(all, *models[i]);
            all.models.push_back(std::move(*models[i]));
        }
        std::sort(all.models.begin(), all.models.end(), [](const auto& a, const auto& b) {
            return a.ended != b.ended ? a.ended > b.ended : a.name < b.name;
        });
        const std::int64_t first = first_.load(std::memory_order_relaxed);
        const std::int64_t end = ticks(until.value_or(last));
        if (first <= end) all.window = std::chrono::nanoseconds(end - first);
        all.started = all.ended + static_cast<std::uint64_t>(all.in_flight);
        all.errors_by_kind = named(errors, errors_);
        all.hits_by_level = named(hits, levels_);
        return all;
    }

private:
    static constexpr std::size_t part_count = 8;

    struct alignas(64) part {
        mutable std::mutex mutex;
        time_point last = time_point::min();
        std::array<std::unique_ptr<call_figures>, label_table<most_models>::numbers()> models;
        std::array<std::uint64_t, label_table<most_errors>::numbers()> errors{};
        std::array<std::uint64_t, label_table<most_levels>::numbers()> hits{};
    };

    struct alignas(64) gap_part {
        histogram times;
    };

    static std::size_t part_of_this_thread() {
        static std::atomic<std::size_t> threads = 0;
        thread_local const std::size_t mine =
            threads.fetch_add(1, std::memory_order_relaxed) % part_count;
        return mine;
    }

    static void count(call_figures& to, const call_record& call, bool hit, bool failed) {
        ++to.ended;
        to.errors += failed && !call.after_content;
        to.cut += failed && call.after_content;
        to.abandoned += call.abandoned;
        to.hits += hit;
        to.stale_hits += call.stale;
        to.misses += call.missed && !hit;
        to.joins += call.joined && !hit;
        to.bytes += call.bytes;
        if (hit || call.joined) {
            add(to.tokens_saved, call.usage);
            to.cost += call.cost.value_or(0.0);
            ++to.cost_known;
        } else {
            to.upstream += call.attempts;
            to.retries += call.attempts > 1 ? call.attempts - 1 : 0;
            add(to.tokens, call.usage);
            to.usage_unknown += !call.usage.known && !failed;
            to.cost += call.cost.value_or(0.0);
            ++(call.cost ? to.cost_known : to.cost_unknown);
        }
        if (!call.abandoned) to.latency.record(call.latency);
        if (call.first_event) to.first_event.record(*call.first_event);
    }

    static void add(token_usage& to, const token_usage& more) {
        to.input += more.input;
        to.output += more.output;
        to.cached_input += more.cached_input;
        to.reasoning += more.reasoning;
        to.known = to.known || more.known;
    }

    static void add(call_figures& to, const call_figures& more) {
        for (auto member :
             {&call_figures::ended, &call_figures::errors, &call_figures::cut,
              &call_figures::abandoned, &call_figures::upstream, &call_figures::retries,
              &call_figures::hits, &call_figures::stale_hits, &call_figures::misses,
              &call_figures::joins, &call_figures::bytes, &call_figures::usage_unknown,
              &call_figures::cost_known, &call_figures::cost_unknown}) {
            to.*member += more.*member;
        }
        add(to.tokens, more.tokens);
        add(to.tokens_saved, more.tokens_saved);
        to.cost += more.cost;
        to.latency.merge(more.latency);
        to.first_event.merge(more.first_event);
    }

    template <std::size_t Size, class Labels>
    static std::vector<named_count> named(const std::array<std::uint64_t, Size>& counts,
                                          const Labels& labels) {
        std::vector<named_count> found;
        for (std::size_t i = 0; i < Size; ++i) {
            if (counts[i] > 0) found.push_back({std::string(labels.name_of(i)), counts[i]});
        }
        std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
            return a.count != b.count ? a.count > b.count : a.name < b.name;
        });
        return found;
    }

    static std::int64_t ticks(time_point t) {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count();
    }
    static void raise(std::atomic<std::int64_t>& most, std::int64_t value) noexcept {
        for (auto seen = most.load(std::memory_order_relaxed);
             value > seen && !most.compare_exchange_weak(seen, value, std::memory_order_relaxed);) {
        }
    }
    static void lower(std::atomic<std::int64_t>& least, std::int64_t value) noexcept {
        for (auto seen = least.load(std::memory_order_relaxed);
             value < seen &&
             !least.compare_exchange_weak(seen, value, std::memory_order_relaxed);) {
        }
    }

    label_table<most_models> models_;
    label_table<most_errors> errors_;
    label_table<most_levels> levels_;
    std::atomic<std::int64_t> first_ = std::numeric_limits<std::int64_t>::max();
    // The one line that all threads write: the highest number in flight can't be told from parts.
    alignas(64) std::atomic<std::int64_t> in_flight_ = 0;
    std::atomic<std::int64_t> in_flight_max_ = 0;
    std::array<gap_part, 2> gaps_;
    std::array<part, part_count> parts_;
};

}  // namespace detail

/// The figures of a pipeline: counts, rates, tokens, cost and how long things take. A handle:
/// copies share one state, so keep one and give `monitor` another.
///
///     llmkit::metrics figures;
///     auto client = llmkit::pipeline(provider) | llmkit::retry() | llmkit::monitor(figures);
///     …
///     fmt::print("{}", llmkit::to_table(figures.snapshot()));
///
/// Thread-safe; recording a call costs some 100 ns. Memory is bounded: 64 models, 32 kinds of error
/// and 8 cache levels are told apart, further ones count as "other".
class metrics {
public:
    using time_point = std::chrono::steady_clock::time_point;

    metrics()
        : state_(std::make_shared<detail::metrics_state>()),
          watched_(std::make_shared<detail::watch_list>()) {}

    /// One more call is in flight.
    void call_started(time_point now) const noexcept { state_->call_started(now); }

    /// The call's answer has ended, well or badly: once for each `call_started`.
    void call_ended(const call_record& call, time_point now) const {
        state_->call_ended(call, now);
    }

    /// The time between two successive events of one stream.
    void event_gap(std::chrono::nanoseconds gap) const noexcept { state_->event_gap(gap); }

    /// Shows the figures of a part of the program beside those of the calls, under `name`: whatever
    /// has `readings()` that give `reading`s, such as the transport.
    ///
    ///     figures.watch("transport", http);
    ///
    /// The part is copied and kept; handles are cheap. Its `readings()` are called by whoever takes
    /// a snapshot, on any thread, and must neither throw nor wait. At most 16 names: a known one
    /// takes the place of what it named, a further one is not shown.
    template <class Part>
    void watch(std::string name, Part part) const {
        watched_->add(std::move(name), [part = std::move(part)] { return part.readings(); });
    }

    /// Everything so far. The window reaches from the first call's start to the last one's end.
    metrics_snapshot snapshot() const { return with_watched(state_->snapshot(std::nullopt)); }

    /// The same, with a window that reaches to `now`.
    metrics_snapshot snapshot(time_point now) const { return with_watched(state_->snapshot(now)); }

private:
    metrics_snapshot with_watched(metrics_snapshot all) const {
        all.watched = watched_->read();
        return all;
    }

    std::shared_ptr<detail::metrics_state> state_;
    std::shared_ptr<detail::watch_list> watched_;
};

}  // namespace llmkit
