// All layers at once, on the threads of a pool: nothing is lost, nothing is counted twice.
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/monitor.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/stream.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/testing/scripted.hpp>
#include "test.hpp"

namespace test_layer_threads {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

/// What became of the calls, as their callers saw it.
struct tally {
    std::atomic<std::uint64_t> begun{0}, whole{0}, failed{0}, left{0}, cancelled{0}, running{0};
    std::atomic<std::uint64_t> wrong{0}, closed{0}, logged{0};
};
using sums = std::shared_ptr<tally>;

/// Counts its call once, also when its frame is destroyed by a cancellation.
class counted {
public:
    explicit counted(sums in) : in_(std::move(in)) { ++in_->begun, ++in_->running; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() {
        ++(in_.get()->*end_);
        --in_->running;
    }
    void set_end(std::atomic<std::uint64_t> tally::* how) { end_ = how; }

private:
    sums in_;
    std::atomic<std::uint64_t> tally::* end_ = &tally::cancelled;
};

request question(int number, bool streamed) {
    request ask("chat/completions",
                R"({"model":"m","messages":")" + std::to_string(number) + "\"}");
    ask.options().streamed = streamed;
    return ask;
}

task<void> one_call(any_service client, request ask, bool leaves, sums sum) {
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return;  // before it began
    counted call(sum);
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        call.set_end(&tally::failed);
        if (answer.error().kind() == error_kind::closed) ++sum->closed;
        co_return;
    }
    std::string text;
    event_stream events = std::move(answer->events());
    if (events.single()) call.set_end(&tally::whole);  // a cancellation now comes too late
    while (auto item = co_await events.next()) {
        text += item->data();
        // Who leaves from here on has had what the model said.
        if (item->facts().finish != finish_reason::none) call.set_end(&tally::whole);
        if (leaves && !item->facts().last) {
            call.set_end(&tally::left);
            co_return;
        }
    }
    if (events.failed()) {
        call.set_end(&tally::failed);
        if (events.error().kind() == error_kind::closed) ++sum->closed;
    } else if (text != "one two three") {
        ++sum->wrong;
    }
}

/// Calls one after the other; some are cancelled from here while they run elsewhere.
task<void> many_calls(any_service client, int caller, int rounds, sums sum) {
    const executor here = co_await asio::this_coro::executor;
    for (int i = 0; i < rounds; ++i) {
        const int n = i + caller;
        const bool streamed = n % 2 == 0;
        request ask = question(i % 23, streamed);
        const bool leaves = streamed && n % 5 == 0;
        if (n % 7 != 0) {
            co_await one_call(client, std::move(ask), leaves, sum);
            continue;
        }
        child<void> beside(client.clock(), one_call(client, std::move(ask), leaves, sum));
        for (int turn = 0; turn < i % 40; ++turn) {
            co_await asio::post(here, asio::use_awaitable);
        }
    }
}

/// Mostly fine; some calls fail, break off or never come.
scripted_answer moody(std::uint64_t number) {
    if (number % 29 == 28) return never_answers();
    if (number % 13 == 12) return fails(error_kind::overloaded);
    auto fine = says("one two three").after(100us).every(50us).usage(3, 2);
    if (number % 17 == 16) fine.fails_after(number % 3, error(error_kind::connection_lost, "lost"));
    return fine;
}

struct bench {
    bench() : provider(pool.get_executor()) {}
    auto client() {
        auto count = sum;
        return pipeline(provider) | retry({.first_wait = 1ms}) | timeout(20ms) | dedup() |
               cache(memory_cache(8), {.ttl = 2ms}) | stream({.within = 100us}) |
               monitor(figures).log_to([count](std::string_view) { ++count->logged; });
    }
    std::future<void> calls(const any_service& client, int caller, int rounds) {
        return asio::co_spawn(asio::make_strand(pool), many_calls(client, caller, rounds, sum),
                              asio::use_future);
    }
    /// Once the pool has nothing more to do.
    void check_that_all_is_over() {
        const auto seen = figures.snapshot();
        const auto asked = provider.counts();
        CHECK(sum->running == 0);
        CHECK(sum->wrong == 0);
        CHECK(sum->begun == sum->whole + sum->failed + sum->left + sum->cancelled);
        CHECK(seen.started == sum->begun);
        CHECK(seen.ended == sum->begun);
        CHECK(seen.in_flight == 0);
        CHECK(seen.errors + seen.cut == sum->failed);
        CHECK(seen.abandoned == sum->left + sum->cancelled);
        CHECK(sum->logged == seen.ended);
        CHECK(seen.hits + seen.misses <= seen.ended);
        CHECK(seen.upstream <= asked.begun);
        CHECK(asked.in_flight == 0);
        CHECK(asked.begun == asked.ended + asked.cancelled);
        CHECK(provider.clock().timers().size() == 0);
    }

    sums sum = std::make_shared<tally>();
    metrics figures;
    asio::thread_pool pool{4};
    scripted provider;
};

}  // namespace

TEST_CASE("calls through all layers on four threads are each counted once", "[threads]") {
    constexpr int callers = 8, rounds = 80;
    bench b;
    auto number = std::make_shared<std::atomic<std::uint64_t>>(0);
    b.provider.always([number](const request&) { return moody((*number)++); });
    {
        const auto client = b.client();
        std::vector<std::future<void>> all;
        for (int i = 0; i < callers; ++i) all.push_back(b.calls(any_service(client), i, rounds));
        for (auto& one : all) one.get();
        CHECK(asio::co_spawn(b.pool, client.close(10s), asio::use_future).get());
        CHECK(client.calls_in_flight() == 0);
        CHECK(client.background_work() == 0);
    }
    b.pool.join();
    b.check_that_all_is_over();
    CHECK(b.sum->begun > callers * rounds * 6 / 7);
    CHECK(b.sum->whole > 0);
    CHECK(b.sum->left > 0);
    CHECK(b.sum->cancelled > 0);
    const auto seen = b.figures.snapshot();
    CHECK(seen.hits > 0);
    CHECK(seen.joins > 0);
    CHECK(seen.misses > 0);
}

TEST_CASE("closing ends calls on all threads, each with an error", "[threads]") {
    constexpr int callers = 8, rounds = 20;
    bench b;
    auto number = std::make_shared<std::atomic<std::uint64_t>>(0);
    auto waits = std::make_shared<std::promise<void>>();
    b.provider.always([number, waits](const request&) {
        const std::uint64_t n = (*number)++;
        if (n == 5) waits->set_value();
        return n < 5 ? scripted_answer("one two three") : never_answers();
    });
    {
        auto count = b.sum;
        const auto client = pipeline(b.provider) | retry() | timeout(1h) | dedup() |
                            cache(memory_cache(8)) | stream({.within = 100us}) |
                            monitor(b.figures).log_to([count](auto) { ++count->logged; });
        std::vector<std::future<void>> all;
        for (int i = 0; i < callers; ++i) all.push_back(b.calls(any_service(client), i, rounds));
        waits->get_future().wait();  // one of them waits for ever
        CHECK_FALSE(asio::co_spawn(b.pool, client.close(1ms), asio::use_future).get());
        for (auto& one : all) one.get();
        CHECK(client.calls_in_flight() == 0);
    }
    b.pool.join();
    CHECK(b.sum->closed > 0);
    CHECK(b.sum->closed == b.sum->failed);
    CHECK(b.sum->running == 0);
    CHECK(b.sum->wrong == 0);
    CHECK(b.figures.snapshot().in_flight == 0);
    CHECK(b.provider.counts().in_flight == 0);
    CHECK(b.provider.clock().timers().size() == 0);
}

}  // namespace test_layer_threads
