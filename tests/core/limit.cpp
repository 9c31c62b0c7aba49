#include <llmkit/core/limit.hpp>

#include "test.hpp"

namespace test_core_limit {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {
constexpr time_point at(duration span) { return time_point(span); }
}  // namespace

TEST_CASE("a limit can only be shortened", "[limit]") {
    limit until;
    CHECK(until.effective() == time_point::max());
    until = until.earliest(at(5s));
    CHECK(until.effective() == at(5s));
    CHECK(until.earliest(at(9s)).effective() == at(5s));
    CHECK(until.earliest(at(2s)).effective() == at(2s));
}

TEST_CASE("a span that reaches beyond all time ends there", "[limit]") {
    CHECK(after(at(5s), duration::max()) == time_point::max());
    CHECK(after(time_point::max(), 1s) == time_point::max());
    CHECK(after(at(5s), 1s) == at(6s));
}

TEST_CASE("a joined call's limit moves, but not beyond what it was shortened to", "[limit]") {
    limit::moving joined{at(3s).time_since_epoch().count()};
    wait_owner mine;
    limit until;
    until.until = time_point::min();
    until.extended = &joined;
    until.owner = &mine;
    const limit early = until.earliest(at(2s));
    const limit late = until.earliest(at(9s)).earliest(at(5s)).earliest(at(7s));
    CHECK(early.effective() == at(2s));
    CHECK(late.effective() == at(3s));
    joined = at(4s).time_since_epoch().count();
    CHECK(late.effective() == at(4s));
    joined = at(1h).time_since_epoch().count();
    CHECK(until.effective() == at(1h));
    CHECK(early.effective() == at(2s));
    CHECK(late.effective() == at(5s));
    CHECK(early.owner == &mine);
    CHECK(late.owner == &mine);
}

TEST_CASE("a provisional end falls away and leaves the rest as it is by then", "[limit]") {
    limit::moving joined{at(3s).time_since_epoch().count()};
    limit::moving first{at(2s).time_since_epoch().count()};
    limit until;
    until.until = time_point::min();
    until.extended = &joined;
    until.provisional = &first;
    const limit shortened = until.earliest(at(10s));
    CHECK(until.effective() == at(2s));
    CHECK(until.earliest(at(1s)).effective() == at(1s));
    joined = at(30s).time_since_epoch().count();
    CHECK(shortened.effective() == at(2s));
    first = time_point::max().time_since_epoch().count();
    CHECK(until.effective() == at(30s));
    CHECK(shortened.effective() == at(10s));
}

}  // namespace test_core_limit
