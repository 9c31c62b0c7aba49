#include <llmkit/detail/memcached_write.hpp>

#include "test.hpp"

namespace test_detail_memcached_write {

using namespace llmkit::detail;
using namespace std::chrono_literals;
using wall_time = std::chrono::system_clock::time_point;

TEST_CASE("commands are those of memcached's meta protocol", "[memcached]") {
    CHECK(memcached_get("k") == "mg k v t f\r\n");
    CHECK(memcached_set("k", "a\r\nb", {60, 60}) == "ms k 4 T60 F60\r\na\r\nb\r\n");
    CHECK(memcached_delete("k") == "md k\r\n");
    CHECK(memcached_key_text("llmkit:1:ab\xC3\xA4"));
    CHECK(memcached_key_text(""));
    for (const char* wrong : {"a b", "a\n", "a\x7F", "\t"}) CHECK_FALSE(memcached_key_text(wrong));
}

TEST_CASE("more than thirty days are told to memcached as a moment of the calendar",
          "[memcached]") {
    const wall_time now{1'700'000'000s};
    const auto time = [&](std::chrono::nanoseconds span, wall_time at) {
        const memcached_time out = memcached_time::of(span, at);
        return std::to_string(out.keep) + " " + std::to_string(out.token);
    };
    CHECK(time(60s, now) == "60 60");
    CHECK(time(59001ms, now) == "60 60");  // not less than it is of use
    CHECK(time(1ns, now) == "1 1");        // 0 would be for ever
    CHECK(time(-5s, now) == "1 1");
    CHECK(time(24h * 30, now) == "2592000 2592000");
    CHECK(time(24h * 30 + 1s, now) == "2592001 1702592001");
    // It counts to 2^31 - 1, which is in 2038.
    CHECK(time(std::chrono::nanoseconds::max(), now) == "447483647 2147483647");
    CHECK(time(24h * 365, wall_time{2'147'000'000s}) == "2592000 2592000");
    CHECK(time(24h * 365, wall_time{2'200'000'000s}) == "2592000 2592000");
    CHECK(time(60s, wall_time{2'200'000'000s}) == "60 60");
}

}  // namespace test_detail_memcached_write
