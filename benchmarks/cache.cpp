// What does a hit in the memory cache cost, and how often is there one?
//
// Against a bare hash table (nothing can be quicker that finds a shared value), against the usual
// cache (a list, a map and a mutex, least recently used first out), and, for the ratio of hits, also
// against the best that any fixed choice of keys could do. In turn, medians of the rounds' ratios.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <list>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>

#include "cache_dedup.hpp"
#ifdef LLMKIT_PEER_LLMKIT__SQLITE
#include "cache_sqlite.hpp"
#endif
#include "cache_redis.hpp"

using namespace llmkit;

namespace {

constexpr int rounds = 11;
constexpr std::size_t entries = 100'000;
constexpr std::size_t lookups = 1'000'000;  // a round

using value = std::shared_ptr<const cache_entry>;

key128 key_of(std::uint64_t number) { return key_builder().add(number).finish(); }

/// Two kilobytes that were written once and are only handed out.
value made(std::uint64_t number) {
    auto one = std::make_shared<cache_entry>();
    one->events.push_back(event(bytes(std::string(2000, static_cast<char>('a' + number % 26)))));
    one->fresh_until = one->keep_until = time_point::max();
    return one;
}

/// As most programs have it.
class lru {
public:
    explicit lru(std::size_t most) : most_(most) {}
    value find(const key128& key) {
        const std::lock_guard lock(mutex_);
        const auto at = places_.find(key);
        if (at == places_.end()) return nullptr;
        order_.splice(order_.begin(), order_, at->second);
        return at->second->second;
    }
    void put(const key128& key, value what) {
        const std::lock_guard lock(mutex_);
        if (const auto at = places_.find(key); at != places_.end()) {
            at->second->second = std::move(what);
            return order_.splice(order_.begin(), order_, at->second);
        }
        order_.emplace_front(key, std::move(what));
        places_[key] = order_.begin();
        if (places_.size() <= most_) return;
        places_.erase(order_.back().first);
        order_.pop_back();
    }

private:
    using item = std::pair<key128, value>;
    std::size_t most_;
    std::mutex mutex_;
    std::list<item> order_;
    std::unordered_map<key128, std::list<item>::iterator> places_;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

std::atomic<std::uint64_t> sink{0};

/// Nanoseconds a lookup; `find` gives a value for a key.
template <class Find>
double lookup_ns(const std::vector<key128>& asked, std::size_t threads, const Find& find) {
    const auto work = [&](std::size_t from) {
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < asked.size(); ++i) {
            const value got = find(asked[(i + from) % asked.size()]);
            seen += got ? 1U : 0U;  // what is done with an answer costs the same everywhere
        }
        sink += seen;
    };
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < threads; ++i) others.emplace_back(work, i * asked.size() / threads);
    work(0);
    for (auto& one : others) one.join();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    return took.count() / static_cast<double>(asked.size());
}

void print(const char* name, double measured, const char* unit) {
    std::printf("result cache.%s %.3g %s\n", name, measured, unit);
}

void hits() {
    std::mt19937_64 random(1);
    std::vector<key128> keys;
    for (std::size_t i = 0; i < entries; ++i) keys.push_back(key_of(i));
    std::vector<key128> asked;
    for (std::size_t i = 0; i < lookups; ++i) asked.push_back(keys[random() % entries]);

    // Room for all of them also where the shards are not filled evenly.
    const memory_cache ours(entries * 2, std::size_t{2} << 30);
    lru usual(entries);
    std::unordered_map<key128, value> bare;
    const time_point now = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < entries; ++i) {
        const value one = made(i);
        ours.try_put(keys[i], one, now);
        usual.put(keys[i], one);
        bare.emplace(keys[i], one);
    }
    const auto in_ours = [&](const key128& key) { return ours.try_find(key, now).entry(); };
    const auto in_usual = [&](const key128& key) { return usual.find(key); };
    const auto in_bare = [&](const key128& key) {
        const auto at = bare.find(key);
        return at == bare.end() ? nullptr : at->second;
    };
    std::vector<double> mine, to_bare, to_usual, to_usual_2;
    for (int round = 0; round < rounds; ++round) {
        const double one = lookup_ns(asked, 1, in_ours);
        const double plain = lookup_ns(asked, 1, in_bare);
        const double listed = lookup_ns(asked, 1, in_usual);
        const double two = lookup_ns(asked, 2, in_ours);
        const double listed_2 = lookup_ns(asked, 2, in_usual);
        if (round == 0) continue;  // warm-up
        mine.push_back(one);
        to_bare.push_back(one / plain);
        to_usual.push_back(one / listed);
        to_usual_2.push_back(two / listed_2);
    }
    print("hit_ns", median(mine), "ns");
    print("hit_vs_bare_find", median(to_bare), "ratio");
    print("hit_vs_lru_mutex", median(to_usual), "ratio");
    print("hit_vs_lru_mutex_2_threads", median(to_usual_2), "ratio");
}

/// Draws keys as Zipf's law has it: the one of rank r as often as 1/r.
class zipf {
public:
    explicit zipf(std::size_t keys) {
        double sum = 0;
        for (std::size_t rank = 1; rank <= keys; ++rank)
            sums_.push_back(sum += 1.0 / static_cast<double>(rank));
    }
    std::size_t operator()(std::mt19937_64& random) const {
        std::uniform_real_distribution<double> anywhere(0, sums_.back());
        const auto at = std::lower_bound(sums_.begin(), sums_.end(), anywhere(random));
        return static_cast<std::size_t>(at - sums_.begin());
    }
    /// How often one of the first `count` is drawn.
    double share_of(std::size_t count) const { return sums_[count - 1] / sums_.back(); }

private:
    std::vector<double> sums_;
};

void ratios() {
    constexpr std::size_t keys = 200'000;
    constexpr std::size_t room = keys / 100;
    constexpr std::size_t asked = 2'000'000;
    const zipf draw(keys);
    std::mt19937_64 random(1);
    const value one = made(0);
    const time_point now = std::chrono::steady_clock::now();
    const memory_cache ours(room);
    lru usual(room);
    std::size_t mine = 0;
    std::size_t theirs = 0;
    for (std::size_t i = 0; i < asked; ++i) {
        const key128 key = key_of(draw(random));
        if (ours.try_find(key, now)) {
            ++mine;
        } else {
            ours.try_put(key, one, now);
        }
        if (usual.find(key)) {
            ++theirs;
        } else {
            usual.put(key, one);
        }
    }
    const auto share = [](std::size_t hits) {
        return static_cast<double>(hits) / static_cast<double>(asked);
    };
    print("hit_ratio_zipf1.0_1pct", share(mine), "ratio");
    print("hit_ratio_zipf1.0_1pct_lru", share(theirs), "ratio");
    print("hit_ratio_zipf1.0_1pct_best_static", draw.share_of(room), "ratio");
}

/// A provider that is never asked twice.
class once {
public:
    explicit once(clock_handle time) : time_(std::move(time)) {}
    clock_handle clock() const { return time_; }
    task<result<response>> operator()(request) const {
        event_facts whole;
        whole.content = whole.last = true;
        whole.finish = finish_reason::stop;
        co_return response(response_head(),
                           event_stream(event(bytes(std::string(2000, 'x')), whole)));
    }

private:
    clock_handle time_;
};

request question(std::size_t number) {
    return request("chat/completions",
                   R"({"model":"m","messages":[{"role":"user","content":"question )" +
                       std::to_string(number) + ' ' + std::string(1900, 'q') + R"("}]})");
}

/// CPU time of this thread: nothing here waits, and others may want the processor.
double cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

template <class Client>
task<void> ask_all(Client client, const std::vector<request>& questions) {
    for (const request& ask : questions) {
        auto answer = co_await client(ask);
        while (auto item = co_await answer->events().next()) sink += item->data().size();
    }
}

void whole_calls() {
    constexpr std::size_t calls = 10'000;
    asio::io_context io(1);
    one_thread(io);
    const memory_cache kept(calls * 2);
    const auto client = pipeline(once(clock_handle(io.get_executor()))) | cache(kept);
    const auto round = [&] {
        std::vector<request> asked;  // their keys are made anew
        for (std::size_t i = 0; i < calls; ++i) asked.push_back(question(i));
        const double began = cpu_ns();
        asio::co_spawn(io, ask_all(client, asked), [](std::exception_ptr failed) {
            if (failed) std::rethrow_exception(failed);
        });
        io.restart();
        io.run();
        return (cpu_ns() - began) / static_cast<double>(calls);
    };
    round();  // which fills the cache
    std::vector<double> each;
    for (int i = 0; i < rounds; ++i) each.push_back(round());
    print("pipeline_hit_ns", median(each), "ns");
}

}  // namespace

int main() {
    hits();
    ratios();
    whole_calls();
    const bench::fanout_times shared = bench::time_fanout(rounds);
    std::printf("result dedup.stream_fanout_ns %.3g ns\n", shared.shared);
    std::printf("result dedup.stream_fanout_vs_wake %.3g ratio\n", shared.ratio);
#ifdef LLMKIT_PEER_LLMKIT__SQLITE
    const bench::sqlite_times file = bench::time_sqlite(rounds);
    print("sqlite_get_us", file.statement, "us");
    print("sqlite_get_with_hop_us", file.with_hop, "us");
#endif
    try {
        const bench::redis_times far = bench::time_redis(rounds);
        print("redis_get_by_hand_us", far.by_hand, "us");
        print("redis_get_us", far.ours, "us");
        print("redis_get_vs_hand_pipelined", far.ratio, "ratio");
        print("redis_find_us", far.find, "us");
    } catch (const std::exception& why) {
        std::printf("without Redis: %s\n", why.what());
    }
    const bench::parse_times ours = bench::our_parser();
    print("redis_parse_value_ns", ours.value, "ns");
    print("redis_parse_list_ns", ours.list, "ns");
#ifdef BENCH_HIREDIS
    const bench::parse_times theirs = bench::hiredis_parser();
    print("redis_parse_value_hiredis_ns", theirs.value, "ns");
    print("redis_parse_list_hiredis_ns", theirs.list, "ns");
#endif
}
