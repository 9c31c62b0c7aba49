// What docs/caches.md and its picture of tiers tell, step by step.
#include <memory>
#include <string>
#include <utility>

#include <llmkit/cache/memory.hpp>
#include <llmkit/cache/tiered.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/scripted_level.hpp"
#include "test.hpp"

namespace test_docs_caches {

using namespace std::chrono_literals;
using llmkit_test::scripted_level;

namespace {

/// Memory over a near and a far store, as in the picture.
struct picture {
    auto cache() {
        return llmkit::tiered(memory, llmkit::level(near).limit(20ms), llmkit::level(far))
            .write_behind();
    }
    /// Who gave the answer, "" for the provider.
    template <class Client>
    std::string from(const Client& client) {
        auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hi")));
        world.poll();  // what goes on beside the call
        REQUIRE(answer);
        return std::string(answer->came_by().cache_level);
    }
    bool has(const scripted_level& level) const { return !level->entries.empty(); }

    llmkit::simulation::world world;
    llmkit::testing::scripted provider{world.get_executor()};
    llmkit::memory_cache memory{100};
    scripted_level near{"near"};
    scripted_level far{"far"};
};

}  // namespace

TEST_CASE("the picture of tiers is true", "[docs]") {
    picture p;
    p.provider.always(llmkit::testing::says("Hello").after(1s));
    auto client = llmkit::pipeline(p.provider) | llmkit::dedup() | llmkit::cache(p.cache());

    // A new answer: at once in memory, and behind the call in the others.
    p.near->put_takes = p.far->put_takes = 10ms;
    CHECK(p.from(client) == "");
    CHECK(p.world.elapsed() == 1s);
    CHECK(p.memory.stats().entries == 1);
    CHECK_FALSE(p.has(p.near));
    p.world.run();
    CHECK(p.has(p.near));
    CHECK(p.has(p.far));

    // Asked again: from memory, and nobody else is asked.
    p.near->finds.clear();
    p.far->finds.clear();
    CHECK(p.from(client) == "memory");
    CHECK(p.near->finds.empty());

    // Memory is empty, after a restart, say: from the next level, and carried up.
    p.memory.clear();
    CHECK(p.from(client) == "near");
    CHECK(p.memory.stats().entries == 1);
    CHECK(p.far->finds.empty());

    // A level hangs: it holds calls up for its limit, three times, and then not at all.
    p.near->find_takes = 1h;
    for (const llmkit::duration expected : {20ms, 20ms, 20ms, 0ms, 0ms}) {
        p.memory.clear();
        const auto before = p.world.now();
        CHECK(p.from(client) == "far");
        CHECK(p.world.now() - before == expected);
    }

    // It is back: a look-up beside a call finds out.
    p.near->find_takes = 0s;
    p.world.run_for(1s);
    p.memory.clear();
    CHECK(p.from(client) == "far");
    p.memory.clear();
    CHECK(p.from(client) == "near");
    CHECK(p.provider.counts().begun == 1);
}

}  // namespace test_docs_caches
