#include <llmkit/cache/erasures.hpp>

#include "test.hpp"

namespace test_cache_erasures {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {
key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }
}  // namespace

TEST_CASE("a mark tells that its key was erased", "[tiered]") {
    detail::erase_marks marks;
    const auto before = marks.of(key(1));
    CHECK(marks.of(key(1)) == before);
    marks.erased(key(1));
    CHECK(marks.of(key(1)) != before);
}

TEST_CASE("what could not be erased covers what was stored until then", "[tiered]") {
    detail::unerased_keys keys;
    CHECK_FALSE(keys.covers(key(1), time_point(1h)));
    keys.add(key(1), time_point(2h));
    CHECK(keys.covers(key(1), time_point(1h)));
    CHECK(keys.covers(key(1), time_point(2h)));
    CHECK_FALSE(keys.covers(key(1), time_point(2h + 1ns)));
    CHECK_FALSE(keys.covers(key(2), time_point(1h)));
    keys.remove(key(1));
    CHECK_FALSE(keys.covers(key(1), time_point(1h)));
}

TEST_CASE("too many keys that could not be erased cover all that is older", "[tiered]") {
    detail::unerased_keys keys;
    for (std::uint64_t n = 0; n < detail::unerased_keys::most; ++n) {
        keys.add(key(n), time_point(1h));
        keys.add(key(n), time_point(1h));  // known already
    }
    CHECK_FALSE(keys.covers(key(99'999), time_point(1h)));
    keys.add(key(88'888), time_point(2h));
    for (const std::uint64_t n : {0, 4095, 88'888, 99'999}) {
        CHECK(keys.covers(key(n), time_point(2h)));
        CHECK_FALSE(keys.covers(key(n), time_point(2h + 1ns)));
    }
    keys.remove(key(88'888));
    CHECK(keys.covers(key(1), time_point(1h)));
}

}  // namespace test_cache_erasures
