// What the tests of layers share: requests in both shapes, reading to the end, cancelling anywhere.
#pragma once

#include <string>
#include <utility>

#include <llmkit/core/any_service.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "test.hpp"

namespace layer_test {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;

inline request ask_for(bool streamed) {
    request ask("chat/completions", std::string(R"({"model":"asked"})"));
    ask.options().streamed = streamed;
    return ask;
}

/// The texts of all events with "|" after each, and the kind of the failure if it ended in one.
inline task<std::string> read_all(result<response> answer) {
    std::string text;
    if (!answer) {
        text = "error: " + std::string(to_string(answer.error().kind()));
        co_return text;
    }
    event_stream events = std::move(answer->events());
    while (auto item = co_await events.next()) text += std::string(item->data()) + "|";
    if (events.failed()) text += "error: " + std::string(to_string(events.error().kind()));
    co_return text;
}
inline task<std::string> ask_all(any_service client, request ask) {
    auto answer = co_await client(std::move(ask));
    auto text = co_await read_all(std::move(answer));
    co_return text;
}
template <class Client>
std::string said(simulation::world& world, const Client& client, request ask) {
    return world.wait(ask_all(any_service(client), std::move(ask)));
}

/// Cancels a child after `when`, and then after `turns` more handlers have run.
template <class T>
task<void> cancel_at(child<T>& which, clock_handle time, duration when, int turns) {
    if (when > 0s) co_await sleep_for(time, when);
    const executor here = co_await asio::this_coro::executor;
    for (int i = 0; i < turns; ++i) co_await asio::post(here, asio::use_awaitable);
    which.cancel();
}

/// Starts a call, and cancels it at time `at` of the world after `turns` more handlers have run.
/// True when the cancellation came before the end. No time passes after it, so that work which was
/// left to end by itself is still there to be seen.
inline bool cancelled_at(simulation::world& world, any_service client, request ask, duration at,
                         int turns) {
    asio::cancellation_signal signal;
    bool ended = false;
    std::exception_ptr thrown;
    asio::co_spawn(
        executor(world.get_executor()), ask_all(std::move(client), std::move(ask)),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr failed, std::string) {
            ended = true;
            thrown = failed;
        }));
    bool cut = false;
    std::function<void(int)> count_down = [&](int left) {
        if (left == 0) {
            cut = !ended;
            if (!ended) signal.emit(asio::cancellation_type::terminal);
            return;
        }
        asio::post(executor(world.get_executor()), [&count_down, left] { count_down(left - 1); });
    };
    const auto begin = [&](expiry) { count_down(turns); };
    limit when;
    when.until = after(world.now(), at);
    llmkit::cutoff<decltype(begin)> start(world.clock(), when, begin);
    world.run_until(when.until);
    world.run_for(0s);
    CHECK(ended);
    return cut && thrown;  // the end may have been on its way already
}

/// Cancels a call at each of its suspension points; afterwards nothing may be in flight.
template <class Make>
void cancel_everywhere(Make make_client, const scripted_answer& script, duration longest,
                       duration step) {
    for (const bool streamed : {false, true}) {
        int cuts = 0;
        for (duration at{}; at <= longest; at += step) {
            for (int turns = 0; turns < 12; ++turns) {
                simulation::world world;
                scripted provider(world.get_executor());
                provider.always(script);
                const any_service client = make_client(provider);
                cuts += cancelled_at(world, client, ask_for(streamed), at, turns);
                CHECK(provider.counts().in_flight == 0);
                world.run();
                CHECK(world.clock().timers().size() == 0);
            }
        }
        CHECK(cuts > 0);
    }
}

}  // namespace layer_test
