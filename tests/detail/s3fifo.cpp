#include <llmkit/detail/s3fifo.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "test.hpp"

namespace test_detail_s3fifo {

namespace {

using namespace std::chrono_literals;
using store = llmkit::detail::s3fifo<int, std::string>;
constexpr std::chrono::steady_clock::time_point start{};

std::shared_ptr<const std::string> text(std::string value) {
    return std::make_shared<const std::string>(std::move(value));
}

bool put(store& cache, int key, std::size_t bytes = 1) {
    return cache.put(key, text(std::to_string(key)), bytes, start);
}

bool has(store& cache, int key) {
    auto hit = cache.find(key, start);
    if (hit) CHECK(*hit == std::to_string(key));
    return hit != nullptr;
}

// The plain policy to compare with.
class lru {
public:
    explicit lru(std::size_t room) : room_(room) {}
    bool ask(int key) {  // stores on a miss
        if (auto it = where_.find(key); it != where_.end()) {
            order_.splice(order_.begin(), order_, it->second);
            return true;
        }
        order_.push_front(key);
        where_[key] = order_.begin();
        if (order_.size() > room_) {
            where_.erase(order_.back());
            order_.pop_back();
        }
        return false;
    }

private:
    std::size_t room_;
    std::list<int> order_;
    std::unordered_map<int, std::list<int>::iterator> where_;
};

struct one_bucket {  // every key collides
    std::size_t operator()(int) const { return 7; }
};

struct loud {  // notices when it dies, and asks the store then
    llmkit::detail::s3fifo<int, loud>* store;
    std::atomic<int>* deaths;
    ~loud() {
        ++*deaths;
        (void)store->stats();  // would deadlock if a lock were held
    }
};

}  // namespace

TEST_CASE("the store gives back what was put, without copying it", "[s3fifo]") {
    store cache(10);
    auto value = text("a");
    REQUIRE(cache.put(1, value, 5, start));
    CHECK(cache.find(1, start) == value);
    CHECK(cache.find(2, start) == nullptr);
    const auto stats = cache.stats();
    CHECK(stats.entries == 1);
    CHECK(stats.bytes == 5);
    CHECK(stats.hits == 1);
    CHECK(stats.misses == 1);
}

TEST_CASE("the store replaces a value under the same key and its weight with it", "[s3fifo]") {
    store cache(10, 100);
    CHECK(cache.put(1, text("old"), 60, start));
    CHECK(cache.put(1, text("new"), 90, start));
    REQUIRE(cache.find(1, start));
    CHECK(*cache.find(1, start) == "new");
    CHECK(cache.stats().entries == 1);
    CHECK(cache.stats().bytes == 90);
    CHECK(cache.stats().evictions == 0);
}

TEST_CASE("newcomers nobody asks for leave in the order they came", "[s3fifo]") {
    store cache(10);
    for (int key = 0; key < 25; ++key) put(cache, key);
    for (int key = 0; key < 25; ++key) CHECK(has(cache, key) == (key >= 15));
    CHECK(cache.stats().evictions == 15);
}

TEST_CASE("an entry asked for again outlives those that were not", "[s3fifo]") {
    store cache(10);
    put(cache, 1);
    CHECK(has(cache, 1));
    CHECK(has(cache, 1));
    for (int key = 100; key < 200; ++key) put(cache, key);
    CHECK(has(cache, 1));
}

TEST_CASE("a key that returns soon after it was let go is kept in earnest", "[s3fifo]") {
    store cache(20);
    put(cache, 1);
    for (int key = 100; key < 125; ++key) put(cache, key);
    REQUIRE_FALSE(has(cache, 1));
    put(cache, 1);  // remembered: goes to the main queue
    for (int key = 200; key < 400; ++key) put(cache, key);
    CHECK(has(cache, 1));
    CHECK_FALSE(has(cache, 399 - 20));
}

TEST_CASE("the main queue lets go of what is no longer asked for", "[s3fifo]") {
    store cache(10);
    for (int key = 0; key < 10; ++key) {
        put(cache, key);
        has(cache, key), has(cache, key);
    }
    for (int key = 100; key < 110; ++key) {  // a new set, equally popular
        put(cache, key);
        for (int i = 0; i < 3; ++i) has(cache, key);
    }
    for (int key = 100; key < 110; ++key) {
        if (!has(cache, key)) put(cache, key);
        for (int i = 0; i < 3; ++i) has(cache, key);
    }
    int old = 0;
    for (int key = 0; key < 10; ++key) old += has(cache, key);
    CHECK(old <= 2);
    CHECK(cache.stats().entries == 10);
}

TEST_CASE("a scan of keys nobody asks for twice leaves the popular ones in place", "[s3fifo]") {
    store cache(1000);
    lru plain(1000);
    for (int round = 0; round < 4; ++round) {
        for (int key = 0; key < 800; ++key) {
            if (!has(cache, key)) put(cache, key);
            plain.ask(key);
        }
    }
    for (int key = 10'000; key < 13'000; ++key) {
        if (!has(cache, key)) put(cache, key);
        plain.ask(key);
    }
    int kept = 0, kept_by_lru = 0;
    for (int key = 0; key < 800; ++key) {
        kept += has(cache, key);
        kept_by_lru += plain.ask(key);
    }
    CHECK(kept_by_lru == 0);
    CHECK(kept == 800);
}

TEST_CASE("the store finds more than LRU does where popularity follows Zipf's law", "[s3fifo]") {
    // A tenth of the target's size (200k keys, 2M requests: 0.619 against 0.53), for the tests'
    // sake.
    constexpr int keys = 20'000, room = 200, requests = 200'000;
    std::vector<double> cumulated(keys);
    double sum = 0;
    for (int i = 0; i < keys; ++i) cumulated[static_cast<std::size_t>(i)] = sum += 1.0 / (i + 1);
    std::mt19937_64 random(1);
    store cache(room);
    lru plain(room);
    auto value = text("x");
    int hits = 0, hits_of_lru = 0;
    for (int i = 0; i < requests; ++i) {
        const double draw = static_cast<double>(random() >> 11) * 0x1p-53 * sum;
        const auto at = std::lower_bound(cumulated.begin(), cumulated.end(), draw);
        const int key = static_cast<int>(at - cumulated.begin());
        if (cache.find(key, start)) {
            ++hits;
        } else {
            cache.put(key, value, 1, start);
        }
        hits_of_lru += plain.ask(key);
    }
    CAPTURE(hits, hits_of_lru);
    CHECK(hits > requests * 50 / 100);
    CHECK(hits > hits_of_lru + requests * 7 / 100);
}

TEST_CASE("the store never weighs more than it may", "[s3fifo]") {
    store cache(1'000'000, 10'000, 1);
    std::mt19937 random(3);
    for (int i = 0; i < 5'000; ++i) {
        put(cache, static_cast<int>(random() % 500), random() % 900);
        const auto stats = cache.stats();
        REQUIRE(stats.bytes <= 10'000);
    }
    CHECK(cache.stats().entries > 5);
    CHECK(cache.stats().evictions > 1000);
}

TEST_CASE("a heavy entry pushes out as many light ones as it needs", "[s3fifo]") {
    store cache(1000, 100, 1);
    for (int key = 0; key < 100; ++key) put(cache, key, 1);
    CHECK(cache.stats().bytes == 100);
    CHECK(put(cache, 500, 100));
    CHECK(cache.stats().entries == 1);
    CHECK(has(cache, 500));
}

TEST_CASE("an entry heavier than a shard's part is refused, and its older value is gone",
          "[s3fifo]") {
    store cache(1000, 100, 4);
    REQUIRE(cache.shard_count() == 4);
    CHECK(put(cache, 1, 25));
    CHECK_FALSE(put(cache, 1, 26));
    CHECK_FALSE(has(cache, 1));
    CHECK(cache.stats().bytes == 0);
    CHECK(cache.stats().refused == 1);
    CHECK_FALSE(put(cache, 2, std::numeric_limits<std::size_t>::max()));
}

TEST_CASE("an entry lives as long as it was given, and not an instant more", "[s3fifo]") {
    store cache(10);
    REQUIRE(cache.put(1, text("1"), 1, start, 10s));
    CHECK(cache.find(1, start + 10s - 1ns));
    CHECK_FALSE(cache.find(1, start + 10s));
    CHECK_FALSE(cache.find(1, start));  // gone, not hidden
    CHECK(cache.stats().expirations == 1);
    CHECK(cache.stats().entries == 0);
    CHECK(cache.put(2, text("2"), 1, start + 100h, std::chrono::nanoseconds::max()));
    CHECK(cache.find(2, std::chrono::steady_clock::time_point::max() - 1ns));
    CHECK_FALSE(cache.put(3, text("3"), 1, start, 0s));
    CHECK_FALSE(cache.put(3, text("3"), 1, start, -1s));
    CHECK_FALSE(cache.put(3, nullptr, 1, start));
}

TEST_CASE("room is made from what has expired before what is still asked for", "[s3fifo]") {
    store cache(10);
    for (int key = 0; key < 10; ++key) {
        cache.put(key, text(std::to_string(key)), 1, start, key < 5 ? 1s : 1h);
        for (int i = 0; i < 3; ++i) cache.find(key, start);
    }
    for (int key = 100; key < 105; ++key) {
        cache.put(key, text(std::to_string(key)), 1, start + 2s);
    }
    for (int key = 5; key < 10; ++key) CHECK(cache.find(key, start + 2s));
    CHECK(cache.stats().expirations == 5);
    CHECK(cache.stats().evictions == 0);
}

TEST_CASE("a store without room keeps nothing, and one with room for one keeps one", "[s3fifo]") {
    store none(0);
    CHECK_FALSE(put(none, 1));
    CHECK_FALSE(has(none, 1));
    store weightless(10, 0);
    CHECK_FALSE(put(weightless, 1, 1));
    CHECK(put(weightless, 2, 0));
    store one(1, store::unlimited, 16);
    CHECK(one.shard_count() == 1);
    for (int key = 0; key < 100; ++key) {
        CHECK(put(one, key));
        for (int i = 0; i < 5; ++i) CHECK(has(one, key));
        CHECK_FALSE(has(one, key - 1));
        CHECK(one.stats().entries == 1);
    }
}

TEST_CASE("the parts of the shards sum up to the whole", "[s3fifo]") {
    for (const std::size_t room : {7u, 100u, 1001u}) {
        store cache(room, store::unlimited, 8);
        for (int key = 0; key < 20'000; ++key) put(cache, key);
        CHECK(cache.stats().entries == room);
    }
}

TEST_CASE("erase and clear take out what they name", "[s3fifo]") {
    store cache(100);
    for (int key = 0; key < 50; ++key) put(cache, key);
    CHECK(cache.erase(7));
    CHECK_FALSE(cache.erase(7));
    CHECK_FALSE(cache.erase(1000));
    CHECK_FALSE(has(cache, 7));
    CHECK(cache.stats().entries == 49);
    const auto hits = cache.stats().hits;
    cache.clear();
    CHECK(cache.stats().entries == 0);
    CHECK(cache.stats().bytes == 0);
    CHECK(cache.stats().hits == hits);
    for (int key = 0; key < 50; ++key) CHECK_FALSE(has(cache, key));
    CHECK(put(cache, 7));
    CHECK(has(cache, 7));
}

TEST_CASE("keys whose hashes collide stay apart", "[s3fifo]") {
    llmkit::detail::s3fifo<int, int, one_bucket> cache(64);
    for (int key = 0; key < 64; ++key) cache.put(key, std::make_shared<const int>(key), 1, start);
    for (int key = 0; key < 64; key += 3) CHECK(cache.erase(key));
    for (int key = 0; key < 64; ++key) {
        auto hit = cache.find(key, start);
        CHECK((hit != nullptr) == (key % 3 != 0));
        if (hit) CHECK(*hit == key);
    }
}

TEST_CASE("a long mixed run agrees with a plain map about every value", "[s3fifo]") {
    llmkit::detail::s3fifo<int, int> cache(64, 640, 2);
    std::unordered_map<int, int> latest;
    std::mt19937 random(11);
    for (int i = 0; i < 100'000; ++i) {
        const int key = static_cast<int>(random() % 300);
        switch (random() % 8) {
            case 0:
                cache.erase(key);
                latest.erase(key);
                break;
            case 1:
            case 2:
            case 3:
                if (cache.put(key, std::make_shared<const int>(i), random() % 40, start)) {
                    latest[key] = i;
                } else {
                    latest.erase(key);
                }
                break;
            default:
                if (auto hit = cache.find(key, start)) {
                    REQUIRE(latest.count(key) == 1);
                    REQUIRE(*hit == latest[key]);
                }
        }
    }
    CHECK(cache.stats().hits > 1000);
    CHECK(cache.stats().entries <= 64);
    CHECK(cache.stats().bytes <= 640);
}

TEST_CASE("values die outside the lock, by eviction, erasure, expiry and clearing", "[s3fifo]") {
    std::atomic<int> deaths = 0;
    llmkit::detail::s3fifo<int, loud> cache(10, 100, 1);
    auto value = [&] { return std::make_shared<const loud>(&cache, &deaths); };
    for (int key = 0; key < 20; ++key) cache.put(key, value(), 1, start, 1h);
    CHECK(deaths == 10);
    cache.erase(19);
    CHECK(deaths == 11);
    CHECK_FALSE(cache.find(18, start + 2h));
    CHECK(deaths == 12);
    cache.put(17, value(), 1, start);  // replaced
    CHECK(deaths == 13);
    cache.put(50, value(), 100, start);  // pushes out all
    CHECK(deaths == 21);
    cache.clear();
    CHECK(deaths == 22);
}

TEST_CASE("a hit stays valid after the store let it go", "[s3fifo]") {
    auto cache = std::make_unique<store>(1);
    put(*cache, 1);
    auto hit = cache->find(1, start);
    put(*cache, 2);
    cache.reset();
    CHECK(*hit == "1");
}

TEST_CASE("threads that hammer one store see only whole values", "[s3fifo]") {
    store cache(200, 4'000, 4);
    std::atomic<bool> wrong = false;
    auto work = [&](unsigned seed) {
        std::minstd_rand random(seed);
        for (int i = 0; i < 20'000; ++i) {
            const int key = static_cast<int>(random() % 600);
            const auto at = start + std::chrono::milliseconds(i);
            if (i % 500 == 0) {
                cache.clear();
            } else if (i % 7 == 0) {
                cache.erase(key);
            } else if (auto hit = cache.find(key, at)) {
                if (*hit != std::to_string(key)) wrong = true;
            } else {
                cache.put(key, text(std::to_string(key)), random() % 50, at, 500ms);
            }
            if (i % 100 == 0 && cache.stats().bytes > 4'000) wrong = true;
        }
    };
    std::thread other(work, 1u);
    work(2u);
    other.join();
    CHECK_FALSE(wrong);
    const auto stats = cache.stats();
    CHECK(stats.hits > 0);
    CHECK(stats.entries <= 200);
}

}  // namespace test_detail_s3fifo
