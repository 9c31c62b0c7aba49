// llmkit/layer/cache.hpp: answers that were given before are given again, without asking.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/answer_recorder.hpp>
#include <llmkit/cache/answers.hpp>
#include <llmkit/cache/backend.hpp>
#include <llmkit/core/compose.hpp>
#include <llmkit/core/scope.hpp>
#include <llmkit/core/service.hpp>
#include <llmkit/detail/question.hpp>

namespace llmkit {

/// The service that `cache` makes.
template <service Next, cache_backend Backend>
class caching {
public:
    caching(Next next, Backend store, cache_policy policy, cache_figures figures = cache_figures())
        : core_(std::make_shared<core>(std::move(next), std::move(store), policy,
                                       std::move(figures))) {}

    clock_handle clock() const { return core_->time; }
    std::string origin() const { return core_->origin; }
    task<result<response>> operator()(request ask) const { return serve(core_, std::move(ask)); }

private:
    struct core : detail::cache_core<Backend> {
        core(Next wrapped, Backend kept_in, cache_policy policy, cache_figures counted)
            : detail::cache_core<Backend>(std::move(kept_in), policy, std::move(counted),
                                          wrapped.clock(), origin_of(wrapped)),
              next(std::move(wrapped)) {}
        Next next;
    };
    using age = typename core::age;

    static error not_cached() {
        return error(error_kind::not_cached, "there is no fresh answer in the cache");
    }

    /// The way of a hit; kept short, so that its frame is small.
    static task<result<response>> serve(std::shared_ptr<core> self, request ask) {
        const cache_mode mode = ask.options().cache;
        if (!self->concerns(ask)) {
            if (mode == cache_mode::only_if_cached) co_return not_cached();
            co_return co_await self->next(std::move(ask));
        }
        const key128 key = detail::question_key(ask, self->origin, self->rules);
        cache_hit hit;
        limit until;
        const bool tagged = !ask.options().tags().empty();
        if (tagged || !instant_cache_backend<Backend>) until = self->store_limit(ask);
        if (mode != cache_mode::refresh) {
            hit = self->at_hand(key);
            if (!self->answers(hit, ask)) hit = cache_hit();
            if (core::tagged(hit, ask)) {
                const bool gone = co_await core::invalidated(self, hit.entry(), ask, until);
                if (gone) hit = cache_hit();
            }
            if constexpr (!instant_cache_backend<Backend>) {
                if (!self->fresh(hit)) {
                    auto other = co_await core::look_up(self, key, ask, until);
                    if (other.fresher_than(hit)) hit = std::move(other);
                }
            }
        }
        if (hit) {
            const age how_old = self->age_of(*hit.entry(), self->time.now());
            const bool refreshing = how_old == age::refreshing && mode == cache_mode::normal;
            if (how_old == age::fresh && core::refused(*hit.entry())) {
                self->figures.refusal();
                co_return core::give_refusal(hit, ask);
            }
            if (how_old == age::fresh || refreshing) {
                auto given = self->give(hit, ask, refreshing);
                if (given) {
                    self->figures.hit(refreshing);
                    if (refreshing) start_refresh(self, key, ask, std::move(hit));
                    co_return given;
                }
                hit = cache_hit();
            }
        }
        if (mode == cache_mode::only_if_cached) co_return not_cached();
        if (mode == cache_mode::normal) self->figures.miss();
        if constexpr (leasing_cache_backend<Backend>) {
            if (mode == cache_mode::normal && self->takes_leases())
                co_return co_await in_turn(std::move(self), key, std::move(ask), std::move(hit));
        }
        co_return co_await fetch(std::move(self), key, std::move(ask), std::move(hit), until, {});
    }

    /// Asks when no other process does, unless the answer comes into the store meanwhile.
    static task<result<response>> in_turn(std::shared_ptr<core> self, key128 key, request ask,
                                          cache_hit old) {
        typename detail::lease_desk<Backend>::visit visit(
            self->leases, key, ask, self->lease_limit(ask), self->store_patience());
        detail::lease_turn turn = detail::lease_turn::look_again;
        while (turn == detail::lease_turn::look_again) {
            turn = co_await visit.next();
            if (turn == detail::lease_turn::ask) break;
            request look = ask;
            look.options().cache = cache_mode::only_if_cached;
            auto seen = co_await serve(self, std::move(look));
            if (seen || seen.error().kind() != error_kind::not_cached) co_return seen;
        }
        auto share = visit.leave();
        const limit until = self->store_limit(ask);
        co_return co_await fetch(std::move(self), key, std::move(ask), std::move(old), until,
                                 std::move(share));
    }

    /// Asks, and records what comes. `old` may stand in for a failure.
    static task<result<response>> fetch(std::shared_ptr<core> self, key128 key, request ask,
                                        cache_hit old, limit until,
                                        std::shared_ptr<detail::lease_share> lease) {
        ask.canonical(self->rules.fields);  // it will be kept, and is still at hand
        request onward = ask;
        // Before anybody is asked: what is invalidated from here on is not given again.
        std::optional<std::vector<tag_mark>> tags(std::in_place);
        if (!ask.options().tags().empty()) {
            tags = co_await core::tags_of(self, ask, until);
            if (tags) onward.options().tag_state = detail::state_of(*tags);
        }
        // What is stored should know what it cost; who did not ask does not see it.
        const time_point began = self->time.now();
        const bool metering = ask.options().streamed && !ask.options().metered;
        if (metering) onward.options().metered = true;
        auto answer = co_await self->next(std::move(onward));
        const bool missed = ask.options().cache != cache_mode::refresh;
        if (answer) {
            answer->head().came_by.missed = missed;
        } else if (missed) {
            provenance how = answer.error().came_by();
            how.missed = true;
            answer = answer.error().with_provenance(std::move(how));
        }
        if (answer && old && self->may_serve_stale()) co_await answer->events().peek();
        if (old) {
            const error* failed = failure_of(answer);
            const bool standing_in = failed && detail::passing_trouble(failed->kind()) &&
                                     self->serves_on_error(*old.entry(), self->time.now());
            if (standing_in) {
                auto given = self->give(old, ask, true);
                if (given) {
                    self->figures.hit(true);
                    given->head().came_by.attempts = failed->came_by().attempts;
                    co_return given;
                }
            }
        }
        if (!answer) {
            // A refusal never takes an answer's place.
            const bool refused = tags && missed && !old && self->keeps(answer.error());
            if (refused)
                core::keep_refusal(self, key, ask, answer.error(), std::move(*tags),
                                   std::move(lease));
            co_return answer;
        }
        if (metering) answer->events().hide_injected();
        if (tags && self->keeps(answer->head())) {
            answer->events().attach(detail::answer_recorder<Backend>(
                self, key, std::move(ask), detail::under_lease(answer->head(), std::move(lease)),
                std::move(*tags), began));
        }
        co_return answer;
    }
    static const error* failure_of(const result<response>& answer) {
        if (!answer) return &answer.error();
        const stream_item* first = answer->events().peeked();
        return first && first->failed() ? &first->error() : nullptr;
    }

    /// Gives up the right to refresh, however the refresh ends.
    class refresh_turn {
    public:
        refresh_turn(std::shared_ptr<core> self, const key128& key)
            : self_(std::move(self)), key_(key) {}
        refresh_turn(refresh_turn&&) noexcept = default;
        refresh_turn& operator=(refresh_turn&&) = delete;
        ~refresh_turn() {
            if (self_) self_->end_refresh(key_);
        }

    private:
        std::shared_ptr<core> self_;
        key128 key_;
    };

    static void start_refresh(const std::shared_ptr<core>& self, const key128& key, request ask,
                              cache_hit old) {
        const auto link = ask.options().link;
        if (!link || !self->begin_refresh(key)) return;
        refresh_turn turn(self, key);
        call_options& options = ask.options();
        options.link = link->detached();
        options.deadline = limit();  // the caller's limit is not the answer's
        options.cache = cache_mode::normal;
        link->background().spawn(
            refresh(self, key, std::move(ask), std::move(old), std::move(turn)));
    }
    static limit no_time() {
        limit none;
        none.until = time_point::min();
        return none;
    }
    static task<void> refresh(std::shared_ptr<core> self, key128 key, request ask, cache_hit old,
                              refresh_turn) {
        const auto link = ask.options().link;
        const limit until = self->store_limit(ask);
        std::shared_ptr<detail::lease_share> lease;
        if constexpr (leasing_cache_backend<Backend>) {
            if (self->takes_leases()) {
                typename detail::lease_desk<Backend>::visit visit(self->leases, key, ask, no_time(),
                                                                  self->store_patience());
                const detail::lease_turn turn = co_await visit.next();
                if (turn == detail::lease_turn::ask) co_return;  // another process does it
                request look = ask;
                look.options().cache = cache_mode::only_if_cached;
                auto seen = co_await serve(self, std::move(look));
                if (seen) co_return;
                lease = visit.leave();
            }
        }
        auto answer =
            co_await fetch(self, key, std::move(ask), std::move(old), until, std::move(lease));
        if (!answer) co_return;
        auto& events = answer->events();
        for (bool more = true; more;) {
            auto item = co_await events.next();
            more = static_cast<bool>(item);
        }
    }

    std::shared_ptr<core> core_;
};

/// Gives answers again that were given before, from `store`, such as `memory_cache(10'000)`.
///
///     auto client = llmkit::pipeline(provider) | llmkit::retry() | llmkit::dedup()
///                 | llmkit::cache(llmkit::memory_cache(10'000), {.ttl = 10min});
///
/// Found again is what asks the same of the same upstream for the same tenant; whether it is asked
/// for in one piece or as a stream makes no difference. Streams are recorded as they pass. Only
/// complete answers are kept. Adding this layer is the choice to give sampled answers again; with
/// `.only_deterministic` only those at temperature 0 are. A store that fails costs at most
/// `store_limit` and fails no call. `cache_mode::bypass` and an idempotency key go past it. What
/// it does is counted in `figures`, for `metrics::watch`.
template <cache_backend Backend>
auto cache(Backend store, cache_policy policy = {}, cache_figures figures = cache_figures()) {
    return make_layer([store, policy, figures](auto next) {
        return caching<decltype(next), Backend>(std::move(next), store, policy, figures);
    });
}

}  // namespace llmkit
