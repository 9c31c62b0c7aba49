#include <llmkit/detail/nudge.hpp>

#include <llmkit/core/child.hpp>
#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_detail_nudge {

using namespace llmkit;
using namespace std::chrono_literals;

TEST_CASE("a nudge ends a wait, also one that begins later", "[nudge]") {
    simulation::world world;
    detail::nudge told;
    const time_point start = world.clock().now();
    limit until;
    until.until = start + 1h;

    told();
    told();
    world.wait(told.wait(world.clock(), until));
    CHECK(world.clock().now() == start);

    child<void> waiting(world.clock(), told.wait(world.clock(), until));
    world.run_for(1min);
    CHECK_FALSE(waiting.finished());
    told();
    world.poll();
    CHECK(waiting.finished());

    world.wait(told.wait(world.clock(), until));  // both were used up
    CHECK(world.clock().now() == start + 1h);
}

}  // namespace test_detail_nudge
