#include <llmkit/batch/map.hpp>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>
#include "test.hpp"

namespace test_batch_map {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

/// Work whose every item takes a second, and what was seen of it.
struct labour {
    explicit labour(clock_handle passing) : time(std::move(passing)) {}
    clock_handle time;
    int begun = 0, running = 0, most = 0, left = 0;
    std::vector<int> fail, throwing, aborting;
    duration takes = 1s;

    struct presence {
        explicit presence(labour& at) : where(at) {
            ++where.begun;
            where.most = std::max(where.most, ++where.running);
        }
        presence(const presence&) = delete;
        presence& operator=(const presence&) = delete;
        ~presence() { --where.running; }
        labour& where;
    };
    static bool has(const std::vector<int>& list, int item) {
        return std::find(list.begin(), list.end(), item) != list.end();
    }
};

task<result<int>> square(labour* at, int item) {
    labour::presence here(*at);
    // Later items end earlier.
    co_await sleep_for(at->time, at->takes - std::chrono::milliseconds(item % 10));
    if (labour::has(at->throwing, item)) throw std::runtime_error("threw");
    if (labour::has(at->aborting, item)) throw_cancelled();
    if (labour::has(at->fail, item)) co_return error(error_kind::server, "item failed");
    ++at->left;
    co_return item* item;
}
/// A callable without a lambda's troubles in co_await expressions.
struct squares {
    explicit squares(labour& where) : at(&where) {}
    task<result<int>> operator()(int item) const { return square(at, item); }
    labour* at;
};

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

struct bench {
    simulation::world world;
    labour work{world.clock()};
    auto map(int count, batch_policy policy = {}) {
        return batch::map(numbers(count), squares(work), policy);
    }
};

}  // namespace

TEST_CASE("map gives the results in the order of the items", "[batch]") {
    bench b;
    const auto results = b.world.wait(b.map(100, {.concurrency = 10}));
    REQUIRE(results.size() == 100);
    for (int i = 0; i < 100; ++i) CHECK(results[static_cast<std::size_t>(i)].value() == i * i);
    CHECK(b.work.most == 10);
    CHECK(b.world.elapsed() <= 10s);
    CHECK(b.world.elapsed() > 9s);
}

TEST_CASE("map runs as many at once as it may and as there are", "[batch]") {
    bench b;
    CHECK(b.world.wait(b.map(0)).empty());
    CHECK(b.world.wait(b.map(3)).size() == 3);
    CHECK(b.work.most == 3);
    b.work.most = 0;
    CHECK(b.world.wait(b.map(20)).size() == 20);
    CHECK(b.work.most == 16);
    b.work.most = 0;
    CHECK(b.world.wait(b.map(3, {.concurrency = 0})).size() == 3);
    CHECK(b.work.most == 1);
}

TEST_CASE("an item that fails or throws fails alone", "[batch]") {
    bench b;
    b.work.fail = {2};
    b.work.throwing = {3};
    b.work.aborting = {4};
    const auto results = b.world.wait(b.map(10, {.concurrency = 2}));
    REQUIRE(results.size() == 10);
    for (std::size_t i = 0; i < 10; ++i) CHECK(results[i].has_value() == (i < 2 || i > 4));
    CHECK(results[2].error().kind() == error_kind::server);
    CHECK(results[3].error().kind() == error_kind::internal);
    CHECK(results[3].error().message() == "threw");
    CHECK(results[4].error().kind() == error_kind::internal);
}

TEST_CASE("map can stop at the first failure", "[batch]") {
    bench b;
    b.work.fail = {5};
    const auto results = b.world.wait(b.map(20, {.concurrency = 4, .stop_on_error = true}));
    REQUIRE(results.size() == 20);
    for (std::size_t i = 0; i < 4; ++i) CHECK(results[i].has_value());
    CHECK(results[5].error().kind() == error_kind::server);
    for (std::size_t i = 12; i < 20; ++i) {
        CHECK(results[i].error().kind() == error_kind::refused);
    }
    CHECK(b.work.begun < 12);
    CHECK(b.work.running == 0);
    CHECK(b.world.elapsed() < 2s);
}

namespace {
task<result<void>> nothing_or_error(int item) {
    if (item == 1) co_return error(error_kind::server, "no");
    co_return result<void>();
}
}  // namespace

TEST_CASE("an item that was never begun is no success, also where there is no value", "[batch]") {
    simulation::world world;
    const auto results = world.wait(
        batch::map(numbers(4), nothing_or_error, {.concurrency = 1, .stop_on_error = true}));
    CHECK(results[0].has_value());
    CHECK(results[1].error().kind() == error_kind::server);
    CHECK(results[2].error().kind() == error_kind::refused);
    CHECK(results[3].error().kind() == error_kind::refused);
}

TEST_CASE("map tells how far it has come", "[batch]") {
    bench b;
    b.work.fail = {2};
    std::vector<batch_progress> told;
    const auto tell = [&told](const batch_progress& now) { told.push_back(now); };
    b.world.wait(batch::map(numbers(5), squares(b.work), {.concurrency = 2}, tell));
    REQUIRE(told.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(told[i].done == i + 1);
        CHECK(told[i].total == 5);
    }
    CHECK(told.back().failed == 1);
}

namespace {
task<void> cancel_at(child<std::vector<result<int>>>& which, clock_handle time, duration when,
                     int turns) {
    if (when > 0s) co_await sleep_for(time, when);
    const executor here = co_await asio::this_coro::executor;
    for (int i = 0; i < turns; ++i) co_await asio::post(here, asio::use_awaitable);
    which.cancel();
}
task<bool> was_cancelled(child<std::vector<result<int>>>& which, labour* work, bool* all_ended) {
    bool thrown = false;
    try {
        co_await which.join();
    } catch (const asio::system_error& failure) {
        thrown = is_cancellation(failure);
    }
    *all_ended = work->running == 0;
    co_return thrown;
}
}  // namespace

TEST_CASE("cancelling a map cancels what runs, and it ends after all of it", "[batch]") {
    for (int moment = 0; moment < 6; ++moment) {
        for (int turns = 0; turns < 10; ++turns) {
            bench b;
            b.work.takes = 12ms;
            child<std::vector<result<int>>> map(b.world.clock(), b.map(6, {.concurrency = 3}));
            child<void> killer(
                b.world.clock(),
                cancel_at(map, b.world.clock(), std::chrono::milliseconds(moment), turns));
            bool all_ended = false;
            CHECK(b.world.wait(was_cancelled(map, &b.work, &all_ended)));
            CHECK(all_ended);
            CHECK(b.work.left == 0);
            CHECK(b.work.begun <= 3);
            b.world.run();
        }
    }
}

namespace {
task<result<int>> stubborn(labour* at, int item) {
    labour::presence here(*at);
    co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await sleep_for(at->time, 1s);
    co_return item;
}
struct stubborn_work {
    explicit stubborn_work(labour& where) : at(&where) {}
    task<result<int>> operator()(int item) const { return stubborn(at, item); }
    labour* at;
};
}  // namespace

TEST_CASE("a cancelled map does not leave work behind that cannot be cancelled", "[batch]") {
    bench b;
    child<std::vector<result<int>>> map(
        b.world.clock(), batch::map(numbers(9), stubborn_work(b.work), {.concurrency = 3}));
    b.world.run_for(100ms);
    map.cancel();
    b.world.run_for(100ms);
    CHECK_FALSE(map.finished());
    b.world.run_for(1s);
    CHECK(map.finished());
    CHECK(b.work.begun == 3);
    CHECK(b.work.running == 0);
}

TEST_CASE("a world may end with a map under way", "[batch]") {
    for (int moment = 0; moment < 4; ++moment) {
        auto world = std::make_unique<simulation::world>();
        auto work = std::make_unique<labour>(world->clock());
        child<std::vector<result<int>>> map(
            world->clock(), batch::map(numbers(9), squares(*work), {.concurrency = 3}));
        world->run_for(std::chrono::milliseconds(moment * 500));
        world.reset();
        CHECK(work->running == 0);
    }
}

TEST_CASE("chat requests are mapped to completions", "[batch]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always([](const request& ask) {
        const bool bad = ask.body().find("no 3") != std::string_view::npos;
        if (bad) return fails(error_kind::content_policy);
        return says(ask.body()).after(1s);
    });
    const auto client = pipeline(provider);
    std::vector<chat_request> asks;
    for (int i = 0; i < 8; ++i) asks.push_back(chat_request("m").user("no " + std::to_string(i)));
    const auto answers = world.wait(batch::map(client, asks, {.concurrency = 4}));
    REQUIRE(answers.size() == 8);
    for (std::size_t i = 0; i < 8; ++i) {
        if (i == 3) {
            CHECK(answers[i].error().kind() == error_kind::content_policy);
        } else {
            CHECK(answers[i]->text().find("no " + std::to_string(i)) != std::string::npos);
        }
    }
    CHECK(provider.counts().max_in_flight == 4);
    CHECK(asks.size() == 8);  // a named list is copied
    CHECK(asks.front().body().find("no 0") != std::string::npos);
}

namespace {
task<std::size_t> in_one_expression(labour* work) {
    std::size_t sum = 0;
    const auto tell = [&sum](const batch_progress&) { ++sum; };
    // Written as a user would: temporaries of every kind inside the await.
    for (auto& one : co_await batch::map(numbers(4), squares(*work), {.concurrency = 2}, tell)) {
        if (one) ++sum;
    }
    co_return sum;
}
}  // namespace

TEST_CASE("a map is safe inside an await expression", "[batch]") {
    bench b;
    CHECK(b.world.wait(in_one_expression(&b.work)) == 8);
}

namespace {
task<result<int>> spin(std::atomic<int>* running, std::atomic<int>* most, int item) {
    const int now = ++*running;
    for (int seen = most->load(); seen < now && !most->compare_exchange_weak(seen, now);) {
    }
    const executor here = co_await asio::this_coro::executor;
    co_await asio::post(here, asio::use_awaitable);
    --*running;
    if (item % 10 == 3) co_return error(error_kind::server, "x");
    co_return item;
}
struct spins {
    task<result<int>> operator()(int item) const { return spin(running, most, item); }
    std::atomic<int>* running;
    std::atomic<int>* most;
};
}  // namespace

TEST_CASE("a map may run on two threads", "[batch]") {
    asio::thread_pool pool(2);
    std::atomic<int> running{0}, most{0};
    std::size_t told = 0;
    const auto tell = [&told](const batch_progress&) { ++told; };
    auto work = batch::map(numbers(2000), spins{&running, &most}, {.concurrency = 8}, tell);
    auto results = asio::co_spawn(asio::make_strand(pool), std::move(work), asio::use_future).get();
    pool.join();
    REQUIRE(results.size() == 2000);
    std::size_t right = 0;
    for (std::size_t i = 0; i < results.size(); ++i) {
        right += i % 10 == 3 ? !results[i] : results[i] && *results[i] == static_cast<int>(i);
    }
    CHECK(right == 2000);
    CHECK(told == 2000);
    CHECK(most <= 8);
}

}  // namespace test_batch_map
