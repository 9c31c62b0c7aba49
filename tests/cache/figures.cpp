#include <llmkit/cache/figures.hpp>

#include <optional>
#include <string>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/metrics/prometheus.hpp>
#include <llmkit/metrics/registry.hpp>
#include <llmkit/metrics/report.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/lab_store.hpp"
#include "layer/layer_test.hpp"

namespace test_cache_figures {

using namespace layer_test;
using llmkit_test::lab_store;

namespace {

struct bed {
    bed() : store(world.clock()), provider(world.get_executor()) {
        client = any_service(pipeline(provider) | cache(store,
                                                        {.ttl = 10s,
                                                         .stale_while_revalidate = 10s,
                                                         .stale_if_error = 1h,
                                                         .negative_ttl = 1h},
                                                        seen));
    }
    void ask(std::string text) {
        said(world, *client, request("chat/completions", R"({"model":")" + text + "\"}"));
        world.run_for(1s);
    }

    simulation::world world;
    lab_store store;
    scripted provider;
    cache_figures seen;
    std::optional<any_service> client;
};

}  // namespace

TEST_CASE("a cache counts what it gave and what its store did", "[cache_figures]") {
    bed b;
    b.provider.then(says("x")).then(says("y")).then(fails(error_kind::server));
    b.store->find_takes = 2ms;
    b.store->put_takes = 5ms;
    b.ask("a");
    b.ask("a");
    b.world.run_for(10s);
    b.ask("a");  // stale, and renewed
    b.ask("a");
    b.world.run_for(30s);
    b.ask("a");  // in place of an error
    cache_counts now = b.seen.read();
    CHECK(now.misses == 2);
    CHECK(now.hits == 2);
    CHECK(now.stale == 2);
    CHECK(now.writes == 2);
    CHECK(now.written_bytes > 300);
    CHECK(now.read_bytes > now.written_bytes);
    CHECK(now.errors == 0);
    CHECK(now.find.count() == 5);
    CHECK(now.find.max() == 2ms);
    CHECK(now.write.count() == 2);
    CHECK(now.write.min() == 5ms);

    b.provider.always(fails(error_kind::invalid_request));
    b.ask("b");
    b.ask("b");
    CHECK(b.seen.read().refusals == 1);
    CHECK(b.seen.read().writes == 3);

    b.provider.always(says("z"));
    b.store->fails = true;
    b.ask("c");
    CHECK(b.seen.read().errors == 2);  // found, written
    b.store->fails = false;
    b.store->find_takes = 1h;
    b.ask("c");
    CHECK(b.seen.read().timeouts == 1);
}

TEST_CASE("a call that is cancelled while its store is asked is no error of the store",
          "[cache_figures]") {
    bed b;
    b.store->find_takes = 10ms;
    CHECK(cancelled_at(b.world, *b.client, ask_for(false), 5ms, 0));
    CHECK(b.seen.read().errors == 0);
    CHECK(b.seen.read().timeouts == 0);
}

TEST_CASE("a cache's figures stand beside those of calls", "[cache_figures]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always(says("x"));
    const cache_figures seen;
    const any_service client{pipeline(provider) | cache(memory_cache(10), {}, seen)};
    metrics figures;
    figures.watch("cache", seen);
    for (int i = 0; i < 3; ++i) said(world, client, ask_for(i == 1));
    const auto now = figures.snapshot();
    CHECK(to_table(now).find("hits 2, stale hits 0, refusals 0, misses 1") != std::string::npos);
    CHECK(to_json(now)["watched"]["cache"]["hits"] == 2);
    CHECK(to_prometheus(now).find("llmkit_cache_hits_total 2\n") != std::string::npos);
    CHECK(to_prometheus(now).find("find_seconds") == std::string::npos);  // it never waits
}

}  // namespace test_cache_figures
