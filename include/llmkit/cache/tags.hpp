// llmkit/cache/tags.hpp: invalidates answers by tag, and tells whether their tags still stand.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/random_source.hpp>

namespace llmkit {

/// Lets go of all stored answers that have a tag: once this has ended well, nobody who shares the
/// store is given one of them, nor one that was being made meanwhile.
///
///     ask.options().add_tag("catalogue-7");                      // or chat_request(…).tag(…)
///     …
///     auto gone = co_await llmkit::invalidate(answers, "catalogue-7");
///     if (!gone) fmt::print("not yet: {}\n", gone.error());      // try again
///
/// It costs one erasure, however many answers there are; they make room by and by. An error means
/// that the store could not be reached within `at_most`. A call that was under way still gets its
/// answer, which is not given again.
template <cache_backend Store>
task<result<void>> invalidate(Store store, std::string tag,
                              duration at_most = std::chrono::seconds(5)) {
    const executor here = co_await asio::this_coro::executor;
    limit until;
    until.until = after(clock_handle(here).now(), at_most);
    co_return co_await store.erase(tag_key(tag), until);
}

namespace detail {

/// A tag's entry lives so long at most: then its answers are asked for again, and a tag that nobody
/// uses any more has left the store. Never renewed: that could undo an erasure.
inline constexpr std::chrono::hours longest_tag{24 * 30};

inline std::shared_ptr<const cache_entry> tag_entry(const tag_mark& mark, time_point now) {
    auto made = std::make_shared<cache_entry>();
    made->operation = "tag";
    made->tags.push_back(mark);
    made->stored_at = now;
    made->fresh_until = made->keep_until = after(now, longest_tag);
    return made;
}
/// What a tag's entry says, if it is one.
inline std::optional<tag_mark> mark_of(const cache_hit& found, const key128& key) {
    if (!found || found.entry()->operation != "tag" || found.entry()->tags.size() != 1) return {};
    const tag_mark mark = found.entry()->tags.front();
    return mark.tag == key.low ? std::optional(mark) : std::nullopt;
}

/// Whether an answer has all the tags that a call names.
inline bool has_tags(const cache_entry& kept, const std::vector<std::string>& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& name) {
        const std::uint64_t tag = tag_key(name).low;
        return std::any_of(kept.tags.begin(), kept.tags.end(),
                           [tag](const tag_mark& mark) { return mark.tag == tag; });
    });
}

/// A number for a state of some tags. Calls under different ones must not share an answer.
inline std::uint64_t state_of(const std::vector<tag_mark>& marks) {
    key_builder key;
    for (const tag_mark& mark : marks) key.add(mark.tag).add(mark.generation);
    return marks.empty() ? 0 : key.finish().low;
}

/// The generations of tags in one store, as the calls of one cache layer see them. Thread-safe; a
/// shared core, which its tasks hold.
template <cache_backend Store>
class tag_register {
public:
    using self_ptr = std::shared_ptr<tag_register>;
    using marks = std::vector<tag_mark>;

    tag_register(Store store, clock_handle time)
        : store_(std::move(store)), time_(std::move(time)) {}

    /// Whether these are still the tags' generations. False also when the store cannot tell.
    static task<bool> stand(self_ptr self, marks noted, limit until) {
        for (const tag_mark& mark : noted) {
            auto now = co_await self->find({tag_keys, mark.tag}, until);
            if (!now || now->generation != mark.generation) co_return false;
        }
        co_return true;
    }

    /// The generations of these tags, made where there are none: then they are in the store before
    /// this ends, and what is asked afterwards is newer than whatever was invalidated before. Null
    /// when the store cannot tell.
    static task<std::optional<marks>> read(self_ptr self, std::vector<std::string> names,
                                           limit until) {
        marks all;
        for (const std::string& name : names) {
            const key128 key = tag_key(name);
            auto mark = co_await self->find(key, until);
            if (mark && mark->generation == 0) mark = co_await made(self, key, until);
            if (!mark) co_return std::nullopt;
            all.push_back(*mark);
        }
        std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.tag < b.tag; });
        all.erase(std::unique(all.begin(), all.end()), all.end());
        co_return all;
    }

private:
    /// Generation 0 when the tag has none; null when the store cannot tell.
    task<std::optional<tag_mark>> find(key128 key, limit until) {
        auto found = co_await store_.find(key, time_.now(), until);
        if (!found) co_return std::nullopt;
        co_return mark_of(*found, key).value_or(tag_mark{key.low, 0});
    }

    /// One caller at a time makes a tag's generation; the others wait, or each would make his own
    /// and be given no other's answer.
    static task<std::optional<tag_mark>> made(self_ptr self, key128 key, limit until) {
        std::unique_lock lock(self->mutex_);
        while (!self->making_.insert(key.low).second) {
            const auto why = co_await wait(lock, self->made_, self->time_, until);
            if (why != woke::by_bell) co_return std::nullopt;
        }
        lock.unlock();
        const turn mine(self, key.low);
        auto mark = co_await self->find(key, until);
        const bool none = mark && mark->generation == 0;  // not made by who was waited for
        if (none) mark = co_await put(self, {key.low, self->new_generation()}, until);
        co_return mark;
    }
    static task<std::optional<tag_mark>> put(self_ptr self, tag_mark mark, limit until) {
        const time_point now = self->time_.now();
        auto stored =
            co_await self->store_.put({tag_keys, mark.tag}, tag_entry(mark, now), now, until);
        if (!stored) co_return std::nullopt;
        co_return mark;
    }

    // Not the clock's, which is the same for all who share a store in a simulation.
    static std::uint64_t seed() {
        std::random_device random;
        return (std::uint64_t{random()} << 32) | random();
    }
    std::uint64_t new_generation() { return std::max<std::uint64_t>(generations_(), 1); }

    class turn {
    public:
        turn(self_ptr self, std::uint64_t tag) : self_(std::move(self)), tag_(tag) {}
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;
        ~turn() {
            std::vector<wakeup> woken;
            const std::lock_guard lock(self_->mutex_);
            self_->making_.erase(tag_);
            woken = self_->made_.ring_all();
        }

    private:
        self_ptr self_;
        std::uint64_t tag_;
    };

    const Store store_;
    const clock_handle time_;
    random_source generations_{seed()};
    std::mutex mutex_;
    bell made_;
    std::unordered_set<std::uint64_t> making_;
};

}  // namespace detail

}  // namespace llmkit
