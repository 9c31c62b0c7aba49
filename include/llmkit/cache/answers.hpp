// llmkit/cache/answers.hpp: what the cache layer decides about answers: found, given, kept, how
// old.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/cache/figures.hpp>
#include <llmkit/cache/lease.hpp>
#include <llmkit/cache/lease_desk.hpp>
#include <llmkit/cache/lease_share.hpp>
#include <llmkit/cache/policy.hpp>
#include <llmkit/cache/tags.hpp>
#include <llmkit/core/scope.hpp>
#include <llmkit/core/service.hpp>
#include <llmkit/detail/answer_recording.hpp>
#include <llmkit/detail/cadence.hpp>
#include <llmkit/detail/question.hpp>
#include <llmkit/detail/replay.hpp>
#include <llmkit/detail/stop_if_cancelled.hpp>

namespace llmkit {

namespace detail {

/// What a cache layer's calls, recorders and refreshers share.
template <cache_backend Backend>
class cache_core {
public:
    cache_core(Backend backend, cache_policy policy, cache_figures counted, clock_handle clock,
               std::string upstream)
        : store(std::move(backend)),
          rules(rules_of(policy)),
          origin(std::move(upstream)),
          time(std::move(clock)),
          figures(std::move(counted)),
          policy_(policy),
          tags_(std::make_shared<tag_register<Backend>>(store, time)) {
        if constexpr (leasing_cache_backend<Backend>)
            leases = std::make_shared<lease_desk<Backend>>(store, time);
    }

    bool concerns(const request& ask) const {
        return shareable(ask) && ask.options().tags().size() <= most_tags &&
               (!policy_.only_deterministic || deterministic(ask));
    }
    bool answers(const cache_entry& kept, const request& ask) const {
        return (!refused(kept) || includes(policy_.negative, kept.refusal.kind())) &&
               ask.means(kept.canonical.view(), rules.fields) &&
               kept.operation == ask.operation() && kept.tenant == ask.options().tenant() &&
               kept.origin == origin && kept.headers == headers_key(ask, rules);
    }
    /// A key is only a hash, and a store may be wrong.
    bool answers(const cache_hit& found, const request& ask) const {
        return found && answers(*found.entry(), ask);
    }
    static bool tagged(const cache_hit& found, const request& ask) {
        return found && (!found.entry()->tags.empty() || !ask.options().tags().empty());
    }
    static bool refused(const cache_entry& kept) {
        return kept.refusal.kind() != error_kind::unset;
    }
    enum class age : std::uint8_t { fresh, refreshing, for_errors, gone };
    age age_of(const cache_entry& kept, time_point now) const {
        if (now < kept.fresh_until) return age::fresh;
        if (refused(kept)) return age::gone;
        if (now < after(kept.fresh_until, policy_.stale_while_revalidate)) return age::refreshing;
        if (now < after(kept.fresh_until, policy_.stale_if_error)) return age::for_errors;
        return age::gone;
    }
    bool serves_on_error(const cache_entry& kept, time_point now) const {
        return now < after(kept.fresh_until, policy_.stale_if_error);
    }
    /// An answer from an entry; an error when it cannot be given in the caller's shape.
    result<response> give(const cache_hit& hit, const request& ask, bool stale) const {
        const cache_entry& kept = *hit.entry();
        const call_options& options = ask.options();
        usage_events usage = usage_events::hidden;
        if (options.streamed) {
            if (options.metered) usage = usage_events::for_layer;
            if (wants_usage(ask)) usage = usage_events::for_caller;
        }
        auto events = replay({hit.entry(), kept.events, kept.streamed, kept.speaks},
                             options.streamed, usage, pace_of(kept, ask));
        if (!events) return events.error();
        response_head head;
        head.streamed = options.streamed;
        head.speaks = kept.speaks;
        head.model = kept.model;
        head.request_id = kept.request_id;
        head.came_by.attempts = options.attempts;
        head.came_by.cache_level = hit.level();
        head.came_by.stale = stale;
        head.came_by.cost = 0.0;
        return response(std::move(head), std::move(*events));
    }

    /// The refusal in an entry, as this call's own answer.
    static error give_refusal(const cache_hit& hit, const request& ask) {
        provenance how;
        how.attempts = ask.options().attempts;
        how.cache_level = hit.level();
        how.cost = 0.0;
        return hit.entry()->refusal.with_request_id(hit.entry()->request_id).with_provenance(how);
    }

    std::shared_ptr<const cache_entry> entry(const request& ask, const response_head& head,
                                             answer_recording& recorded, std::vector<tag_mark> tags,
                                             std::vector<std::uint32_t> pauses) const {
        auto made = question_of(ask, std::move(tags), policy_.ttl);
        made->model = head.model;
        made->request_id = head.request_id;
        if (head.speaks) made->dialect = head.speaks->name();
        made->speaks = head.speaks;
        made->streamed = head.streamed;
        made->events = recorded.compact();
        made->pauses = std::move(pauses);
        made->usage = recorded.usage();
        made->keep_until = after(made->fresh_until,
                                 std::max(policy_.stale_while_revalidate, policy_.stale_if_error));
        return made;
    }
    std::shared_ptr<const cache_entry> entry(const request& ask, const error& refusal,
                                             std::vector<tag_mark> tags) const {
        auto made = question_of(ask, std::move(tags), policy_.negative_ttl);
        made->request_id = refusal.request_id();
        made->refusal = error(refusal.kind(), std::string(refusal.message()))
                            .with_status(refusal.status())
                            .with_code(std::string(refusal.code()))
                            .with_where(std::string(refusal.where()));
        return made;
    }
    /// Whether an error is given again: of those who shared it one keeps it.
    bool keeps(const error& why) const {
        return policy_.negative_ttl > duration::zero() && includes(policy_.negative, why.kind()) &&
               !why.retry_after() && why.should_retry() != true && !why.came_by().substitute &&
               why.came_by().role != dedup_role::joined;
    }
    /// Whether a stream's events are timed for whoever is given it later.
    bool times(const response_head& head) const {
        return head.streamed && policy_.replay == replay_pace::recorded;
    }
    bool keeps(const response_head& head) const {
        return policy_.ttl > duration::zero() && head.status >= 200 && head.status < 300 &&
               !head.came_by.stale && !head.came_by.substitute;
    }
    std::size_t max_entry_bytes() const { return policy_.max_entry_bytes; }
    bool may_serve_stale() const { return policy_.stale_if_error > duration::zero(); }
    /// Until when a call waits for another process that asks for the same.
    limit lease_limit(const request& ask) const {
        return ask.wait_limit(
            time.now(), ask.options().streamed ? policy_.lease_wait_streamed : policy_.lease_wait);
    }
    bool takes_leases() const {
        if constexpr (requires { store.has_leases(); }) {
            if (!store.has_leases()) return false;
        }
        return std::max(policy_.lease_wait, policy_.lease_wait_streamed) > duration::zero();
    }
    duration store_patience() const { return policy_.store_limit; }
    limit store_limit(const request& ask) const {
        return ask.wait_limit(time.now(), policy_.store_limit);
    }

    /// What the store has at hand, without a coroutine.
    cache_hit at_hand(const key128& key) const {
        if constexpr (instant_cache_backend<Backend> || front_cache_backend<Backend>) {
            return store.try_find(key, time.now());
        }
        return cache_hit();
    }
    bool fresh(const cache_hit& hit) const {
        return hit && age_of(*hit.entry(), time.now()) == age::fresh;
    }
    /// Asks the store for what is not at hand; a store that fails has nothing, nor has one that
    /// gives another's answer, or one that was invalidated.
    static task<cache_hit> look_up(std::shared_ptr<cache_core> core, key128 key, request ask,
                                   limit until) {
        cache_hit hit;
        const time_point began = core->time.now();
        result<cache_hit> found = error(error_kind::internal, "the store threw");
        try {
            if constexpr (front_cache_backend<Backend>) {
                found = co_await core->store.find_further(key, core->time.now(), until);
            } else {
                found = co_await core->store.find(key, core->time.now(), until);
            }
        } catch (const std::exception&) {
        }
        co_await stop_if_cancelled();
        if (found) {
            hit = std::move(*found);
        } else {
            core->figures.failed(found.error().kind());
        }
        core->figures.found(core->time.now() - began, hit);
        if (!core->answers(hit, ask)) hit = cache_hit();
        if (tagged(hit, ask)) {
            const bool gone = co_await invalidated(core, hit.entry(), ask, until);
            if (gone) hit = cache_hit();
        }
        co_return hit;
    }
    /// Whether an answer was invalidated, or lacks a tag that the call names.
    static task<bool> invalidated(std::shared_ptr<cache_core> core,
                                  std::shared_ptr<const cache_entry> kept, request ask,
                                  limit until) {
        bool stand = has_tags(*kept, ask.options().tags());
        try {
            if (stand)
                stand = co_await tag_register<Backend>::stand(core->tags_, kept->tags, until);
        } catch (const std::exception&) {
            stand = false;
        }
        co_await stop_if_cancelled();
        co_return !stand;
    }
    /// The state of a call's tags before anybody is asked; null when the store cannot tell, so that
    /// the answer cannot be kept.
    static task<std::optional<std::vector<tag_mark>>> tags_of(std::shared_ptr<cache_core> core,
                                                              request ask, limit until) {
        std::optional<std::vector<tag_mark>> marks;
        try {
            marks = co_await tag_register<Backend>::read(core->tags_, ask.options().tags(), until);
        } catch (const std::exception&) {
        }
        co_await stop_if_cancelled();
        co_return marks;
    }
    /// Stores an answer; the claim is let go of when newcomers find it in the store.
    static task<void> file(std::shared_ptr<cache_core> core, key128 key,
                           std::shared_ptr<const cache_entry> entry,
                           std::shared_ptr<answer_claim> claim) {
        try {
            limit until;
            until.until = after(core->time.now(), std::chrono::seconds(5));
            const time_point began = core->time.now();
            const std::size_t bytes = entry->weight();
            auto stored = co_await core->store.put(key, std::move(entry), began, until);
            core->figures.write_took(core->time.now() - began);
            if (stored) {
                core->figures.wrote(bytes);
            } else {
                core->figures.failed(stored.error().kind());  // and has nothing next time
            }
        } catch (const std::exception&) {
            core->figures.failed(error_kind::internal);
        }
        claim.reset();
        // So that a pipeline that is closed waits for it.
        if constexpr (write_behind_backend<Backend>) {
            limit no_longer;
            no_longer.until = after(core->time.now(), std::chrono::seconds(5));
            co_await core->store.written(no_longer);
        }
    }

    static void keep_refusal(const std::shared_ptr<cache_core>& core, const key128& key,
                             const request& ask, const error& why, std::vector<tag_mark> tags,
                             std::shared_ptr<lease_share> lease) {
        try {
            keep(core, key, ask, core->entry(ask, why, std::move(tags)),
                 under_lease(response_head(), std::move(lease)).claim);
        } catch (const std::exception&) {
            // As with answers: the caller has his error all the same.
        }
    }
    /// Stores at once, or beside the caller.
    static void keep(const std::shared_ptr<cache_core>& core, const key128& key, const request& ask,
                     std::shared_ptr<const cache_entry> entry,
                     const std::shared_ptr<answer_claim>& claim) {
        if constexpr (instant_cache_backend<Backend>) {
            const std::size_t bytes = entry->weight();
            if (core->store.try_put(key, std::move(entry), core->time.now()))
                core->figures.wrote(bytes);
        } else if (const auto& link = ask.options().link) {
            link->background().spawn(file(core, key, std::move(entry), claim));
        }
    }

    /// True for the one who may refresh this entry; he says when he has done.
    bool begin_refresh(const key128& key) {
        const std::lock_guard lock(mutex_);
        return refreshing_.insert(key).second;
    }
    void end_refresh(const key128& key) {
        const std::lock_guard lock(mutex_);
        refreshing_.erase(key);
    }

    const Backend store;
    const question_rules rules;
    const std::string origin;
    const clock_handle time;
    const cache_figures figures;
    typename lease_desk_of<Backend>::type leases;  ///< where the store has any

private:
    std::shared_ptr<cache_entry> question_of(const request& ask, std::vector<tag_mark> tags,
                                             duration fresh) const {
        auto made = make_pooled<cache_entry>();
        made->operation = ask.operation();
        made->canonical = ask.shared_canonical(rules.fields);
        made->tenant = ask.options().tenant();
        made->origin = origin;
        made->headers = headers_key(ask, rules);
        made->tags = std::move(tags);
        made->stored_at = time.now();
        made->fresh_until = made->keep_until = after(made->stored_at, fresh);
        return made;
    }
    std::optional<cadence> pace_of(const cache_entry& kept, const request& ask) const {
        if (policy_.replay != replay_pace::recorded || kept.pauses.empty()) return {};
        if (!(policy_.replay_speed > 0)) return {};
        return cadence{time, ask.wait_limit(time.now()), kept.pauses, policy_.replay_speed,
                       policy_.replay_gap};
    }
    static question_rules rules_of(const cache_policy& policy) {
        question_rules what;
        if (policy.ignore_user) what.fields = key_fields::without_user;
        what.headers = !policy.ignore_headers;
        return what;
    }

    const cache_policy policy_;
    const std::shared_ptr<tag_register<Backend>> tags_;
    std::mutex mutex_;
    std::unordered_set<key128> refreshing_;
};

/// Whether an old answer is better than this error: the provider is at fault, or the way to it.
constexpr bool passing_trouble(error_kind kind) {
    switch (kind) {
        case error_kind::rate_limited:
        case error_kind::overloaded:
        case error_kind::server:
        case error_kind::resolve:
        case error_kind::connect:
        case error_kind::tls:
        case error_kind::connection_lost:
        case error_kind::timeout:
        case error_kind::protocol:
        case error_kind::truncated:
        case error_kind::refused:
            return true;
        default:
            return false;
    }
}

}  // namespace detail

}  // namespace llmkit
