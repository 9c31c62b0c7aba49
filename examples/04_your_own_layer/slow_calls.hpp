// A layer that tells of calls which took longer than they should. docs/writing-a-layer.md builds it
// step by step.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/llmkit.hpp>

// [quote:policy]
// What is slow.
struct slow_call_policy {
    llmkit::duration longer_than = std::chrono::seconds(10);  // from the call to its answer's end
};
// So that slow_calls({.longer_than = 2s}, …) is safe inside a co_await expression on g++ 12.
static_assert(std::is_trivially_destructible_v<slow_call_policy>);

// One slow call.
class slow_call {
public:
    slow_call(std::string who, llmkit::duration span, llmkit::outcome how)
        : model(std::move(who)), took(span), ended(how) {}

    std::string model;
    llmkit::duration took;
    llmkit::outcome ended;  // complete, failed or abandoned
};
// [quote:policy]

// [quote:state]
// What all calls through one layer share. Streams outlive the call that made them, so this lives in
// a shared_ptr and not in the service.
class slow_call_state {
public:
    slow_call_state(slow_call_policy policy, std::function<void(const slow_call&)> report,
                    llmkit::clock_handle time)
        : policy_(policy), report_(std::move(report)), time_(std::move(time)) {}

    llmkit::time_point now() const { return time_.now(); }
    void ended(const std::string& model, llmkit::time_point began, llmkit::outcome how) const {
        const llmkit::duration took = now() - began;
        if (took > policy_.longer_than) report_(slow_call(model, took, how));
    }

private:
    const slow_call_policy policy_;
    const std::function<void(const slow_call&)> report_;
    const llmkit::clock_handle time_;
};
// [quote:state]

// [quote:tap]
// Watches an answer until its end, without a coroutine for each event.
class stopwatch final : public llmkit::stream_tap {
public:
    stopwatch(std::shared_ptr<const slow_call_state> state, std::string model,
              llmkit::time_point began)
        : state_(std::move(state)), model_(std::move(model)), began_(began) {}

    void on_end(llmkit::outcome how, const llmkit::error*) override {
        state_->ended(model_, began_, how);
    }

private:
    std::shared_ptr<const slow_call_state> state_;
    std::string model_;
    llmkit::time_point began_;
};
// [quote:tap]

// [quote:service]
template <llmkit::service Next>
class reporting_slow_calls {
public:
    reporting_slow_calls(Next next, slow_call_policy policy,
                         std::function<void(const slow_call&)> report)
        : next_(std::move(next)),
          state_(std::make_shared<slow_call_state>(policy, std::move(report), next_.clock())) {}

    llmkit::clock_handle clock() const { return next_.clock(); }
    std::string origin() const { return llmkit::origin_of(next_); }

    llmkit::task<llmkit::result<llmkit::response>> operator()(llmkit::request ask) {
        const auto began = state_->now();
        auto answer = co_await next_(std::move(ask));
        if (!answer) {
            state_->ended("", began, llmkit::outcome::failed);
        } else {
            answer->events().attach(stopwatch(state_, answer->head().model, began));
        }
        co_return answer;
    }

private:
    Next next_;
    std::shared_ptr<const slow_call_state> state_;
};
// [quote:service]

// [quote:layer]
// Tells `report` of every call that took longer than the policy says, streams to their end.
//
//     auto client = pipeline(provider) | slow_calls({.longer_than = 2s}, [](const slow_call& it) {
//         fmt::print("{} took {} ms\n", it.model, it.took / 1ms);
//     });
//
// `report` is called on the thread of the call, and must be quick and thread-safe.
inline auto slow_calls(slow_call_policy policy, std::function<void(const slow_call&)> report) {
    return llmkit::make_layer([policy, report = std::move(report)](auto next) {
        return reporting_slow_calls<decltype(next)>(std::move(next), policy, report);
    });
}
// [quote:layer]
