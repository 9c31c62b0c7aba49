// llmkit/detail/way_back.hpp: from a thread of our own back into a context that may be going down.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>

namespace llmkit::detail {

/// Posts into one context from threads that do not belong to it and may outlive it.
///
///     auto home = way_back::into(time);               // on the caller's side
///     home->post([job] { job->ring(); });             // on any thread, at any time
///
/// What is posted may be destroyed on the spot, instead of run, when the context is going down: so
/// let it hold nothing whose end takes a lock or comes back here. Thread-safe.
class way_back {
public:
    way_back() = default;

    static std::shared_ptr<way_back> into(const clock_handle& time);

    /// False when the context is gone or going.
    template <class F>
    bool post(F what) {
        // Held while posting, so that the context cannot go down meanwhile.
        const std::lock_guard gate(mutex_);
        if (!base_) return false;
        asio::post(base_, std::move(what));
        return true;
    }

private:
    friend class way_back_service;

    std::mutex mutex_;
    executor base_;
};

/// Keeps a context's one way back, and closes it when the context goes down.
class way_back_service final : public asio::execution_context::service {
public:
    using key_type = way_back_service;
    inline static asio::execution_context::id id;

    explicit way_back_service(asio::execution_context& context) : service(context) {}

    std::shared_ptr<way_back> to(const executor& base) {
        const std::lock_guard gate(way_->mutex_);
        if (!down_ && !way_->base_) way_->base_ = base;
        return way_;
    }

private:
    void shutdown() override {
        executor dropped;
        const std::lock_guard gate(way_->mutex_);
        down_ = true;
        std::swap(dropped, way_->base_);
    }

    std::shared_ptr<way_back> way_ = std::make_shared<way_back>();
    bool down_ = false;
};

inline std::shared_ptr<way_back> way_back::into(const clock_handle& time) {
    const executor base = time.base();
    auto& context = asio::query(base, asio::execution::context);
    return asio::use_service<way_back_service>(context).to(base);
}

}  // namespace llmkit::detail
