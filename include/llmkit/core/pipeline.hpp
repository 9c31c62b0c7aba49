// llmkit/core/pipeline.hpp: a stack of layers as one handle that is safe to copy, move and drop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/scope.hpp>
#include <llmkit/core/service.hpp>
#include <llmkit/core/service_check.hpp>
#include <llmkit/core/typed_calls.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

namespace detail {

/// What all handles on one pipeline share, whatever the service's type.
class pipeline_state : public std::enable_shared_from_this<pipeline_state> {
public:
    pipeline_state(clock_handle passing, std::string who)
        : time(passing), origin(std::move(who)), background(std::move(passing)) {}
    virtual ~pipeline_state() = default;

    clock_handle time;
    std::string origin;
    scope background;
};

/// One call in flight; `counted` unless it is background work's link.
class pipeline_call final : public call_link {
public:
    pipeline_call(std::shared_ptr<pipeline_state> state, std::shared_ptr<const call_link> outer,
                  bool counted)
        : call_link(state.get(), std::move(outer)), state_(std::move(state)), counted_(counted) {}
    ~pipeline_call() override {
        if (counted_) state_->background.leave();
    }
    scope& background() const override { return state_->background; }
    std::shared_ptr<const call_link> detached() const override {
        return make_pooled<pipeline_call>(state_, outer() ? outer()->detached() : nullptr, false);
    }

private:
    std::shared_ptr<pipeline_state> state_;
    bool counted_;
};

template <class S>
class pipeline_core final : public pipeline_state {
public:
    explicit pipeline_core(S wrapped)
        : pipeline_state(wrapped.clock(), origin_of(wrapped)), inner(std::move(wrapped)) {}
    S inner;
};

/// Asks background work to stop when the last handle goes; calls in flight go on.
template <class S>
class pipeline_handle {
public:
    explicit pipeline_handle(S inner)
        : core(std::make_shared<pipeline_core<S>>(std::move(inner))) {}
    pipeline_handle(const pipeline_handle&) = delete;
    pipeline_handle& operator=(const pipeline_handle&) = delete;
    ~pipeline_handle() { core->background.stop(); }
    std::shared_ptr<pipeline_core<S>> core;
};
}  // namespace detail

/// A service with the layers around it: what a program calls.
///
///     auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() | llmkit::monitor();
///     auto answer = co_await client.chat(llmkit::chat_request("gpt-4o-mini").user("Hi"));
///     fmt::print("{}\n", answer.value().text());
///
/// A handle: copies share one state, and every call keeps it alive until its answer's stream has
/// ended, so moving or dropping a pipeline with calls in flight is safe. `base | layer` shares a
/// named `base`; a temporary is absorbed. Thread-safe; each call runs on its caller's executor.
template <class S>
class pipeline : public typed_calls<pipeline<S>> {
public:
    explicit pipeline(S inner) {
        detail::check_service<S>();
        handle_ = std::make_shared<detail::pipeline_handle<S>>(std::move(inner));
    }

    /// One call. Errors are values; only the caller's cancellation throws. A service too.
    task<result<response>> operator()(request ask) const {
        return call(handle_->core, std::move(ask));
    }
    clock_handle clock() const { return handle_->core->time; }
    std::string origin() const { return handle_->core->origin; }

    /// Refuses new calls, lets those in flight end for at most `grace`, then ends their waits with
    /// an error of kind `closed`. True when all ended by themselves.
    task<bool> close(duration grace) const { return shut(handle_->core, grace); }

    std::size_t calls_in_flight() const { return handle_->core->background.calls(); }
    std::size_t background_work() const { return handle_->core->background.background(); }

    /// The service inside, for wrapping it further: moved out when this is the only handle.
    S absorb() && {
        if (handle_.use_count() == 1 && handle_->core.use_count() == 1) {
            return std::move(handle_->core->inner);
        }
        return handle_->core->inner;
    }

private:
    using core = detail::pipeline_core<S>;

    static task<result<response>> call(std::shared_ptr<core> shared, request ask) {
        if (!shared->background.enter()) {
            co_return error(error_kind::closed, "the pipeline has been closed");
        }
        auto& options = ask.options();
        auto link = detail::make_pooled<detail::pipeline_call>(shared, options.link, true);
        options.link = link;
        if (options.timeout != duration::max()) {
            options.shorten(after(shared->time.now(), options.timeout));
            options.timeout = duration::max();
        }
        auto answer = co_await shared->inner(std::move(ask));
        if (answer) {
            answer->head().claim.reset();  // whoever stores answers has seen it by now
            if (!answer->events().single()) answer->events().pin(std::move(link));
        }
        co_return answer;
    }
    static task<bool> shut(std::shared_ptr<core> shared, duration grace) {
        const void* which = static_cast<detail::pipeline_state*>(shared.get());
        co_return co_await shared->background.close(which, grace);
    }

    std::shared_ptr<detail::pipeline_handle<S>> handle_;
};

}  // namespace llmkit

#include <llmkit/core/compose.hpp>
