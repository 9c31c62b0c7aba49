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

TEST_CASE("what was erased covers what was stored before", "[tiered]") {
    detail::erased_keys keys;
    CHECK_FALSE(keys.covers(key(1), time_point(1h)));
    const bool gone = GENERATE(false, true);
    keys.add(key(1), time_point(2h), gone);
    CHECK(keys.covers(key(1), time_point(1h)));
    CHECK(keys.covers(key(1), time_point(2h - 1ns)));
    CHECK(keys.covers(key(1), time_point(2h)) == !gone);
    CHECK_FALSE(keys.covers(key(1), time_point(2h + 1ns)));
    CHECK_FALSE(keys.covers(key(2), time_point(1h)));
    keys.add(key(1), time_point(3h), gone);
    CHECK(keys.covers(key(1), time_point(2h)));
}

TEST_CASE("of erased keys that are forgotten, nothing is believed that may still be there",
          "[tiered]") {
    detail::erased_keys keys;
    const std::uint64_t most = detail::erased_keys::most;
    for (std::uint64_t n = 0; n < most; ++n) {
        keys.add(key(n), time_point(1h + std::chrono::seconds(n)), n != 1);
        keys.add(key(n), time_point(1h + std::chrono::seconds(n)), n != 1);  // known already
    }
    keys.add(key(most), time_point(9h), true);  // pushes out the first, which is gone everywhere
    CHECK_FALSE(keys.covers(key(0), time_point(0h)));
    CHECK(keys.covers(key(1), time_point(1h)));
    CHECK(keys.covers(key(most), time_point(8h)));
    keys.add(key(most + 1), time_point(9h), true);  // and the second, which perhaps is not
    for (const std::uint64_t n : {0U, 1U, 99'999U}) {
        CHECK(keys.covers(key(n), time_point(1h)));
        CHECK_FALSE(keys.covers(key(n), time_point(1h + 1s)));
    }
}

}  // namespace test_cache_erasures
