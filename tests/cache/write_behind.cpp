#include <llmkit/cache/write_behind.hpp>

#include <memory>
#include <string>
#include <utility>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_cache_write_behind {

using namespace llmkit;
using namespace llmkit_test;
using detail::pending_write;
using detail::pending_writes;

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }

pending_write write(std::uint64_t n, std::size_t bytes = 100, duration stored = 1h,
                    detail::level_set levels = 1) {
    pending_write made;
    made.key = key(n);
    made.entry = entry_saying("x", time_point(stored));
    made.levels = levels;
    made.bytes = bytes;
    return made;
}

struct bench {
    explicit bench(write_behind_policy policy = {}) { queue.set(policy); }
    void add(pending_write what) { queue.add(std::move(what), gone); }
    pending_writes queue;
    pending_writes::entries gone;
};

}  // namespace

TEST_CASE("what waits to be written is taken in the order in which it came", "[tiered]") {
    bench b;
    for (std::uint64_t n = 0; n < 5; ++n) b.add(write(n));
    CHECK(b.queue.waiting() == 5);
    CHECK(b.queue.bytes() == 500);
    for (std::uint64_t n = 0; n < 5; ++n) {
        CHECK(b.queue.take()->key == key(n));
        CHECK(b.queue.find(key(n)));
        CHECK(b.queue.bytes() == 500 - 100 * n);
        b.queue.done(key(n), b.gone);
        CHECK_FALSE(b.queue.find(key(n)));
    }
    CHECK_FALSE(b.queue.take());
    CHECK(b.queue.idle());
    CHECK(b.queue.bytes() == 0);
    CHECK(b.queue.dropped() == 0);
}

TEST_CASE("there is room for so many entries and bytes, and the first are dropped", "[tiered]") {
    bench b({.max_entries = 3, .max_bytes = 1000});
    for (std::uint64_t n = 0; n < 4; ++n) b.add(write(n));
    CHECK(b.queue.waiting() == 3);
    CHECK_FALSE(b.queue.find(key(0)));
    b.add(write(4, 900));
    CHECK(b.queue.bytes() == 1000);
    CHECK(b.queue.waiting() == 2);
    CHECK(b.queue.dropped() == 3);
    CHECK(b.queue.take()->key == key(3));
    b.add(write(5, 100));  // what is being written takes room as well
    CHECK(b.queue.waiting() == 1);
    CHECK(b.queue.find(key(3)));
    CHECK(b.queue.find(key(5)));
    b.add(write(6, 1001));
    CHECK(b.queue.waiting() == 0);  // does not fit at all
    b.queue.done(key(3), b.gone);
    CHECK(b.queue.bytes() == 0);
    CHECK(b.gone.size() == 7);
}

TEST_CASE("the newer of two entries of one key is written, into the levels of both", "[tiered]") {
    bench b;
    b.add(write(1, 100, 2h, 0b001));
    b.add(write(2));
    auto newer = write(1, 300, 3h, 0b010);
    const auto kept = newer.entry;
    b.add(std::move(newer));
    b.add(write(1, 500, 1h, 0b100));
    CHECK(b.queue.waiting() == 2);
    CHECK(b.queue.bytes() == 400);
    const auto first = b.queue.take();
    CHECK(first->key == key(1));
    CHECK(first->entry == kept);
    CHECK(first->levels == 0b111);
    CHECK(b.queue.dropped() == 0);
}

TEST_CASE("a key that is being written waits, and the next one is taken", "[tiered]") {
    bench b;
    b.add(write(1));
    CHECK(b.queue.take());
    b.add(write(1, 200));
    b.add(write(2));
    CHECK(b.queue.find(key(1))->bytes == 200);
    CHECK(b.queue.take()->key == key(2));
    CHECK_FALSE(b.queue.take());
    b.queue.done(key(1), b.gone);
    CHECK(b.queue.take()->bytes == 200);
}

TEST_CASE("what is forgotten or dropped is not written", "[tiered]") {
    bench b;
    for (std::uint64_t n = 0; n < 4; ++n) b.add(write(n));
    CHECK(b.queue.take());
    b.queue.forget(key(1), b.gone);
    b.queue.forget(key(0), b.gone);  // is being written
    CHECK(b.queue.waiting() == 2);
    CHECK(b.queue.dropped() == 0);
    b.queue.drop_all(b.gone);
    CHECK(b.queue.dropped() == 2);
    CHECK_FALSE(b.queue.find(key(0)));
    CHECK_FALSE(b.queue.idle());
    CHECK(b.queue.bytes() == 100);
}

}  // namespace test_cache_write_behind
