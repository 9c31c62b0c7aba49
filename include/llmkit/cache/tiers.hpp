// llmkit/cache/tiers.hpp: what a tiered cache decides: who is asked, promoted to, written, erased.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/cache/behind_writer.hpp>
#include <llmkit/cache/erasures.hpp>
#include <llmkit/cache/level.hpp>
#include <llmkit/cache/level_call.hpp>
#include <llmkit/cache/tag.hpp>

namespace llmkit::detail {

/// An entry as a level keeps it: no longer than the level's TTL.
inline std::shared_ptr<const cache_entry> kept_for(std::shared_ptr<const cache_entry> entry,
                                                   duration ttl, time_point now) {
    const time_point end = after(now, ttl);
    if (entry->keep_until <= end) return entry;
    auto shorter = std::make_shared<cache_entry>(*entry);
    shorter->keep_until = end;
    shorter->fresh_until = std::min(shorter->fresh_until, end);
    return shorter;
}

/// What all handles of one tiered cache share. Its coroutines hold it.
class tiers final : public behind_writer {
public:
    using entry_ptr = std::shared_ptr<const cache_entry>;
    using self_ptr = std::shared_ptr<tiers>;

    explicit tiers(std::vector<std::unique_ptr<any_level>> levels) : levels_(std::move(levels)) {
        while (front_ < levels_.size() && levels_[front_]->instant) ++front_;
    }

    void write_behind(write_behind_policy policy) {
        set(policy);
        behind_ = true;
    }
    tiered_stats stats() const {
        tiered_stats now;
        for (const auto& each : levels_) now.levels.push_back(each->stats());
        read(now.waiting, now.waiting_bytes, now.dropped);
        return now;
    }

    /// The level by which processes agree on who asks: the last that has leases, if it is up.
    any_level* leasing() const {
        for (auto at = levels_.rbegin(); at != levels_.rend(); ++at) {
            if (!(*at)->leases) continue;
            return (*at)->health.up() ? at->get() : nullptr;
        }
        return nullptr;
    }
    bool has_leases() const {
        return std::any_of(levels_.begin(), levels_.end(), [](const auto& l) { return l->leases; });
    }

    /// What the levels in front have, which are all instant.
    cache_hit at_hand(const key128& key, time_point now) {
        search looking(marks_.of(key));
        for (std::size_t i = first_for(key); i < front_ && !looking.ended(now); ++i) {
            note(looking, i, key, now, levels_[i]->try_find(key, now));
        }
        if (looking.from > 0) carry_up(looking, key, now);
        return std::move(looking.best);
    }

    /// Looks into the levels behind those in front; the better of what it finds and `at_hand`.
    static task<result<cache_hit>> find_further(self_ptr self, key128 key, limit until,
                                                cache_hit at_hand) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        search looking(self->marks_.of(key));
        looking.best = std::move(at_hand);
        const std::size_t first = std::max(self->front_, self->first_for(key));
        looking.lacking = is_tag_key(key) ? 0 : bit(self->front_) - 1;
        result<cache_hit> nothing = cache_hit();
        self->look_at_waiting(looking, key, time.now());
        for (std::size_t i = first; i < self->levels_.size(); ++i) {
            any_level& level = *self->levels_[i];
            const time_point began = time.now();
            if (looking.ended(began)) break;
            if (is_tag_key(key)) nothing = error(error_kind::refused, "the last level is down");
            if (level.instant) {
                self->note(looking, i, key, began, level.try_find(key, began));
                continue;
            }
            const limit mine = until.earliest(after(began, level.policy.limit));
            if (mine.effective() <= began) break;  // the call has no time left
            const auto permit = level.health.ask(began);
            if (permit.what != level_health::turn::use) {
                level_counts::add(level.counts.skipped);
                if (permit.what == level_health::turn::probe)
                    level_probe::start(self, level, key, permit, time);
                continue;
            }
            const level_call call(level, began, level.policy.limit, mine);
            auto found = co_await level_answer(self, level.policy.enforced, time, mine,
                                               level.find(key, began, mine));
            call.looked_up(permit, time.now(), found ? nullptr : &found.error());
            if (!found) continue;
            nothing = cache_hit();
            self->note(looking, i, key, time.now(), std::move(*found));
        }
        if (!looking.best) co_return nothing;
        const level_set slow = self->carry_up(looking, key, time.now());
        if (slow != 0) self->queue(key, looking.best.entry(), slow, looking.mark, time);
        co_return std::move(looking.best);
    }

    /// Into all levels, in turn; with write-behind only where that takes no time.
    static task<result<void>> put(self_ptr self, key128 key, entry_ptr entry, limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const std::uint64_t mark = self->marks_.of(key);
        bool kept = false;
        if (!entry) co_return result<void>();
        level_set slow = 0;
        for (std::size_t i = self->first_for(key); i < self->levels_.size(); ++i) {
            if (self->levels_[i]->instant) {
                kept = self->put_now(i, key, entry, time.now()) || kept;
            } else {
                slow |= bit(i);
            }
        }
        if (slow != 0 && self->behind_ && !is_tag_key(key)) {
            self->queue(key, std::move(entry), slow, mark, time);
            co_return result<void>();
        }
        if (slow != 0) {
            const bool written = co_await put_slowly(self, slow, mark, key, entry, time, until);
            kept = kept || written;
        }
        if (kept) co_return result<void>();
        co_return error(error_kind::refused, "no level of the cache took the answer");
    }
    /// Into instant levels, where there are no others. True when one took it.
    bool try_put(const key128& key, const entry_ptr& entry, time_point now) {
        bool kept = false;
        if (!entry) return false;
        for (std::size_t i = first_for(key); i < levels_.size(); ++i)
            kept = put_now(i, key, entry, now) || kept;
        return kept;
    }

    /// From all levels, whatever their state. Instant ones first, so that it has effect at once;
    /// then from the last to the first, so that what is carried up meanwhile is met once more.
    static task<result<void>> erase(self_ptr self, key128 key, limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        self->marks_.erased(key);
        self->erased_.add(key, time.now(), false);
        self->forget(key);
        for (const auto& each : self->levels_) each->try_erase(key);
        result<void> all;
        for (std::size_t i = self->levels_.size(); i-- > self->first_for(key);) {
            self->marks_.erased(key);
            auto failed = co_await erase_at(self, i, key, time, until);
            if (failed) all = *failed;
        }
        self->erased_.add(key, time.now(), static_cast<bool>(all));
        co_return all;
    }

private:
    /// A tag lies in the last level alone, the one that is shared most: what another process
    /// invalidates there is then invalid here, whatever the levels above remember.
    std::size_t first_for(const key128& key) const {
        return is_tag_key(key) ? levels_.size() - 1 : 0;
    }
    static level_set bit(std::size_t level) { return level_set{1} << level; }

    /// One look-up: the best answer so far, who has none, and whose is stale.
    struct search {
        explicit search(std::uint64_t before) : mark(before) {}
        bool ended(time_point now) const { return best && now < best.entry()->fresh_until; }
        level_set to_be_given(time_point now) const {
            return (ended(now) ? lacking | outdated : lacking) & (bit(from) - 1);
        }

        const std::uint64_t mark;  // to know whether the key was erased meanwhile
        cache_hit best;
        std::size_t from = 0;
        level_set lacking = 0, outdated = 0;
    };

    /// Takes what a level answered, if it is of use.
    void note(search& looking, std::size_t i, const key128& key, time_point now, cache_hit found) {
        any_level& level = *levels_[i];
        if (!found || now >= found.entry()->keep_until ||
            erased_.covers(key, found.entry()->stored_at)) {
            level_counts::add(level.counts.misses);
            looking.lacking |= bit(i);
            return;
        }
        level_counts::add(level.counts.hits);
        if (!level.instant) level_counts::add(level.counts.bytes_read, found.entry()->weight());
        if (now >= found.entry()->fresh_until) looking.outdated |= bit(i);
        cache_hit mine(found.entry(), level.name);
        if (!mine.fresher_than(looking.best)) return;
        looking.best = std::move(mine);
        looking.from = i;
    }
    /// What waits to be written into slower levels counts as being there.
    void look_at_waiting(search& looking, const key128& key, time_point now) {
        const pending_write found = waiting(key);
        if (!found.entry || now >= found.entry->keep_until) return;
        std::size_t level = 0;
        while ((found.levels & bit(level)) == 0) ++level;
        cache_hit mine(found.entry, levels_[level]->name);
        if (!mine.fresher_than(looking.best)) return;
        level_counts::add(levels_[level]->counts.hits);
        looking.best = std::move(mine);
        looking.from = level;
    }
    /// Puts what was found into the instant levels that lack it; the others that do.
    level_set carry_up(const search& looking, const key128& key, time_point now) {
        level_set slow = 0;
        const level_set lacking = looking.to_be_given(now);
        for (std::size_t i = 0; i < looking.from; ++i) {
            if ((lacking & bit(i)) == 0) continue;
            if (!levels_[i]->instant) {
                slow |= bit(i);
                continue;
            }
            put_now(i, key, looking.best.entry(), now);
            if (marks_.of(key) != looking.mark) levels_[i]->try_erase(key);
        }
        return slow;
    }
    void queue(const key128& key, entry_ptr entry, level_set levels, std::uint64_t mark,
               const clock_handle& time) {
        pending_write what;
        what.key = key;
        what.bytes = entry->weight();
        what.entry = std::move(entry);
        what.levels = levels;
        what.mark = mark;
        add(std::move(what), time);
    }

    bool put_now(std::size_t i, const key128& key, const entry_ptr& entry, time_point now) {
        any_level& level = *levels_[i];
        if (!level.try_put(key, kept_for(entry, level.policy.ttl, now), now)) return false;
        level_counts::add(level.counts.writes);
        return true;
    }
    task<void> write(pending_write what, clock_handle time) override {
        auto self = std::static_pointer_cast<tiers>(shared_from_this());
        return written_behind(std::move(self), std::move(what), std::move(time));
    }
    static task<void> written_behind(self_ptr self, pending_write what, clock_handle time) {
        co_await put_slowly(self, what.levels, what.mark, what.key, what.entry, time, limit());
    }
    /// Into levels that take time, one after the other. True when one took it.
    static task<bool> put_slowly(self_ptr self, level_set levels, std::uint64_t mark, key128 key,
                                 entry_ptr entry, clock_handle time, limit until) {
        bool kept = false;
        const std::size_t bytes = entry->weight();
        for (std::size_t i = 0; i < self->levels_.size(); ++i) {
            if ((levels & bit(i)) == 0) continue;
            any_level& level = *self->levels_[i];
            if (!level.health.up()) {
                level_counts::add(level.counts.skipped);
                continue;
            }
            if (self->marks_.of(key) != mark) break;  // erased since it was put
            const time_point began = time.now();
            const limit mine = until.earliest(after(began, level.policy.write_limit));
            const level_call call(level, began, level.policy.write_limit, mine);
            auto shorter = kept_for(entry, level.policy.ttl, began);
            auto put = co_await level_answer(self, level.policy.enforced, time, mine,
                                             level.put(key, std::move(shorter), began, mine));
            call.ended(time.now(), put ? nullptr : &put.error());
            if (put) {
                level_counts::add(level.counts.writes);
                level_counts::add(level.counts.bytes_written, bytes);
                kept = true;
            }
            // Erased meanwhile, perhaps before this arrived there.
            const bool erased = self->marks_.of(key) != mark;
            if (erased) co_await erase_at(self, i, key, time, limit());
        }
        co_return kept;
    }
    /// From one level.
    static task<std::optional<error>> erase_at(self_ptr self, std::size_t i, key128 key,
                                               clock_handle time, limit until) {
        any_level& level = *self->levels_[i];
        const time_point began = time.now();
        const limit mine = until.earliest(after(began, level.policy.write_limit));
        const level_call call(level, began, level.policy.write_limit, mine);
        auto gone =
            co_await level_answer(self, level.policy.enforced, time, mine, level.erase(key, mine));
        call.ended(time.now(), gone ? nullptr : &gone.error());
        std::optional<error> failed;
        if (!gone) failed = gone.error();
        co_return failed;
    }

    const std::vector<std::unique_ptr<any_level>> levels_;
    std::size_t front_ = 0;
    std::atomic<bool> behind_{false};
    erase_marks marks_;
    erased_keys erased_;
};

}  // namespace llmkit::detail
