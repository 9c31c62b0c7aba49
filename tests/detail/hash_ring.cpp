#include <llmkit/detail/hash_ring.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "test.hpp"

namespace test_detail_hash_ring {

using namespace llmkit;
using detail::hash_ring;

namespace {
constexpr std::uint64_t keys = 20'000;

/// The names of the servers that have the keys.
std::vector<std::string> owners(const std::vector<std::string>& names) {
    const hash_ring ring(names);
    std::vector<std::string> out;
    for (std::uint64_t n = 0; n < keys; ++n)
        out.push_back(names[ring.server_of(key_builder().add(n).finish())]);
    return out;
}
}  // namespace

TEST_CASE("keys are spread evenly over servers, however these are ordered", "[memcached]") {
    const auto some = owners({"a:11211", "b:11211", "c:11211", "d:11211"});
    for (const char* name : {"a:11211", "b:11211", "c:11211", "d:11211"}) {
        const auto count = std::count(some.begin(), some.end(), name);
        CHECK(count > static_cast<long>(keys) / 4 * 3 / 4);
        CHECK(count < static_cast<long>(keys) / 4 * 5 / 4);
    }
    CHECK((some == owners({"c:11211", "a:11211", "d:11211", "b:11211"})));
    CHECK(hash_ring({"one"}).server_of({1, ~std::uint64_t{0}}) == 0);
    CHECK(hash_ring({"one"}).server_of({1, 0}) == 0);
}

TEST_CASE("a server more takes its part of the keys and moves no other", "[memcached]") {
    const auto before = owners({"a", "b", "c", "d"});
    const auto after = owners({"a", "b", "c", "d", "e"});
    std::size_t moved = 0;
    for (std::size_t i = 0; i < keys; ++i) {
        if (before[i] == after[i]) continue;
        ++moved;
        CHECK(after[i] == "e");
    }
    CHECK(moved > keys / 5 * 3 / 4);
    CHECK(moved < keys / 5 * 5 / 4);
}

TEST_CASE("which server has a key is the same on every machine and in every version",
          "[memcached]") {
    const hash_ring ring({"cache1:11211", "cache2:11211", "cache3:11211"});
    std::string all;
    for (std::uint64_t n = 0; n < 24; ++n)
        all += std::to_string(ring.server_of(key_builder().add(n).finish()));
    CHECK(all == "221000210010120102012002");
}

}  // namespace test_detail_hash_ring
