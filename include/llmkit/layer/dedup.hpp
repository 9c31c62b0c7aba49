// llmkit/layer/dedup.hpp: equal calls at the same time share one call upstream.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include <llmkit/core/compose.hpp>
#include <llmkit/core/flight.hpp>
#include <llmkit/core/service.hpp>
#include <llmkit/detail/pooled.hpp>
#include <llmkit/detail/question.hpp>

namespace llmkit {

struct dedup_policy {
    /// Calls that differ only in the body's `user` share as well.
    bool ignore_user = false;
    /// Calls that differ only in extra headers share as well.
    bool ignore_headers = false;
    /// A call that began longer ago than this takes nobody else in.
    duration open_for = std::chrono::minutes(10);
    /// How far a shared stream is read ahead of its foremost reader, who takes up to as many at
    /// once, in events.
    std::size_t window = 16;
    /// How much of a shared stream is kept for late and slow readers; each event counts some 140
    /// bytes beside its own.
    std::size_t log_bytes = 4 * 1024 * 1024;
};
// So that dedup({.window = 4}) is safe inside a co_await expression on g++ 12.
static_assert(std::is_trivially_destructible_v<dedup_policy>);

namespace detail {

/// The calls in flight by question. A flight stands here until it has gone.
class flight_table : public std::enable_shared_from_this<flight_table> {
public:
    explicit flight_table(dedup_policy policy) : policy_(policy) {}

    question_rules rules() const {
        question_rules what;
        if (policy_.ignore_user) what.fields = key_fields::without_user;
        what.headers = !policy_.ignore_headers;
        return what;
    }

    struct boarding {
        boarding() {}
        flight_seat seat;     ///< empty: the keys clash, this call goes alone
        bool leader = false;  ///< the flight is new and must be launched
    };

    /// A seat in the flight for this question, or the first one of a new flight.
    boarding board(const key128& key, const request& ask, const clock_handle& time) {
        const time_point now = time.now();
        boarding taken;
        std::shared_ptr<flight> found;  // outlives the lock: its end calls `land`
        std::optional<request> replaced;
        const std::lock_guard lock(mutex_);
        entry& place = flights_[key];
        found = place.shared.lock();
        if (found && now < after(place.began, policy_.open_for)) {
            if (!same_question(*place.question, ask, rules())) return taken;
            if (auto seat = found->join()) {
                taken.seat = std::move(*seat);
                return taken;
            }
        }
        taken.leader = true;
        taken.seat = flight::prepare(time, {policy_.window, policy_.log_bytes});
        place.shared = taken.seat.shared();
        place.began = now;
        place.number = ++flown_;
        replaced = std::exchange(place.question, without_call(ask));
        taken.seat.shared()->pin(make_pooled<ticket>(weak_from_this(), key, flown_));
        return taken;
    }
    std::size_t size() const {
        const std::lock_guard lock(mutex_);
        return flights_.size();
    }

private:
    struct entry {
        std::weak_ptr<flight> shared;
        std::optional<request> question;
        time_point began;
        std::uint64_t number = 0;
    };
    /// Goes with its flight.
    class ticket {
    public:
        ticket(std::weak_ptr<flight_table> from, key128 key, std::uint64_t number)
            : from_(std::move(from)), key_(key), number_(number) {}
        ticket(const ticket&) = delete;
        ticket& operator=(const ticket&) = delete;
        ~ticket() {
            if (auto table = from_.lock()) table->land(key_, number_);
        }

    private:
        std::weak_ptr<flight_table> from_;
        key128 key_;
        std::uint64_t number_;
    };

    /// What is asked alone: the call that asks it first may end before the flight does.
    static request without_call(request ask) {
        call_options& options = ask.options();
        options.link.reset();
        options.attempts = trail();
        return ask;
    }
    void land(const key128& key, std::uint64_t number) {
        std::optional<request> dropped;
        const std::lock_guard lock(mutex_);
        const auto place = flights_.find(key);
        if (place == flights_.end() || place->second.number != number) return;
        dropped = std::move(place->second.question);
        flights_.erase(place);
    }

    const dedup_policy policy_;
    mutable std::mutex mutex_;
    // A node from the pool: every call adds one and takes it out.
    std::unordered_map<key128, entry, std::hash<key128>, std::equal_to<>,
                       pool_allocator<std::pair<const key128, entry>>>
        flights_;
    std::uint64_t flown_ = 0;
};

}  // namespace detail

/// The service that `dedup` makes.
template <service Next>
class deduplicating {
public:
    deduplicating(Next next, dedup_policy policy)
        : core_(std::make_shared<core>(std::move(next), policy)) {}

    clock_handle clock() const { return core_->time; }
    std::string origin() const { return core_->origin; }
    task<result<response>> operator()(request ask) const { return share(core_, std::move(ask)); }

    /// Questions in flight now.
    std::size_t in_flight() const { return core_->flights->size(); }

private:
    struct core {
        core(Next wrapped, dedup_policy policy)
            : next(std::move(wrapped)),
              time(next.clock()),
              origin(origin_of(next)),
              flights(std::make_shared<detail::flight_table>(policy)) {}

        /// Calls share only when they want the answer in the same way.
        key128 key(const request& ask) const {
            const call_options& options = ask.options();
            const std::uint64_t way = (options.streamed ? 1U : 0U) | (options.metered ? 2U : 0U) |
                                      (options.cache == cache_mode::refresh ? 4U : 0U);
            key_builder made;
            made.add(detail::question_key(ask, origin, flights->rules())).add(way);
            made.add(options.tag_state);
            if (options.streamed) made.add(detail::stream_options_of(ask));
            return made.finish();
        }

        Next next;
        clock_handle time;
        std::string origin;
        std::shared_ptr<detail::flight_table> flights;
    };

    static task<result<response>> share(std::shared_ptr<core> self, request ask) {
        if (!detail::shareable(ask)) co_return co_await self->next(std::move(ask));
        auto boarded = self->flights->board(self->key(ask), ask, self->time);
        const auto shared = boarded.seat.shared();
        if (!shared) co_return co_await self->next(std::move(ask));

        shared->extend(ask.options().deadline.effective());
        if (boarded.leader) shared->launch(fly(self, shared.get(), ask));
        const dedup_role role = boarded.leader ? dedup_role::leader : dedup_role::joined;
        const limit own = ask.wait_limit(self->time.now());
        auto answer = co_await flight_seat::answer(std::move(boarded.seat), own);
        if (answer) {
            answer->head().came_by.role = role;
            co_return answer;
        }
        provenance how = answer.error().came_by();
        how.role = role;
        co_return answer.error().with_provenance(std::move(how));
    }

    /// The shared call. Runs in the flight, which outlives it.
    static task<result<response>> fly(std::shared_ptr<core> self, flight* shared, request ask) {
        call_options& options = ask.options();
        options.deadline = limit();
        options.deadline.until = time_point::min();
        options.deadline.extended = &shared->until();
        if (options.link) options.link = options.link->detached();
        auto link = options.link;
        auto answer = co_await self->next(std::move(ask));
        if (answer && link && !answer->events().single()) answer->events().pin(std::move(link));
        co_return answer;
    }

    std::shared_ptr<core> core_;
};

/// Lets calls with equal questions that are in flight at the same time share one upstream call.
///
///     auto client = llmkit::pipeline(provider) | llmkit::retry() | llmkit::dedup();
///
/// Equal is what asks the same of the same upstream for the same tenant in the same way (unary or
/// streamed): detail/question.hpp. A late joiner of a stream gets its earlier events first. A
/// caller who leaves leaves the others alone; when the last one does, the call is cancelled. Each
/// caller keeps his own deadline; the shared call has the latest of them. An error reaches all who
/// waited; who comes after it asks anew. `cache_mode::bypass` and an idempotency key go past it.
inline auto dedup(dedup_policy policy = {}) {
    return make_layer(
        [policy](auto next) { return deduplicating<decltype(next)>(std::move(next), policy); });
}

}  // namespace llmkit
