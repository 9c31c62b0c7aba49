// llmkit/cache/tiered_lease.hpp: a lease in one level of a tiered cache.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <llmkit/cache/lease.hpp>
#include <llmkit/cache/level_call.hpp>
#include <llmkit/cache/tiers.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>

namespace llmkit::detail {

/// Released when what was put is where the others look, which with write-behind is later than `put`.
class tiered_lease final : public cache_lease {
public:
    tiered_lease(std::shared_ptr<tiers> in, std::shared_ptr<cache_lease> inner)
        : in_(std::move(in)), inner_(std::move(inner)) {}

    /// Null: another process has it. An error where the level is down.
    static task<result<std::shared_ptr<cache_lease>>> take(std::shared_ptr<tiers> in, key128 key,
                                                           limit until) {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        any_level* const level = in->leasing();
        if (!level) co_return error(error_kind::refused, "the level that has leases is down");
        const limit mine = until.earliest(after(time.now(), level->policy.limit));
        auto got =
            co_await level_answer(in, level->policy.enforced, time, mine, level->lease(key, mine));
        if (got && *got) *got = std::make_shared<tiered_lease>(in, std::move(*got));
        co_return got;
    }
    duration term() const override { return inner_->term(); }
    task<result<bool>> renew(limit until) override { return inner_->renew(until); }
    task<void> release(limit until) override {
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        co_await tiers::written(in_, until);
        limit more;
        more.until = std::max(until.effective(), after(time.now(), std::chrono::seconds(1)));
        co_await inner_->release(more);
    }

private:
    const std::shared_ptr<tiers> in_;
    const std::shared_ptr<cache_lease> inner_;
};

}  // namespace llmkit::detail
