#include <llmkit/cache/memory.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <llmkit/metrics/prometheus.hpp>
#include <llmkit/metrics/registry.hpp>
#include <llmkit/metrics/report.hpp>
#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_cache_memory {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

const time_point start = simulation::world::began;

std::shared_ptr<const cache_entry> entry(std::string text, duration keep = 1h) {
    auto made = std::make_shared<cache_entry>();
    event_facts whole;
    whole.last = true;
    made->events.emplace_back(bytes(std::move(text)), whole);
    made->stored_at = start;
    made->fresh_until = start + keep;
    made->keep_until = start + keep;
    return made;
}
key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }

}  // namespace

TEST_CASE("the memory cache gives back what was put, without a copy", "[memory_cache]") {
    memory_cache cache(10);
    auto put = entry("answer");
    CHECK(cache.try_put(key(1), put, start));
    const cache_hit hit = cache.try_find(key(1), start);
    REQUIRE(hit);
    CHECK(hit.entry() == put);
    CHECK(hit.level() == "memory");
    CHECK_FALSE(cache.try_find(key(2), start));
}

TEST_CASE("each key finds its own answer, until the cache is cleared", "[memory_cache]") {
    memory_cache cache(10'000);
    constexpr std::uint64_t keys = 4000;
    for (std::uint64_t n = 0; n < keys; ++n) cache.try_put(key(n), entry(std::to_string(n)), start);
    std::uint64_t right = 0;
    for (std::uint64_t n = 0; n < keys; ++n) {
        const cache_hit hit = cache.try_find(key(n), start);
        if (hit && hit.entry()->events.front().data() == std::to_string(n)) ++right;
    }
    CHECK(right == keys);
    cache.clear();
    CHECK(cache.stats().entries == 0);
    CHECK_FALSE(cache.try_find(key(1), start));
}

TEST_CASE("copies of a memory cache share what it holds", "[memory_cache]") {
    memory_cache cache(10);
    const memory_cache copy = cache;
    cache.try_put(key(1), entry("answer"), start);
    CHECK(copy.try_find(key(1), start));
    CHECK(copy.try_erase(key(1)));
    CHECK_FALSE(cache.try_find(key(1), start));
    CHECK_FALSE(copy.try_erase(key(1)));
}

TEST_CASE("the memory cache forgets an entry when it is of no more use", "[memory_cache]") {
    memory_cache cache(10);
    cache.try_put(key(1), entry("answer", 10s), start);
    CHECK(cache.try_find(key(1), start + 10s - 1ns));
    CHECK_FALSE(cache.try_find(key(1), start + 10s));
    CHECK(cache.stats().entries == 0);
    CHECK_FALSE(cache.try_put(key(1), entry("too late", 10s), start + 10s));
    CHECK(cache.try_put(key(2), entry("for ever", time_point::max() - start), start));
    CHECK(cache.try_find(key(2), start + 1000h));
}

TEST_CASE("the memory cache stays within its bounds", "[memory_cache]") {
    memory_cache few(100);
    for (std::uint64_t i = 0; i < 1000; ++i) few.try_put(key(i), entry("x"), start);
    CHECK(few.stats().entries == 100);

    memory_cache small(1'000'000, 100'000);
    for (std::uint64_t i = 0; i < 1000; ++i) {
        small.try_put(key(i), entry(std::string(1000, 'x')), start);
    }
    CHECK(small.stats().bytes <= 100'000);
    CHECK(small.stats().entries > 20);
    CHECK_FALSE(small.try_put(key(1), entry(std::string(200'000, 'x')), start));
    CHECK_FALSE(few.try_put(key(1), nullptr, start));

    memory_cache none(0);
    CHECK_FALSE(none.try_put(key(1), entry("x"), start));
}

TEST_CASE("an entry weighs what it holds", "[memory_cache]") {
    cache_entry empty;
    cache_entry full;
    full.canonical = bytes(std::string(1000, 'q'));
    full.model = "m";
    full.events.emplace_back(bytes(std::string(500, 'a')), event_facts(), bytes(std::string("n")));
    CHECK(full.weight() >= empty.weight() + 1502 + sizeof(event));
    CHECK(full.weight() < empty.weight() + 1502 + sizeof(event) + 64);
}

namespace {
task<bool> round_trip(memory_cache cache) {
    limit none;
    auto stored = co_await cache.put(key(1), entry("answer"), start, none);
    auto found = co_await cache.find(key(1), start, none);
    auto erased = co_await cache.erase(key(1), none);
    auto gone = co_await cache.find(key(1), start, none);
    co_return stored&& found && *found&& erased&& gone && !*gone;
}
}  // namespace

TEST_CASE("the memory cache can be asked as any other store", "[memory_cache]") {
    simulation::world world;
    CHECK(world.wait(round_trip(memory_cache(10))));
}

TEST_CASE("threads share a memory cache", "[memory_cache]") {
    memory_cache cache(64);
    std::atomic<int> wrong{0};
    const auto work = [&](std::uint64_t seed) {
        for (std::uint64_t i = 0; i < 5000; ++i) {
            const std::uint64_t n = (i * 7 + seed) % 100;
            if (auto hit = cache.try_find(key(n), start)) {
                if (hit.entry()->events.front().data() != std::to_string(n)) ++wrong;
            } else {
                cache.try_put(key(n), entry(std::to_string(n)), start);
            }
            if (i % 97 == 0) cache.try_erase(key(n));
        }
    };
    std::thread other(work, 1);
    work(50);
    other.join();
    CHECK(wrong == 0);
    CHECK(cache.stats().entries <= 64);
}

TEST_CASE("a memory cache can be watched", "[memory_cache]") {
    metrics figures;
    const memory_cache store(1);
    figures.watch("answers", store);
    for (const char* text : {"a", "b"}) store.try_put(hash128(text), entry("text"), start);
    const std::string shown = to_prometheus(figures.snapshot());
    CHECK(shown.find("llmkit_answers_entries 1\n") != std::string::npos);
    CHECK(shown.find("llmkit_answers_evictions_total 1\n") != std::string::npos);
    CHECK(to_table(figures.snapshot()).find("entries 1, bytes ") != std::string::npos);
    CHECK(to_json(figures.snapshot())["watched"]["answers"]["bytes"] == entry("text")->weight());
}

}  // namespace test_cache_memory
