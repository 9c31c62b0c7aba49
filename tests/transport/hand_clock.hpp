// Time over real sockets that passes when the test says so: no limit ends early on a busy machine.
#pragma once

#include <chrono>
#include <utility>

#include <llmkit/core/clock.hpp>

namespace llmkit_test {

/// One context's clock, if it is made before any other:
///
///     auto time = std::make_shared<hand_clock>(context.get_executor());
///     asio::make_service<llmkit::detail::clock_service>(context, time);
///     time->pass(50ms);
class hand_clock final : public llmkit::clock_source {
public:
    explicit hand_clock(llmkit::executor base) : base_(std::move(base)) {}
    llmkit::time_point now() const noexcept override { return now_; }
    std::chrono::system_clock::time_point wall() const noexcept override { return {}; }
    llmkit::executor base() const override {
        if (!base_) llmkit::throw_cancelled();
        return base_;
    }
    llmkit::executor lane() override { return asio::make_strand(base()); }
    void stop() override {
        base_ = llmkit::executor();
        shut_down();
    }
    void pass(llmkit::duration span) {
        now_ += span;
        run_due(now_);
    }

private:
    void wake_at(llmkit::time_point) override {}

    llmkit::executor base_;
    llmkit::time_point now_{std::chrono::hours(1)};
};

}  // namespace llmkit_test
