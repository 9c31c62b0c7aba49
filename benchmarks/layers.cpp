// What does a stack of layers cost, against one hand-written coroutine that does the same work?
//
// Both answer from a provider that has its answer ready, so that nothing but the layers counts. The
// hand-written one makes the same key, asks the same kind of store, keeps a map of calls in flight,
// spends from a budget and records the same figures, in one coroutine without a layer. The two are
// measured in turn; a figure is the median of the rounds, a ratio the median of the rounds' ratios.
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/detail/question.hpp>
#include <llmkit/detail/retry_budget.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/monitor.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/stream.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/metrics/registry.hpp>

using namespace llmkit;

namespace {

constexpr int rounds = 15;
constexpr std::size_t calls = 4000;           // unary calls a round
constexpr std::size_t streams = 100;          // streams a round
constexpr std::size_t events_a_stream = 100;  // and one usage event more

event_facts piece() {
    event_facts facts;
    facts.content = true;
    return facts;
}
event_facts whole() {
    event_facts facts = piece();
    facts.last = true;
    facts.finish = finish_reason::stop;
    facts.usage = {.input = 200, .output = 100, .known = true};
    return facts;
}

const bytes& delta() {
    static const bytes text(std::string(330, 'x'));
    return text;
}
const bytes& body() {
    static const bytes text(std::string(2000, 'x'));
    return text;
}

class ready_events final : public stream_source {
public:
    explicit ready_events(std::size_t count) : count_(count) {}
    task<stream_item> next() override {
        stream_item item;
        try_next(item);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        if (at_++ < count_) {
            into = event(delta(), piece());
        } else {
            event_facts end = whole();
            end.content = false;
            into = event(delta(), end);
        }
        return true;
    }
    bool ready() const override { return true; }

private:
    std::size_t count_;
    std::size_t at_ = 0;
};

// Answers at once.
class ready_provider {
public:
    explicit ready_provider(clock_handle time, std::size_t events = events_a_stream)
        : time_(std::move(time)), events_(events) {}
    clock_handle clock() const { return time_; }
    std::string origin() const { return "bench"; }
    task<result<response>> operator()(request ask) const {
        response_head head;
        head.streamed = ask.options().streamed;
        head.model = "m";
        if (head.streamed) {
            auto source = std::make_unique<ready_events>(events_);
            co_return response(std::move(head), event_stream(std::move(source)));
        }
        co_return response(std::move(head), event_stream(event(body(), whole())));
    }

private:
    clock_handle time_;
    std::size_t events_;
};

// All of it by hand: key, store, calls in flight, budget, figures.
class fused {
public:
    explicit fused(ready_provider next)
        : next_(std::move(next)), state_(std::make_shared<state>()) {}
    clock_handle clock() const { return next_.clock(); }
    void forget() const { state_->store.clear(); }

    task<result<response>> operator()(request ask) const {
        const time_point began = clock().now();
        state_->figures.call_started(began);
        const key128 key = detail::question_key(ask, state_->origin, detail::question_rules());
        if (auto hit = state_->store.find(key, began)) {
            if (hit->canonical == ask.shared_canonical())
                co_return from_store(std::move(hit), began);
        }
        state_->budget.call_started();
        {
            const std::lock_guard lock(state_->mutex);
            state_->flights.emplace(key, 1);
        }
        auto answer = co_await next_(ask);
        {
            const std::lock_guard lock(state_->mutex);
            state_->flights.erase(key);
        }
        if (!answer) co_return answer;
        auto kept = entry_for(ask);
        if (answer->events().single()) {
            auto only = co_await answer->events().next();
            kept->events.push_back(*only);
            record(began, only->facts().usage, false);
            put(key, std::move(kept));
            co_return response(std::move(answer->head()), event_stream(std::move(*only)));
        }
        answer->events().attach(recorder(state_, key, std::move(kept), began, clock()));
        co_return answer;
    }

private:
    struct state {
        std::string origin = "bench";
        detail::s3fifo<key128, cache_entry> store{10'000};
        std::mutex mutex;
        std::unordered_map<key128, int> flights;
        detail::retry_budget budget;
        metrics figures;
    };

    class recorder final : public stream_tap {
    public:
        recorder(std::shared_ptr<state> to, key128 key, std::shared_ptr<cache_entry> kept,
                 time_point began, clock_handle time)
            : to_(std::move(to)),
              key_(key),
              kept_(std::move(kept)),
              began_(began),
              last_(began),
              time_(std::move(time)) {}
        void on_event(const event& seen) override {
            const time_point now = time_.now();
            if (kept_->events.empty()) {
                first_ = now - began_;
            } else {
                to_->figures.event_gap(now - last_);
            }
            last_ = now;
            kept_->events.push_back(seen);
        }
        void on_end(outcome, const error*) override {
            call_record done;
            done.latency = time_.now() - began_;
            done.first_event = first_;
            done.attempts = 1;
            done.usage = kept_->events.back().facts().usage;
            to_->figures.call_ended(done, time_.now());
            const std::size_t weight = kept_->weight();
            to_->store.put(key_, std::move(kept_), weight, last_);
        }

    private:
        std::shared_ptr<state> to_;
        key128 key_;
        std::shared_ptr<cache_entry> kept_;
        time_point began_, last_;
        duration first_{};
        clock_handle time_;
    };

    class replay final : public stream_source {
    public:
        explicit replay(std::shared_ptr<const cache_entry> from) : from_(std::move(from)) {}
        task<stream_item> next() override {
            stream_item item;
            try_next(item);
            co_return item;
        }
        bool try_next(stream_item& into) override {
            into = at_ == from_->events.size() ? stream_item() : stream_item(from_->events[at_++]);
            return true;
        }
        bool ready() const override { return true; }

    private:
        std::shared_ptr<const cache_entry> from_;
        std::size_t at_ = 0;
    };

    result<response> from_store(std::shared_ptr<const cache_entry> hit, time_point began) const {
        record(began, hit->usage, true);
        response_head head;
        head.streamed = hit->streamed;
        head.came_by.cache_level = "memory";
        if (!hit->streamed) return response(std::move(head), event_stream(hit->events.front()));
        return response(std::move(head), event_stream(std::make_unique<replay>(std::move(hit))));
    }
    static std::shared_ptr<cache_entry> entry_for(const request& ask) {
        auto made = std::make_shared<cache_entry>();
        made->operation = ask.operation();
        made->canonical = ask.shared_canonical();
        made->streamed = ask.options().streamed;
        return made;
    }
    void put(key128 key, std::shared_ptr<cache_entry> kept) const {
        const std::size_t weight = kept->weight();
        state_->store.put(key, std::move(kept), weight, clock().now());
    }
    void record(time_point began, const token_usage& usage, bool hit) const {
        call_record done;
        done.latency = clock().now() - began;
        done.first_event = done.latency;
        done.attempts = hit ? 0 : 1;
        if (hit) done.cache_level = "memory";
        done.usage = usage;
        state_->figures.call_ended(done, clock().now());
    }

    ready_provider next_;
    std::shared_ptr<state> state_;
};

request question(std::size_t number, bool streamed) {
    std::string text = R"({"model":"m","messages":[{"role":"user","content":"question )" +
                       std::to_string(number) + ' ' + std::string(1900, 'q') + R"("}]})";
    request ask("chat/completions", std::move(text));
    ask.options().streamed = streamed;
    return ask;
}

template <class Service>
task<void> ask_all(Service client, const std::vector<request>& questions) {
    for (const request& ask : questions) {
        auto answer = co_await client(ask);
        while (auto item = co_await answer->events().next()) {
        }
        // What a call has left to the loop is done before the next one, as where calls wait.
        co_await asio::post(asio::use_awaitable);
    }
}

template <class Service>
using stack = std::function<Service()>;

double seconds(asio::io_context& io, task<void> work) {
    const auto began = std::chrono::steady_clock::now();
    asio::co_spawn(io, std::move(work), [](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
    io.restart();
    io.run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

std::vector<request> questions(std::size_t count, bool streamed, std::size_t from) {
    std::vector<request> made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(question(from + i, streamed));
    return made;
}

void print(const char* name, double value, const char* unit) {
    std::printf("result layers.%s %.3g %s\n", name, value, unit);
}

/// Nanoseconds a call, missing (every question is new) or hitting (asked a second time).
class figures_of_one {
public:
    std::vector<double> miss, hit;
};

/// Forgets all answers. Each round begins so, and on memory that was used before: what the operating
/// system does when a store grows for the first time is no part of a layer.
using forgetting = std::function<void()>;

template <class A, class B>
std::pair<figures_of_one, figures_of_one> in_turn(asio::io_context& io, const A& first,
                                                  const B& second, std::size_t count, bool streamed,
                                                  const forgetting& forget) {
    std::pair<figures_of_one, figures_of_one> seen;
    std::size_t number = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto one = [&](const auto& client, figures_of_one& to) {
            auto asked = questions(count, streamed, number);
            auto again = questions(count, streamed, number);  // keys are made anew
            number += count;
            const double scale = 1e9 / static_cast<double>(count);
            const double miss = seconds(io, ask_all(client, asked)) * scale;
            const double hit = seconds(io, ask_all(client, again)) * scale;
            forget();
            if (round == 0) return;  // warm-up
            to.miss.push_back(miss);
            to.hit.push_back(hit);
        };
        one(first, seen.first);
        one(second, seen.second);
    }
    return seen;
}

double ratio(const std::vector<double>& over, const std::vector<double>& under) {
    std::vector<double> each;
    for (std::size_t i = 0; i < over.size(); ++i) each.push_back(over[i] / under[i]);
    return median(each);
}

template <class Layered, class Bare>
void cost(
    asio::io_context& io, const char* name, const Layered& layered, const Bare& bare,
    const forgetting& forget = [] {}) {
    const auto [with, without] = in_turn(io, layered, bare, calls, false, forget);
    std::vector<double> each;
    for (std::size_t i = 0; i < with.miss.size(); ++i) {
        each.push_back(with.miss[i] - without.miss[i]);
    }
    print((std::string("cost_ns.") + name).c_str(), median(each), "ns");
}

}  // namespace

int main() {
    asio::io_context io(1);
    one_thread(io);
    ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
    const ready_provider provider{clock_handle(io.get_executor())};
    const memory_cache kept(10'000);
    const fused one_coroutine(provider);
    const auto forget = [&] {
        kept.clear();
        one_coroutine.forget();
    };
    const auto bare = pipeline(provider);
    const auto stack = [&kept](const ready_provider& below) {
        return pipeline(below) | retry() | dedup() | cache(kept) | stream() |
               timeout(std::chrono::seconds(30)) | monitor();
    };
    const auto stacked = stack(provider);
    const auto by_hand = pipeline(one_coroutine);

    const auto [stack6, hand] = in_turn(io, stacked, by_hand, calls, false, forget);
    const auto [stack6_streams, hand_streams] =
        in_turn(io, stacked, by_hand, streams, true, forget);
    const double events = static_cast<double>(events_a_stream) + 1;
    // What one event more costs: a stream of 101 against one of 1.
    const auto [longs, shorts] = in_turn(
        io, stack(provider), stack(ready_provider(provider.clock(), 0)), streams, true, forget);
    const auto each = [&](const std::vector<double>& l, const std::vector<double>& s) {
        return (median(l) - median(s)) / static_cast<double>(events_a_stream);
    };

    std::printf("%-34s %10s %10s\n", "ns a call (median)", "six layers", "by hand");
    std::printf("%-34s %10.0f %10.0f\n", "unary, miss", median(stack6.miss), median(hand.miss));
    std::printf("%-34s %10.0f %10.0f\n", "unary, hit", median(stack6.hit), median(hand.hit));
    std::printf("%-34s %10.0f %10.0f\n", "stream of 101 events, miss, an event",
                median(stack6_streams.miss) / events, median(hand_streams.miss) / events);
    std::printf("%-34s %10.0f %10.0f\n", "stream of 101 events, hit, an event",
                median(stack6_streams.hit) / events, median(hand_streams.hit) / events);

    print("stack6_miss_vs_fused", ratio(stack6.miss, hand.miss), "ratio");
    print("stack6_hit_vs_fused", ratio(stack6.hit, hand.hit), "ratio");
    print("stack6_miss_ns", median(stack6.miss), "ns");
    print("stack6_hit_ns", median(stack6.hit), "ns");
    print("stack6_stream_miss_vs_fused", ratio(stack6_streams.miss, hand_streams.miss), "ratio");
    print("event_ns_stack6", each(longs.miss, shorts.miss), "ns");
    print("event_ns_stack6_hit", each(longs.hit, shorts.hit), "ns");

    cost(io, "pipeline", bare, provider);
    cost(io, "retry", pipeline(provider) | retry(), bare);
    cost(io, "timeout", pipeline(provider) | timeout(std::chrono::seconds(30)), bare);
    cost(io, "dedup", pipeline(provider) | dedup(), bare);
    cost(io, "cache", pipeline(provider) | cache(kept), bare, forget);
    cost(io, "stream", pipeline(provider) | stream(), bare);
    cost(io, "monitor", pipeline(provider) | monitor(), bare);
}
