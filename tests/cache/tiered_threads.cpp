// A tiered cache on two threads: nothing is lost, mixed up or left behind.
#include <llmkit/cache/tiered.hpp>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_cache_tiered_threads {

using namespace llmkit;
using namespace llmkit_test;

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }

/// Memory that takes its time and, now and then, fails, hangs or throws.
class moody_store {
public:
    explicit moody_store(std::size_t entries) : kept_(entries) {}

    std::string_view name() const { return "moody"; }
    task<result<cache_hit>> find(key128 key, time_point now, limit until) const {
        return found(*this, key, now, until);
    }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point now,
                           limit until) const {
        return stored(*this, key, std::move(entry), now, until);
    }
    task<result<void>> erase(key128 key, limit until) const { return erased(*this, key, until); }

    std::shared_ptr<std::atomic<std::uint64_t>> moods =
        std::make_shared<std::atomic<std::uint64_t>>(0);
    std::shared_ptr<std::atomic<int>> running = std::make_shared<std::atomic<int>>(0);

private:
    struct busy {
        explicit busy(std::atomic<int>& count) : count_(count) { ++count_; }
        busy(const busy&) = delete;
        busy& operator=(const busy&) = delete;
        ~busy() { --count_; }
        std::atomic<int>& count_;
    };

    static task<bool> in_the_mood(moody_store self, limit until) {
        const busy working(*self.running);
        const executor here = co_await asio::this_coro::executor;
        const clock_handle time(here);
        const std::uint64_t mood = (*self.moods)++ / 8;  // several in a row
        if (mood % 11 == 3) co_return false;
        if (mood % 11 == 5) throw std::runtime_error("in no mood");
        if (mood % 11 == 7) {
            co_await sleep_until(time, until);
            co_return false;
        }
        if (mood % 2 == 0) co_await sleep_for(time, 50us);
        co_return true;
    }
    static error no() { return error(error_kind::connect, "in no mood"); }
    static task<result<cache_hit>> found(moody_store self, key128 key, time_point now,
                                         limit until) {
        const bool fine = co_await in_the_mood(self, until);
        if (!fine) co_return no();
        co_return self.kept_.try_find(key, now);
    }
    static task<result<void>> stored(moody_store self, key128 key,
                                     std::shared_ptr<const cache_entry> entry, time_point now,
                                     limit until) {
        const bool fine = co_await in_the_mood(self, until);
        if (!fine) co_return no();
        self.kept_.try_put(key, std::move(entry), now);
        co_return result<void>();
    }
    static task<result<void>> erased(moody_store self, key128 key, limit until) {
        const bool fine = co_await in_the_mood(self, until);
        if (!fine) co_return no();
        self.kept_.try_erase(key);
        co_return result<void>();
    }

    memory_cache kept_;
};

using cache_type = tiered_cache<detail::at_once::from_the_front>;

struct tally {
    std::atomic<std::uint64_t> hits{0}, wrong{0}, rounds{0};
};

/// Finds, puts and erases, and leaves some look-ups half-way.
task<void> use(cache_type cache, int user, int rounds, std::shared_ptr<tally> sum) {
    const executor here = co_await asio::this_coro::executor;
    const clock_handle time(here);
    for (int i = 0; i < rounds; ++i) {
        const auto n = static_cast<std::uint64_t>((i * 7 + user * 3) % 40);
        limit until;
        until.until = time.now() + 2ms;
        if (i % 9 == 8) {
            child<result<cache_hit>> left(time, cache.find(key(n), time.now(), until));
            co_await asio::post(here, asio::use_awaitable);
            continue;
        }
        auto found = co_await cache.find(key(n), time.now(), until);
        if (found && *found) {
            ++sum->hits;
            if (found->entry()->model != std::to_string(n)) ++sum->wrong;
        } else {
            auto made = std::make_shared<cache_entry>(*entry_saying("x", time.now()));
            made->model = std::to_string(n);
            auto put = co_await cache.put(key(n), std::move(made), time.now(), until);
            static_cast<void>(put);
        }
        if (i % 13 == 12) {
            auto gone = co_await cache.erase(key(n), until);
            static_cast<void>(gone);
        }
        ++sum->rounds;
    }
}

level_policy quick() {
    level_policy policy;
    policy.health = {.failures = 3, .probe_every = 1ms, .probe_at_most = 4ms};
    return policy;
}

}  // namespace

TEST_CASE("levels in any mood serve two threads, and each its own answers", "[tiered][threads]") {
    const bool behind = GENERATE(false, true);
    moody_store near(20), far(30);
    auto sum = std::make_shared<tally>();
    const auto health = quick().health;
    auto cache = tiered(memory_cache(8), level(near).limit(500us).write_limit(1ms).health(health),
                        level(far).limit(1ms).write_limit(1ms).health(health).enforce());
    if (behind) cache.write_behind({.max_entries = 10, .writers = 3});
    asio::thread_pool pool(2);
    std::vector<std::future<void>> all;
    for (int user = 0; user < 6; ++user) {
        all.push_back(
            asio::co_spawn(asio::make_strand(pool), use(cache, user, 150, sum), asio::use_future));
    }
    for (auto& one : all) one.get();
    limit soon;
    soon.until = std::chrono::steady_clock::now() + 30s;
    CHECK(asio::co_spawn(pool, cache.close(soon), asio::use_future).get());
    pool.join();
    CHECK(sum->wrong == 0);
    CHECK(sum->rounds > 0);
    CHECK(*near.running == 0);
    CHECK(*far.running == 0);
    const auto seen = cache.stats();
    CHECK(seen.waiting == 0);
    CHECK(seen.waiting_bytes == 0);
    CHECK(seen.levels[1].errors > 0);
    for (const auto& one : seen.levels) CHECK(one.state != level_state::probing);
}

TEST_CASE("one cache serves contexts that come and go", "[tiered][threads]") {
    moody_store near(20);
    auto sum = std::make_shared<tally>();
    auto cache =
        tiered(memory_cache(8), level(near).limit(500us).write_limit(1ms).health(quick().health))
            .write_behind({.max_entries = 10, .writers = 3});
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
        threads.emplace_back([=] {
            for (int life = 0; life < 10; ++life) {
                // Ends with writes, probes and look-ups under way.
                asio::io_context context(1);
                for (int user = 0; user < 3; ++user) {
                    asio::co_spawn(context, use(cache, t * 3 + user, 30, sum),
                                   [](const std::exception_ptr&) {});
                }
                asio::co_spawn(context, cache.written(limit()), [](const std::exception_ptr&) {});
                context.run_for(5ms);
            }
        });
    }
    for (auto& one : threads) one.join();
    CHECK(sum->wrong == 0);
    CHECK(*near.running == 0);
    asio::io_context last(1);
    asio::co_spawn(last, cache.written(limit()), [](const std::exception_ptr&) {});
    last.run();
    CHECK(cache.stats().waiting_bytes == 0);
}

}  // namespace test_cache_tiered_threads
