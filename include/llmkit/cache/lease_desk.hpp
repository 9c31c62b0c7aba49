// llmkit/cache/lease_desk.hpp: the calls of this process that want to ask the same, and their turn.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include <llmkit/cache/lease.hpp>
#include <llmkit/cache/lease_share.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/scope.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/random_source.hpp>

namespace llmkit::detail {

/// What a call that missed does next.
enum class lease_turn : std::uint8_t {
    ask,            ///< asks the provider, with the lease it has or without one
    look_then_ask,  ///< looks into the store once more, and asks if there still is nothing
    look_again,     ///< looks into the store, and comes back if there still is nothing
};

/// One a cache layer. Of the calls that want the same answer one goes to the store, for the lease
/// and again and again while another process has it; the others wait for that one. Calls that find
/// their process in possession of the lease share it: a `dedup` inside the cache then joins them.
template <leasing_cache_backend Backend>
class lease_desk {
public:
    lease_desk(Backend store, clock_handle time)
        : store_(std::move(store)), time_(std::move(time)), chance_(time_.seed()) {}
    lease_desk(const lease_desk&) = delete;
    lease_desk& operator=(const lease_desk&) = delete;

    class visit;

private:
    struct place {
        std::weak_ptr<lease_share> held;
        bool busy = false;  // somebody is at the store
        std::size_t visitors = 0;
        bell changed;
    };

    // Under the mutex: forgets, every now and then, where nobody is and nothing is held.
    void tidy() {
        if (places_.size() < tidy_at_) return;
        std::erase_if(places_, [](const auto& one) {
            return one.second.visitors == 0 && one.second.held.expired();
        });
        tidy_at_ = std::max<std::size_t>(64, 2 * places_.size());
    }

    const Backend store_;
    const clock_handle time_;
    random_source chance_;
    std::mutex mutex_;
    std::unordered_map<key128, place> places_;
    std::size_t tidy_at_ = 64;
};

/// A call on its way to its turn. Lives in the frame of one call.
template <leasing_cache_backend Backend>
class lease_desk<Backend>::visit {
public:
    /// Waits at most until `patience`; each step in the store takes at most `store_limit`.
    visit(std::shared_ptr<lease_desk> at, const key128& key, const request& ask, limit patience,
          duration store_limit)
        : desk_(std::move(at)),
          key_(key),
          link_(ask.options().link),
          patience_(patience),
          store_limit_(store_limit) {
        const std::lock_guard lock(desk_->mutex_);
        at_ = &desk_->places_[key_];
        ++at_->visitors;
    }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() { leave(); }

    task<lease_turn> next() {
        if (!link_) co_return lease_turn::ask;  // nobody could renew it
        std::unique_lock lock(desk_->mutex_);
        if ((share_ = at_->held.lock())) co_return lease_turn::look_then_ask;
        if (at_->busy && !mine_) {
            if (out_of_time()) co_return lease_turn::ask;
            const woke why = co_await wait(lock, at_->changed, desk_->time_, patience_);
            co_return why == woke::by_bell ? lease_turn::look_again : lease_turn::ask;
        }
        mine_ = at_->busy = true;
        lock.unlock();
        auto lease = co_await try_lease();
        if (!lease) co_return lease_turn::ask;
        if (*lease) {
            settle(lease_share::of(std::move(*lease), link_->background(), desk_->time_));
            co_return lease_turn::look_then_ask;
        }
        if (out_of_time()) co_return lease_turn::ask;
        const limit until = patience_.earliest(after(desk_->time_.now(), pause()));
        const woke why = co_await sleep_until(desk_->time_, until);
        co_return why == woke::by_limit ? lease_turn::look_again : lease_turn::ask;
    }
    /// Ends the visit; the lease, or this process's share in it, or null.
    std::shared_ptr<lease_share> leave() {
        std::vector<wakeup> woken;  // fired without the lock
        const std::lock_guard lock(desk_->mutex_);
        if (!at_) return nullptr;
        if (std::exchange(mine_, false)) {
            at_->busy = false;
            woken = at_->changed.ring_all();
        }
        --std::exchange(at_, nullptr)->visitors;
        desk_->tidy();
        return std::move(share_);
    }

private:
    bool out_of_time() const { return patience_.effective() <= desk_->time_.now(); }
    task<result<std::shared_ptr<cache_lease>>> try_lease() {
        limit until;
        until.until = after(desk_->time_.now(), store_limit_);
        until.owner = patience_.owner;
        result<std::shared_ptr<cache_lease>> got;
        try {
            got = co_await desk_->store_.lease(key_, until);
        } catch (const std::exception&) {
        }
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) throw_cancelled();
        co_return got;
    }
    void settle(std::shared_ptr<lease_share> share) {
        std::vector<wakeup> woken;  // fired without the lock
        const std::lock_guard lock(desk_->mutex_);
        share_ = std::move(share);
        at_->held = share_;
        mine_ = at_->busy = false;
        woken = at_->changed.ring_all();
    }
    duration pause() {
        constexpr duration first = std::chrono::milliseconds(10);
        constexpr duration most = std::chrono::milliseconds(100);
        pause_ = pause_ == duration::zero() ? first : std::min<duration>(pause_ * 3 / 2, most);
        const auto part = static_cast<std::uint64_t>(pause_.count()) / 2;
        return pause_ - duration(static_cast<duration::rep>(desk_->chance_() % (part + 1)));
    }

    const std::shared_ptr<lease_desk> desk_;
    const key128 key_;
    const std::shared_ptr<const call_link> link_;
    const limit patience_;
    const duration store_limit_;
    place* at_ = nullptr;
    bool mine_ = false;  // this call is the one at the store
    std::shared_ptr<lease_share> share_;
    duration pause_{};
};

/// The desk of a cache layer over a store, if the store has leases.
template <class Backend>
struct lease_desk_of {
    struct type {};
};
template <leasing_cache_backend Backend>
struct lease_desk_of<Backend> {
    using type = std::shared_ptr<lease_desk<Backend>>;
};

}  // namespace llmkit::detail
