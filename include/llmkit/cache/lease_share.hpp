// llmkit/cache/lease_share.hpp: a lease while this process uses it: renewed, then released.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <llmkit/cache/lease.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/scope.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit::detail {

/// Whether a lease is still wanted.
struct lease_life {
    void end() {
        wakeup woken;
        const std::lock_guard lock(mutex);
        over = true;
        woken = ended.ring_one();
    }
    std::mutex mutex;
    bell ended;
    bool over = false;
};

/// A lease that several calls of this process have together; released when the last lets go.
class lease_share {
public:
    /// Null when the pipeline is being closed: then the lease runs out by itself.
    static std::shared_ptr<lease_share> of(std::shared_ptr<cache_lease> held, scope& background,
                                           clock_handle time) {
        auto life = std::make_shared<lease_life>();
        if (!background.spawn(keep(life, std::move(held), std::move(time)))) return nullptr;
        return std::make_shared<lease_share>(std::move(life));
    }
    explicit lease_share(std::shared_ptr<lease_life> life) : life_(std::move(life)) {}
    lease_share(const lease_share&) = delete;
    lease_share& operator=(const lease_share&) = delete;
    ~lease_share() { life_->end(); }

    /// Keeps a shared call open for the others who have this lease: they may have looked into the
    /// store just before the answer came there.
    void keep_open(std::shared_ptr<answer_claim> call) {
        const std::lock_guard lock(mutex_);
        calls_.push_back(std::move(call));
    }

private:
    static task<void> keep(std::shared_ptr<lease_life> life, std::shared_ptr<cache_lease> held,
                           clock_handle time) {
        bool mine = true;
        try {
            mine = co_await renew_until_over(life, held, time);
        } catch (const asio::system_error&) {  // the pipeline goes
        }
        if (!mine) co_return;
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        limit until;
        until.until = after(time.now(), std::chrono::seconds(1));
        co_await held->release(until);
    }
    /// False when the lease was lost.
    static task<bool> renew_until_over(std::shared_ptr<lease_life> life,
                                       std::shared_ptr<cache_lease> held, clock_handle time) {
        const duration pause = std::max<duration>(held->term() / 3, std::chrono::milliseconds(1));
        std::unique_lock lock(life->mutex);
        while (!life->over) {
            limit until;
            until.until = after(time.now(), pause);
            const woke why = co_await wait(lock, life->ended, time, until);
            if (life->over || why == woke::by_bell) continue;
            lock.unlock();
            until.until = after(time.now(), pause);
            auto renewed = co_await held->renew(until);
            if (renewed && !*renewed) co_return false;
            lock.lock();
        }
        co_return true;
    }

    const std::shared_ptr<lease_life> life_;
    std::mutex mutex_;
    std::vector<std::shared_ptr<answer_claim>> calls_;
};

/// The claim of an answer that was asked for under a lease: whoever stores the answer has the lease
/// until then.
class leased_claim final : public answer_claim {
public:
    leased_claim(std::shared_ptr<lease_share> share, std::shared_ptr<answer_claim> inner)
        : share_(std::move(share)), inner_(std::move(inner)) {}
    ~leased_claim() override {
        if (inner_) share_->keep_open(std::move(inner_));
    }
    bool take() override { return !inner_ || inner_->take(); }

private:
    std::shared_ptr<lease_share> share_;
    std::shared_ptr<answer_claim> inner_;
};

/// A head for the recorder of an answer that was asked for under a lease, if any.
inline response_head under_lease(response_head head, std::shared_ptr<lease_share> share) {
    if (share) head.claim = std::make_shared<leased_claim>(std::move(share), std::move(head.claim));
    return head;
}

}  // namespace llmkit::detail
