#include <llmkit/cache/tiered.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/simulation/world.hpp>

#include "cache/entries.hpp"
#include "cache/scripted_level.hpp"
#include "layer/layer_test.hpp"
#include "test.hpp"

namespace test_cache_tiered {

using namespace llmkit;
using namespace llmkit_test;
using namespace std::chrono_literals;

static_assert(instant_cache_backend<decltype(tiered(memory_cache(1), memory_cache(1)))>);
static_assert(!front_cache_backend<decltype(tiered(memory_cache(1), memory_cache(1)))>);
static_assert(front_cache_backend<decltype(tiered(level(memory_cache(1)), scripted_level()))>);
static_assert(!instant_cache_backend<decltype(tiered(memory_cache(1), scripted_level()))>);
static_assert(write_behind_backend<decltype(tiered(memory_cache(1), scripted_level()))>);
static_assert(cache_backend<decltype(tiered(scripted_level()))>);
static_assert(!front_cache_backend<decltype(tiered(scripted_level(), memory_cache(1)))>);

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }

/// Memory over a store "near" over a store "far".
struct bench {
    bench() : bench(20ms) {}
    explicit bench(duration limit)
        : cache(tiered(memory, level(near).limit(limit), level(far).limit(limit))) {}

    std::shared_ptr<const cache_entry> entry(std::string text, duration keep = 1h) {
        return entry_saying(std::move(text), world.now(), keep);
    }
    limit within(duration span) {
        limit until;
        until.until = world.now() + span;
        return until;
    }
    cache_hit find(std::uint64_t n, duration within_span = 1s) {
        auto found = world.wait(cache.find(key(n), world.now(), within(within_span)));
        world.poll();  // what goes on beside the caller
        REQUIRE(found);
        return *found;
    }
    /// "far: text", or "" for a miss.
    std::string said(std::uint64_t n, duration within_span = 1s) {
        const cache_hit hit = find(n, within_span);
        if (!hit) return "";
        return std::string(hit.level()) + ": " + std::string(hit.entry()->events.front().data());
    }
    bool put(std::uint64_t n, std::string text, duration keep = 1h) {
        auto made = entry(std::move(text), keep);
        return static_cast<bool>(
            world.wait(cache.put(key(n), std::move(made), world.now(), within(5s))));
    }
    bool erase(std::uint64_t n) {
        return static_cast<bool>(world.wait(cache.erase(key(n), within(5s))));
    }
    void put_into(scripted_level& level, std::uint64_t n, std::string text, duration keep = 1h) {
        level->entries[key(n)] = entry(std::move(text), keep);
    }
    level_stats stats(std::size_t i) { return cache.stats().levels.at(i); }
    duration cost(std::uint64_t n) {
        const time_point began = world.now();
        find(n);
        return world.now() - began;
    }

    simulation::world world;
    memory_cache memory{100};
    scripted_level near{"near"};
    scripted_level far{"far"};
    tiered_cache<detail::at_once::from_the_front> cache;
};

}  // namespace

TEST_CASE("the first level that has an answer gives it and those above get it", "[tiered]") {
    bench b;
    b.put_into(b.far, 1, "one");
    CHECK(b.said(1) == "far: one");
    CHECK(b.near->entries.count(key(1)) == 1);
    CHECK(b.memory.stats().entries == 1);
    CHECK(b.said(1) == "memory: one");
    b.memory.clear();
    CHECK(b.said(1) == "near: one");
    CHECK(b.far->finds.size() == 1);
    CHECK(b.far->puts.empty());
    CHECK(b.said(2) == "");

    CHECK(b.stats(0).hits == 1);
    CHECK(b.stats(0).misses == 3);
    CHECK(b.stats(0).writes == 2);
    CHECK(b.stats(1).hits == 1);
    CHECK(b.stats(1).misses == 2);
    CHECK(b.stats(1).writes == 1);
    CHECK(b.stats(2).hits == 1);
    CHECK(b.stats(2).misses == 1);
    CHECK(b.stats(2).latency.count() == 2);
    CHECK(b.stats(2).bytes_read == b.far->entries[key(1)]->weight());
    CHECK(b.stats(1).bytes_written == b.stats(2).bytes_read);
}

TEST_CASE("a promoted answer keeps what is left of its time, or less by the level", "[tiered]") {
    bench b;
    auto cache = tiered(level(b.memory).ttl(10min), level(b.near).ttl(2h), b.far);
    b.put_into(b.far, 1, "long", 3h);
    b.put_into(b.far, 2, "short", 5min);
    b.world.run_for(1min);
    const auto find = [&](std::uint64_t n) {
        auto found = b.world.wait(cache.find(key(n), b.world.now(), b.within(1s)));
        b.world.poll();
        return found.value();
    };
    const time_point then = b.world.now();
    const cache_hit given = find(1);
    CHECK(given.entry()->keep_until == then + 3h - 1min);
    CHECK(find(2).entry()->keep_until == then + 4min);

    CHECK(b.near->entries[key(1)]->keep_until == then + 2h);
    CHECK(b.near->entries[key(1)]->fresh_until == then + 2h);
    CHECK(b.near->entries[key(2)] == b.far->entries[key(2)]);  // no copy where none is needed
    CHECK(b.memory.try_find(key(1), then).entry()->keep_until == then + 10min);
    CHECK(b.memory.try_find(key(1), then).entry()->stored_at == given.entry()->stored_at);

    b.world.run_for(5min);
    CHECK_FALSE(find(2));  // nowhere
    CHECK(find(1).level() == "memory");
    b.world.run_for(6min);
    CHECK(find(1).level() == "near");  // and in memory for another ten minutes
    b.world.run_for(1min);
    CHECK(find(1).level() == "memory");
    b.world.run_for(2h);
    CHECK(find(1).level() == "far");
    b.world.run_for(1h);
    CHECK_FALSE(find(1));
}

TEST_CASE("an answer is written into each level, for no longer than the level keeps it",
          "[tiered]") {
    bench b;
    const bool behind = GENERATE(false, true);
    auto cache = tiered(level(b.memory).ttl(10min), level(b.near).ttl(20min), b.far);
    if (behind) cache.write_behind();
    auto made = b.entry("x", 15min);
    CHECK(b.world.wait(cache.put(key(1), made, b.world.now(), b.within(5s))));
    b.world.poll();
    CHECK(b.memory.try_find(key(1), b.world.now()).entry()->keep_until == b.world.now() + 10min);
    CHECK(b.near->entries[key(1)] == made);
    CHECK(b.far->entries[key(1)] == made);
    CHECK(b.world.elapsed() == 0s);
}

TEST_CASE("a stale answer is given only where no level has a fresh one", "[tiered]") {
    bench b;
    const auto stale = [&](std::string text, duration fresh) {
        auto made = std::make_shared<cache_entry>(*b.entry(std::move(text)));
        made->fresh_until = b.world.now() + fresh;
        return made;
    };
    b.memory.try_put(key(1), stale("old", 1s), b.world.now());
    b.near->entries[key(1)] = stale("less old", 2s);
    b.world.run_for(10s);
    CHECK(b.said(1) == "near: less old");
    CHECK(b.said(1) == "memory: less old");  // it got it, but looked further for a fresh one
    CHECK(b.far->finds.size() == 2);
    CHECK(b.near->puts.empty());
    b.put_into(b.far, 1, "fresh");
    CHECK(b.said(1) == "far: fresh");
    CHECK(b.said(1) == "memory: fresh");
    CHECK(b.near->entries[key(1)] == b.far->entries[key(1)]);
}

TEST_CASE("a level that is down costs nothing and is probed once an interval", "[tiered]") {
    bench b;
    b.put_into(b.far, 1, "one");
    b.near->fails = true;
    for (int i = 0; i < 3; ++i) {
        b.memory.clear();
        CHECK(b.said(1) == "far: one");
    }
    CHECK(b.stats(1).state == level_state::down);
    CHECK(b.stats(1).errors == 3);
    CHECK(b.near->finds.size() == 3);

    // A hundred calls a second: one probe after 1 s, 2 s, 4 s, 8 s, 10 s, 10 s, …
    const time_point down = b.world.now();
    for (int i = 0; i < 4000; ++i) {
        b.memory.clear();
        CHECK(b.said(1) == "far: one");
        b.world.run_for(10ms);
    }
    std::vector<duration> probes;
    for (std::size_t i = 3; i < b.near->finds.size(); ++i)
        probes.push_back(b.near->finds[i] - down);
    CHECK(probes == std::vector<duration>{1s, 3s, 7s, 15s, 25s, 35s});
    CHECK(b.stats(1).probes == 6);
    CHECK(b.stats(1).skipped == 4000);
    CHECK(b.near->puts.empty());  // nothing was promoted into it

    b.near->fails = false;
    b.world.run_for(5s);
    CHECK(b.find(1).level() == "memory");
    b.memory.clear();
    CHECK(b.said(1) == "far: one");  // its probe runs beside this call
    CHECK(b.stats(1).state == level_state::up);
    b.memory.clear();
    CHECK(b.said(1) == "far: one");
    CHECK(b.near->entries.count(key(1)) == 1);
    b.memory.clear();
    CHECK(b.said(1) == "near: one");
}

TEST_CASE("a level that hangs holds a call up for its limit, and soon not at all", "[tiered]") {
    bench b(20ms);
    b.put_into(b.far, 1, "one");
    b.near->find_takes = 100h;
    for (int i = 0; i < 3; ++i) {
        b.memory.clear();
        CHECK(b.cost(1) == 20ms);
    }
    CHECK(b.stats(1).timeouts == 3);
    CHECK(b.stats(1).state == level_state::down);
    std::size_t slowest = 0;
    for (int i = 0; i < 2000; ++i) {
        b.memory.clear();
        if (b.cost(1) != 0s) ++slowest;
        b.world.run_for(10ms);
    }
    CHECK(slowest == 0);                   // probes run beside the calls,
    CHECK(b.near->running_max == 1);       // one at a time,
    CHECK(b.near->finds.size() == 3 + 4);  // and end at the limit: 1 s, 2 s, 4 s, 8 s apart
    b.near->find_takes = 1ms;
    b.world.run_for(11s);
    b.memory.clear();
    b.find(1);
    b.world.run_for(1ms);
    CHECK(b.stats(1).state == level_state::up);
}

TEST_CASE("a level that answers late is as good as one that does not", "[tiered]") {
    bench b(20ms);
    b.near->ignores_limits = true;
    b.near->find_takes = 30ms;
    b.put_into(b.near, 1, "one");
    for (int i = 0; i < 3; ++i) {
        b.memory.clear();
        CHECK(b.said(1) == "near: one");  // it came after all
    }
    CHECK(b.stats(1).timeouts == 3);
    b.memory.clear();
    CHECK(b.cost(1) == 0s);
    CHECK(b.stats(1).skipped == 1);
}

TEST_CASE("a level that flaps is given up only when it fails several times in a row", "[tiered]") {
    bench b;
    for (int i = 0; i < 30; ++i) {
        b.near->fails = i % 3 != 2;
        b.find(1);
    }
    CHECK(b.stats(1).state == level_state::up);
    CHECK(b.stats(1).errors == 20);
    CHECK(b.near->finds.size() == 30);
}

TEST_CASE("a level is not blamed for a call that has no time", "[tiered]") {
    bench b(100ms);
    b.near->find_takes = 1h;
    for (int i = 0; i < 10; ++i) CHECK(b.said(1, 5ms) == "");
    CHECK(b.stats(1).state == level_state::up);
    CHECK(b.stats(1).timeouts == 0);
    CHECK(b.world.elapsed() == 50ms);
    CHECK(b.far->finds.empty());  // there was no time left for it
    for (int i = 0; i < 3; ++i) b.find(1, 50ms);
    CHECK(b.stats(1).state == level_state::down);  // but for being slow for all it is
}

TEST_CASE("each level has its limit, and all together the call's", "[tiered]") {
    bench b(20ms);
    b.near->find_takes = b.far->find_takes = 1h;
    CHECK(b.cost(1) == 40ms);
    const time_point began = b.world.now();
    CHECK(b.said(1, 30ms) == "");
    CHECK(b.world.now() - began == 30ms);
}

TEST_CASE("what a level throws is an error of the level", "[tiered]") {
    bench b;
    b.put_into(b.far, 1, "one");
    b.near->on_find = [] { throw std::runtime_error("broken"); };
    CHECK(b.said(1) == "far: one");
    b.near->on_find = [] { throw_cancelled(); };
    b.memory.clear();
    CHECK(b.said(1) == "far: one");
    CHECK(b.stats(1).errors == 2);
}

TEST_CASE("a store that ignores its limit is cut off where that is enforced", "[tiered]") {
    bench b;
    auto cache = tiered(level(b.near).limit(20ms).write_limit(30ms).enforce(), b.far);
    b.near->ignores_limits = true;
    b.near->find_takes = b.near->put_takes = b.near->erase_takes = 100h;
    b.put_into(b.far, 1, "one");
    for (int i = 0; i < 3; ++i) {
        auto found = b.world.wait(cache.find(key(1), b.world.now(), b.within(1s)));
        CHECK(found->level() == "far");
        CHECK(b.world.elapsed() == (i + 1) * 20ms);
    }
    CHECK(cache.stats().levels[0].state == level_state::down);
    CHECK(cache.stats().levels[0].timeouts == 3);
    CHECK_FALSE(b.world.wait(cache.erase(key(1), b.within(1s))));
    CHECK(b.world.elapsed() == 90ms);
    CHECK(b.near->running == 0);
}

TEST_CASE("what is erased is gone from every level", "[tiered]") {
    bench b;
    CHECK(b.put(1, "one"));
    CHECK(b.said(1) == "memory: one");
    CHECK(b.erase(1));
    CHECK(b.said(1) == "");
    CHECK(b.memory.stats().entries == 0);
    CHECK(b.near->entries.empty());
    CHECK(b.far->entries.empty());
    CHECK(b.put(1, "two"));
    CHECK(b.said(1) == "memory: two");
}

TEST_CASE("what a level could not erase is not given again, until it is written anew", "[tiered]") {
    bench b;
    CHECK(b.put(1, "one"));
    CHECK(b.put(2, "other"));
    b.far->fails_to_write = true;
    CHECK_FALSE(b.erase(1));
    CHECK(b.far->entries.size() == 2);
    CHECK(b.said(1) == "");
    CHECK(b.near->entries.size() == 1);
    CHECK(b.stats(2).errors == 1);
    b.memory.clear();
    b.near->entries.clear();
    CHECK(b.said(2) == "far: other");

    b.far->fails_to_write = false;
    b.world.run_for(1s);
    b.put_into(b.far, 1, "new");  // by another process
    CHECK(b.said(1) == "far: new");
}

TEST_CASE("an erasure also reaches a level that is down", "[tiered]") {
    bench b;
    CHECK(b.put(1, "one"));
    b.far->fails = true;
    for (std::uint64_t n = 2; n < 5; ++n) b.find(n);
    CHECK(b.stats(2).state == level_state::down);
    CHECK(b.erase(1));
    CHECK(b.far->entries.empty());
}

TEST_CASE("an erasure is not undone by an answer on its way up or down", "[tiered]") {
    const bool behind = GENERATE(false, true);
    const bool quickly = GENERATE(false, true);
    const bool carrying = GENERATE(false, true);
    // At every moment of a look-up that carries up, and of a write into slow levels.
    for (int moment = 0; moment < 20; ++moment) {
        CAPTURE(behind, quickly, carrying, moment);
        bench b(100ms);
        if (behind) b.cache.write_behind();
        b.near->reads_first = b.far->reads_first = true;
        b.near->find_takes = b.far->find_takes = 3ms;
        b.near->put_takes = b.far->put_takes = 5ms;
        b.near->erase_takes = b.far->erase_takes = quickly ? 0ms : 2ms;
        std::optional<child<result<cache_hit>>> reader;
        std::optional<child<result<void>>> writer;
        if (carrying) {
            b.put_into(b.far, 1, "old");
            reader.emplace(b.world.clock(), b.cache.find(key(1), b.world.now(), b.within(1s)));
        } else {
            writer.emplace(b.world.clock(),
                           b.cache.put(key(1), b.entry("old"), b.world.now(), b.within(1s)));
        }
        b.world.run_for(std::chrono::milliseconds(moment));
        CHECK(b.erase(1));
        CHECK(b.said(1) == "");
        b.world.run();
        CHECK(b.memory.stats().entries == 0);
        CHECK(b.near->entries.empty());
        CHECK(b.far->entries.empty());
    }
}

TEST_CASE("what waits to be written, or is being written, is found no more once it is erased",
          "[tiered]") {
    bench b;
    auto cache = tiered(b.near).write_behind({.writers = 1});
    b.near->put_takes = 10ms;
    for (std::uint64_t n = 1; n < 3; ++n)
        CHECK(b.world.wait(cache.put(key(n), b.entry("x"), b.world.now(), b.within(5s))));
    b.world.poll();
    for (std::uint64_t n = 1; n < 3; ++n) {
        CHECK(b.world.wait(cache.erase(key(n), b.within(1s))));
        CHECK_FALSE(b.world.wait(cache.find(key(n), b.world.now(), b.within(1s))).value());
    }
    CHECK(b.world.elapsed() == 0s);
    b.world.run();
    CHECK(b.near->entries.empty());
    CHECK(b.near->puts.size() == 1);
}

TEST_CASE("writing through waits for each level, for its limit at most", "[tiered]") {
    bench b;
    auto cache = tiered(b.memory, level(b.near).write_limit(100ms), b.far);
    b.near->put_takes = 1h;
    b.far->put_takes = 10ms;
    CHECK(b.world.wait(cache.put(key(1), b.entry("x"), b.world.now(), b.within(5s))));
    CHECK(b.world.elapsed() == 110ms);
    CHECK(cache.stats().levels[1].timeouts == 1);
    CHECK(cache.stats().levels[1].writes == 0);
    CHECK(cache.stats().levels[2].writes == 1);

    auto slow = tiered(b.near, b.far);
    b.far->fails_to_write = b.near->fails_to_write = true;
    b.near->put_takes = b.far->put_takes = 0s;
    CHECK_FALSE(b.world.wait(slow.put(key(1), b.entry("x"), b.world.now(), b.within(5s))));
}

TEST_CASE("what waits to be written behind the calls can be found", "[tiered]") {
    bench b;
    auto cache = tiered(b.near, b.far).write_behind();
    b.near->put_takes = 100ms;
    CHECK(b.world.wait(cache.put(key(1), b.entry("x"), b.world.now(), b.within(5s))));
    CHECK(b.world.elapsed() == 0s);
    CHECK(cache.stats().waiting_bytes == b.entry("x")->weight());
    auto found = b.world.wait(cache.find(key(1), b.world.now(), b.within(1s)));
    CHECK(found->level() == "near");
    CHECK(b.near->entries.empty());
    CHECK(b.near->finds.empty());
    b.world.run();
    CHECK(b.near->entries.size() == 1);
    CHECK(b.far->entries.size() == 1);
    CHECK(cache.stats().waiting_bytes == 0);
}

TEST_CASE("writing behind takes as many entries at a time as it may", "[tiered]") {
    bench b;
    auto cache = tiered(b.memory, b.near).write_behind({.writers = 4});
    b.near->put_takes = 10ms;
    for (std::uint64_t n = 0; n < 10; ++n)
        CHECK(b.world.wait(cache.put(key(n), b.entry("x"), b.world.now(), b.within(5s))));
    CHECK(b.world.wait(cache.close(b.within(1s))));
    CHECK(b.world.elapsed() == 30ms);
    CHECK(b.near->running_max == 4);
    CHECK(b.near->entries.size() == 10);
    CHECK(cache.stats().dropped == 0);
}

TEST_CASE("what is put while there is no room pushes out what was put first", "[tiered]") {
    bench b;
    auto cache = tiered(b.memory, level(b.near).write_limit(1h))
                     .write_behind({.max_entries = 5, .writers = 1});
    b.near->put_takes = 1s;
    for (std::uint64_t n = 0; n < 20; ++n) {
        CHECK(b.world.wait(cache.put(key(n), b.entry("x"), b.world.now(), b.within(5s))));
        b.world.poll();
    }
    CHECK(cache.stats().waiting == 5);
    CHECK(cache.stats().dropped == 14);
    CHECK(b.world.elapsed() == 0s);
    b.world.run();
    CHECK(b.near->entries.size() == 6);
    CHECK(b.near->entries.count(key(0)) == 1);  // was being written
    for (std::uint64_t n = 15; n < 20; ++n) CHECK(b.near->entries.count(key(n)) == 1);
}

TEST_CASE("one key is never written twice at a time", "[tiered]") {
    bench b;
    auto cache = tiered(b.near).write_behind({.writers = 8});
    b.near->put_takes = 10ms;
    for (int i = 0; i < 8; ++i) {
        auto made = b.entry("version " + std::to_string(i));
        CHECK(b.world.wait(cache.put(key(1), std::move(made), b.world.now(), b.within(5s))));
        b.world.run_for(1ms);
    }
    b.world.run();
    CHECK(b.near->running_max == 1);
    CHECK(b.near->puts.size() == 2);  // the first, and the last of those that came meanwhile
    CHECK(b.near->entries[key(1)]->events.front().data() == "version 7");
}

TEST_CASE("closing writes what waits, as far as there is time", "[tiered]") {
    bench b;
    auto cache = tiered(b.memory, b.near).write_behind({.writers = 1});
    b.near->put_takes = 10ms;
    const auto put = [&](std::uint64_t n) {
        CHECK(b.world.wait(cache.put(key(n), b.entry("x"), b.world.now(), b.within(5s))));
    };
    for (std::uint64_t n = 0; n < 10; ++n) put(n);
    CHECK_FALSE(b.world.wait(cache.close(b.within(35ms))));
    CHECK(b.world.elapsed() == 35ms);
    b.world.run();
    CHECK(b.near->entries.size() == 4);  // one was being written
    CHECK(cache.stats().dropped == 6);
    CHECK(cache.stats().waiting == 0);
    put(11);  // still kept in memory
    b.world.run();
    CHECK(b.near->entries.size() == 4);
    CHECK(cache.stats().dropped == 7);
    CHECK(b.memory.try_find(key(11), b.world.now()));
    CHECK(b.world.wait(cache.close(b.within(1s))));
}

TEST_CASE("a world may end with answers that wait to be written", "[tiered]") {
    for (int moment = 0; moment < 8; ++moment) {
        auto b = std::make_unique<bench>();
        auto near = b->near;
        auto far = b->far;
        auto cache = tiered(b->memory, near, level(far).limit(1h)).write_behind({.writers = 2});
        near->put_takes = far->put_takes = 2ms;
        far->find_takes = 5ms;
        far->fails = true;
        for (std::uint64_t n = 0; n < 6; ++n)
            CHECK(b->world.wait(cache.put(key(n), b->entry("x"), b->world.now(), b->within(5s))));
        for (std::uint64_t n = 6; n < 9; ++n)
            CHECK(b->world.wait(cache.find(key(n), b->world.now(), limit())));
        b->world.run_for(2s);
        child<result<cache_hit>> prober(b->world.clock(),
                                        cache.find(key(10), b->world.now(), limit()));
        child<bool> closer(b->world.clock(), cache.close(limit()));
        for (std::uint64_t n = 20; n < 26; ++n)
            CHECK(b->world.wait(cache.put(key(n), b->entry("x"), b->world.now(), b->within(5s))));
        b->world.run_for(std::chrono::milliseconds(moment));
        b.reset();
        CHECK(near->running == 0);
        CHECK(far->running == 0);
        // What was not taken waits for whoever comes next, in another world.
        simulation::world other;
        CHECK(cache.stats().levels[2].state != level_state::probing);
        other.wait(cache.written(limit()));
        CHECK(cache.stats().waiting == 0);
    }
}

TEST_CASE("a cancelled look-up leaves nothing behind, at whatever moment", "[tiered]") {
    for (int moment = 0; moment < 10; ++moment) {
        for (int turns = 0; turns < 8; ++turns) {
            bench b;
            b.near->find_takes = b.far->find_takes = 3ms;
            b.put_into(b.far, 1, "one");
            child<result<cache_hit>> reader(b.world.clock(),
                                            b.cache.find(key(1), b.world.now(), b.within(1s)));
            child<void> killer(b.world.clock(),
                               layer_test::cancel_at(reader, b.world.clock(),
                                                     std::chrono::milliseconds(moment), turns));
            b.world.run();
            CHECK(b.near->running == 0);
            CHECK(b.far->running == 0);
            CHECK(b.stats(1).errors + b.stats(1).timeouts == 0);
            CHECK(b.stats(1).state == level_state::up);
            CHECK((b.said(1) == "far: one" || moment >= 6));
        }
    }
}

TEST_CASE("a level that gives rubbish gives no more than a miss", "[tiered]") {
    bench b;
    b.near->rubbish = b.entry("of another time");
    b.put_into(b.far, 1, "one");
    auto old = std::make_shared<cache_entry>(*b.near->rubbish);
    old->keep_until = b.world.now();
    b.near->rubbish = old;
    CHECK(b.said(1) == "far: one");
    CHECK(b.stats(1).misses == 1);
}

TEST_CASE("levels of one kind are told apart in figures and hits", "[tiered]") {
    bench b;
    auto cache = tiered(level(memory_cache(10)).named("small"), memory_cache(10), memory_cache(10));
    CHECK(cache.try_put(key(1), b.entry("x"), b.world.now()));
    CHECK(cache.try_find(key(1), b.world.now()).level() == "small");
    std::vector<std::string> names;
    for (const reading& one : cache.readings()) {
        if (one.name.ends_with("_hits")) names.emplace_back(one.name);
    }
    CHECK(names == std::vector<std::string>{"small_hits", "memory_hits", "memory_2_hits"});
    const auto read = [&](std::string_view name) {
        for (const reading& one : cache.readings()) {
            if (one.name == name) return one.value;
        }
        return -1.0;
    };
    CHECK(read("small_hits") == 1);
    CHECK(read("small_up") == 1);
    CHECK(read("memory_2_writes") == 1);
    CHECK(read("dropped") == 0);
}

TEST_CASE("tiers of instant levels are instant, and carry up at once", "[tiered]") {
    bench b;
    memory_cache second(10);
    auto cache = tiered(level(b.memory).ttl(1min), second);
    second.try_put(key(1), b.entry("x"), b.world.now());
    CHECK(cache.try_find(key(1), b.world.now()));
    CHECK(b.memory.try_find(key(1), b.world.now()));
    CHECK(b.world.wait(cache.erase(key(1), limit())));
    CHECK_FALSE(cache.try_find(key(1), b.world.now()));
}

}  // namespace test_cache_tiered
