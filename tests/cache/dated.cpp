#include <llmkit/cache/dated.hpp>

#include <string>

#include "test.hpp"

namespace test_cache_dated {

using namespace llmkit;
using namespace std::chrono_literals;
using detail::dated;

TEST_CASE("an entry from a store that tells no age is as old as it is", "[dated]") {
    const dated::wall_time wall{1'700'000'000'123ms};
    const time_point now{1000h};
    std::string text = "entry";
    dated::write(text, wall);
    CHECK(text.size() == 13);
    const auto read = [&](dated::wall_time at) {
        std::string copy = text;
        const duration age = now - dated::take(copy, now, at);
        CHECK(copy == "entry");
        return age;
    };
    CHECK(read(wall) == 0ms);
    CHECK(read(wall + 90min) == 90min);
    CHECK(read(wall - 1h) == 0ms);  // that clock is behind

    std::string rotten = std::string(8, '\0');
    CHECK(now - dated::take(rotten, now, wall) > 24h * 365 * 50);
    rotten = std::string(8, '\xFF');
    CHECK(dated::take(rotten, now, wall) == now);
    rotten = "short";
    CHECK(dated::take(rotten, now, wall) == now);
    CHECK(rotten.empty());
}

}  // namespace test_cache_dated
