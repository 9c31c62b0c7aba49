#include <llmkit/detail/happy_eyeballs.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "test.hpp"

namespace test_detail_happy_eyeballs {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

std::string ordered(const std::vector<const char*>& texts) {
    std::vector<asio::ip::address> all;
    for (const char* text : texts) all.push_back(asio::ip::make_address(text));
    std::string out;
    for (const auto& each : detail::in_turn(std::move(all))) out += each.to_string() + ' ';
    return out;
}

}  // namespace

TEST_CASE("addresses are ordered by family in turn, the resolver's first one first",
          "[happy_eyeballs]") {
    CHECK(ordered({}).empty());
    CHECK(ordered({"::1"}) == "::1 ");
    CHECK(ordered({"::1", "::2", "::3", "1.1.1.1", "2.2.2.2"}) == "::1 1.1.1.1 ::2 2.2.2.2 ::3 ");
    CHECK(ordered({"1.1.1.1", "2.2.2.2", "3.3.3.3", "::1"}) == "1.1.1.1 ::1 2.2.2.2 3.3.3.3 ");
    CHECK(ordered({"1.1.1.1", "::1", "::2", "::3"}) == "1.1.1.1 ::1 ::2 ::3 ");
    CHECK(ordered({"1.1.1.1", "2.2.2.2"}) == "1.1.1.1 2.2.2.2 ");
}

TEST_CASE("attempts begin one pause after the other while none ends", "[happy_eyeballs]") {
    const time_point start{1h};
    detail::attempts race(3, 250ms);
    CHECK(race.due(start) == 0u);
    CHECK(race.next() == start + 250ms);
    CHECK(!race.due(start));
    CHECK(!race.due(start + 249ms));
    CHECK(race.due(start + 250ms) == 1u);
    CHECK(race.next() == start + 500ms);
    CHECK(race.due(start + 600ms) == 2u);
    CHECK(race.next() == time_point::max());
    CHECK(!race.due(start + 1h));
    CHECK(!race.lost());
    CHECK(race.begun() == 3);
}

TEST_CASE("when an attempt fails, the next begins at once", "[happy_eyeballs]") {
    const time_point start{1h};
    detail::attempts race(3, 250ms);
    CHECK(race.due(start) == 0u);
    race.failed();
    CHECK(race.due(start + 1ms) == 1u);
    CHECK(!race.due(start + 2ms));
    CHECK(race.due(start + 251ms) == 2u);
    race.failed();
    CHECK(!race.lost());
    race.failed();
    CHECK(race.lost());
}

TEST_CASE("without a pause between them, an attempt begins only when another has failed",
          "[happy_eyeballs]") {
    const time_point start{1h};
    detail::attempts race(2, duration::max());
    CHECK(race.due(start) == 0u);
    CHECK(!race.due(start + 10h));
    race.failed();
    CHECK(race.due(start + 10h) == 1u);
}

TEST_CASE("what cannot be begun now is begun later", "[happy_eyeballs]") {
    const time_point start{1h};
    detail::attempts race(1, 250ms);
    CHECK(race.due(start) == 0u);
    race.again(start + 10ms);
    CHECK(!race.lost());
    CHECK(race.next() == start + 10ms);
    CHECK(!race.due(start + 9ms));
    CHECK(race.due(start + 10ms) == 0u);
    race.failed();
    CHECK(race.lost());
}

}  // namespace test_detail_happy_eyeballs
