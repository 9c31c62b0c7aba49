// What does a stream cost that a hundred callers share?
//
// Against what has to be done in any case: each event wakes a hundred coroutines that wait for it.
// Both on one thread, each event by itself, so that every reader waits for every event.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/dedup.hpp>

namespace bench {

constexpr std::size_t fanout_readers = 100;
constexpr std::size_t fanout_events = 1'000;

inline void until_idle(asio::io_context& io) {
    io.restart();
    io.run();
}
inline void pass_on(std::exception_ptr failed) {
    if (failed) std::rethrow_exception(failed);
}

/// Each `next` gives way first, so that all who wait for the event before have had it.
class one_by_one final : public llmkit::stream_source {
public:
    llmkit::task<llmkit::stream_item> next() override {
        const llmkit::executor here = co_await asio::this_coro::executor;
        co_await asio::post(here, asio::use_awaitable);
        llmkit::event_facts facts;
        facts.content = true;
        facts.last = ++given_ == fanout_events;
        if (facts.last) facts.finish = llmkit::finish_reason::stop;
        llmkit::stream_item item(llmkit::event(text_, facts));
        co_return item;
    }

private:
    llmkit::bytes text_{std::string(330, 'x')};
    std::size_t given_ = 0;
};

class streaming {
public:
    explicit streaming(llmkit::clock_handle time) : time_(std::move(time)) {}
    llmkit::clock_handle clock() const { return time_; }
    llmkit::task<llmkit::result<llmkit::response>> operator()(llmkit::request) const {
        llmkit::response_head head;
        head.streamed = true;
        co_return llmkit::response(std::move(head),
                                   llmkit::event_stream(std::make_unique<one_by_one>()));
    }

private:
    llmkit::clock_handle time_;
};

template <class Client>
llmkit::task<void> read_shared(Client client, llmkit::request ask, std::size_t& seen) {
    auto answer = co_await client(std::move(ask));
    auto& events = answer->events();
    while (auto item = co_await events.next()) seen += item->data().size();
}

/// Nanoseconds a reader and event.
inline double shared_ns() {
    asio::io_context io(1);
    llmkit::one_thread(io);
    const auto client =
        llmkit::pipeline(streaming(llmkit::clock_handle(io.get_executor()))) | llmkit::dedup();
    llmkit::request ask("chat/completions", R"({"model":"m"})");
    ask.options().streamed = true;
    std::size_t seen = 0;
    const auto began = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < fanout_readers; ++i)
        asio::co_spawn(io, read_shared(client, ask, seen), pass_on);
    until_idle(io);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    if (seen != fanout_readers * fanout_events * 330) std::terminate();
    return took.count() / static_cast<double>(fanout_readers * fanout_events);
}

/// The least there is: whoever waits stands in a list, and an event posts all of them.
class wake_list {
public:
    llmkit::task<void> wait() {
        return asio::async_initiate<const asio::use_awaitable_t<>&, void()>(
            [this](handler parked) { waiting_.push_back(std::move(parked)); }, asio::use_awaitable);
    }
    void wake(const llmkit::executor& where) {
        std::vector<handler> woken;
        woken.swap(waiting_);
        waiting_.reserve(woken.size());
        for (handler& one : woken) asio::post(where, std::move(one));
    }

private:
    using handler = typename asio::async_result<asio::use_awaitable_t<>, void()>::handler_type;
    std::vector<handler> waiting_;
};

inline llmkit::task<void> woken_each_time(wake_list& list, const std::string& text,
                                          std::size_t& seen) {
    for (std::size_t i = 0; i < fanout_events; ++i) {
        co_await list.wait();
        seen += text.size();
    }
}
inline llmkit::task<void> wake_each_time(wake_list& list) {
    const llmkit::executor here = co_await asio::this_coro::executor;
    for (std::size_t i = 0; i < fanout_events; ++i) {
        co_await asio::post(here, asio::use_awaitable);
        list.wake(here);
    }
}
inline double woken_ns() {
    asio::io_context io(1);
    wake_list list;
    const std::string text(330, 'x');
    std::size_t seen = 0;
    const auto began = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < fanout_readers; ++i)
        asio::co_spawn(io, woken_each_time(list, text, seen), pass_on);
    asio::co_spawn(io, wake_each_time(list), pass_on);
    until_idle(io);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    if (seen != fanout_readers * fanout_events * 330) std::terminate();
    return took.count() / static_cast<double>(fanout_readers * fanout_events);
}

struct fanout_times {
    double shared;  ///< ns a reader and event
    double ratio;   ///< to waking one coroutine
};
/// Medians of so many rounds, in turn.
inline fanout_times time_fanout(int rounds) {
    std::vector<double> mine, ratios;
    for (int round = 0; round <= rounds; ++round) {
        const double shared = shared_ns();
        const double woken = woken_ns();
        if (round == 0) continue;  // warm-up
        mine.push_back(shared);
        ratios.push_back(shared / woken);
    }
    const auto median = [](std::vector<double>& all) {
        std::sort(all.begin(), all.end());
        return all[all.size() / 2];
    };
    return {median(mine), median(ratios)};
}

}  // namespace bench
