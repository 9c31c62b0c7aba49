// A tiered cache in a pipeline: what its callers see.
#include <llmkit/cache/tiered.hpp>

#include <memory>
#include <string>
#include <utility>

#include <llmkit/cache/memory.hpp>
#include <llmkit/cache/tags.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/scripted_level.hpp"
#include "test.hpp"

namespace test_cache_tiered_calls {

using namespace llmkit;
using namespace llmkit_test;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

using client_type = pipeline<any_service>;
using cache_type = tiered_cache<detail::at_once::from_the_front>;

request question(std::string text, bool streamed = false) {
    request ask("chat/completions", R"({"model":"m","messages":")" + text + "\"}");
    ask.options().streamed = streamed;
    return ask;
}

/// "level: text"; the level of an answer from the provider is "".
task<std::string> read(client_type client, request ask) {
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        auto failed = "error: " + answer.error().to_string();
        co_return failed;
    }
    std::string text = std::string(answer->head().came_by.cache_level) + ": ";
    auto& events = answer->events();
    while (auto item = co_await events.next()) text += item->data();
    if (events.failed()) text += " failed";
    co_return text;
}

struct bench {
    explicit bench(cache_policy policy = {}) : bench(policy, false) {}
    bench(cache_policy policy, bool behind)
        : cache(tiered(memory, level(near).limit(20ms))), provider(world.get_executor()) {
        if (behind) cache.write_behind();
        client = another(policy);
        provider.always(
            [](const request& ask) { return says("to " + std::string(ask.body())).after(1s); });
    }
    client_type another(cache_policy policy) {
        return client_type(
            any_service(pipeline(provider) | dedup() | llmkit::cache(cache, policy)));
    }
    std::string ask(std::string text, bool streamed = false) {
        auto said = world.wait(read(client, question(std::move(text), streamed)));
        world.poll();
        return said;
    }
    std::size_t upstream() const { return provider.counts().begun; }

    simulation::world world;
    memory_cache memory{100};
    scripted_level near{"near"};
    cache_type cache;
    scripted provider;
    client_type client{any_service(pipeline(provider))};
};

const std::string hi = R"(to {"model":"m","messages":"hi"})";

}  // namespace

TEST_CASE("a call is answered by the first level that has its answer", "[tiered]") {
    const bool streamed = GENERATE(false, true);
    bench b;
    CHECK(b.ask("hi", streamed) == ": " + hi);
    CHECK(b.near->finds.size() == 1);
    CHECK(b.near->entries.size() == 1);
    CHECK(b.ask("hi", streamed) == "memory: " + hi);
    CHECK(b.near->finds.size() == 1);  // not asked, nor was a coroutine made for it
    b.memory.clear();
    CHECK(b.ask("hi", !streamed) == "near: " + hi);
    CHECK(b.ask("hi", streamed) == "memory: " + hi);
    CHECK(b.upstream() == 1);
    CHECK(b.world.elapsed() == 1s);
}

TEST_CASE("an answer refreshed by another process is found before it is refreshed again",
          "[tiered]") {
    bench b({.ttl = 10s, .stale_while_revalidate = 1h});
    b.ask("hi");
    b.world.run_for(20s);
    const auto& [key, old] = *b.near->entries.begin();
    auto fresh = std::make_shared<cache_entry>(*old);
    fresh->fresh_until = b.world.now() + 10s;
    b.near->entries[key] = fresh;
    CHECK(b.ask("hi") == "near: " + hi);
    CHECK(b.ask("hi") == "memory: " + hi);
    b.world.run();
    CHECK(b.upstream() == 1);
    b.world.run_for(20s);
    CHECK(b.ask("hi") == "memory: " + hi);  // stale everywhere
    b.world.run();
    CHECK(b.upstream() == 2);
}

TEST_CASE("a level in trouble fails no call, and holds it up for its limit at most", "[tiered]") {
    bench b;
    for (const bool hangs : {false, true}) {
        (hangs ? b.near->ignores_limits : b.near->fails) = !hangs;
        b.near->find_takes = hangs ? 1h : 0h;
        b.near->put_takes = 1h;
        b.near->fails_to_write = !hangs;
        for (int i = 0; i < 10; ++i) {
            const time_point began = b.world.now();
            const std::string name = std::to_string(i) + (hangs ? "hung" : "down");
            CHECK(b.ask(name).starts_with(": to "));
            CHECK(b.world.now() - began <= 1s + 20ms);
            CHECK(b.ask(name).starts_with("memory: to "));
        }
    }
    CHECK(b.upstream() == 20);
}

TEST_CASE("a level that gives another's answers gives nobody a wrong one", "[tiered]") {
    const bool behind = GENERATE(false, true);
    bench b({}, behind);
    b.ask("other");
    b.near->rubbish = b.near->entries.begin()->second;
    CHECK(b.ask("hi") == ": " + hi);
    CHECK(b.ask("hi") == "memory: " + hi);  // what was carried up is overwritten
    auto nothing = std::make_shared<cache_entry>(*b.near->rubbish);
    nothing->events.clear();
    b.near->rubbish = nothing;
    CHECK(b.ask("ho") == R"(: to {"model":"m","messages":"ho"})");
    CHECK(b.ask("ho") == R"(memory: to {"model":"m","messages":"ho"})");
    CHECK(b.upstream() == 3);
}

TEST_CASE("what one process invalidates is invalid in all that share the last level", "[tiered]") {
    const bool behind = GENERATE(false, true);
    bench a({}, behind);
    memory_cache memory{100};
    cache_type other = tiered(memory, a.near);  // another process, with the same last level
    client_type b(any_service(pipeline(a.provider) | llmkit::cache(other)));
    request ask = question("hi");
    ask.options().add_tag("red");
    const auto from = [&](const client_type& client) {
        auto said = a.world.wait(read(client, ask));
        a.world.poll();
        return said.substr(0, said.find(':'));
    };
    CHECK(from(a.client) == "");
    CHECK(from(a.client) == "memory");
    CHECK(from(b) == "near");
    CHECK(from(b) == "memory");
    CHECK(a.memory.stats().entries == 1);

    CHECK(a.world.wait(invalidate(other, "red")));
    CHECK(from(a.client) == "");
    CHECK(from(a.client) == "memory");
    CHECK(from(b) == "near");  // its own copy is of the time before
    CHECK(from(b) == "memory");
    CHECK(a.upstream() == 2);

    a.near->fails = a.near->fails_to_write = true;
    CHECK_FALSE(a.world.wait(invalidate(a.cache, "red")));
    for (int i = 0; i < 5; ++i) CHECK(from(a.client) == "");  // nobody knows
    CHECK(a.cache.stats().levels[1].state == level_state::down);
    CHECK(a.world.wait(read(a.client, question("untagged"))).starts_with(": "));
    CHECK(a.world.wait(read(a.client, question("untagged"))).starts_with("memory: "));
}

TEST_CASE("closing a pipeline waits for what is written behind its calls", "[tiered]") {
    bench b({}, true);
    const auto make = [&] { return pipeline(b.provider) | llmkit::cache(b.cache); };
    auto client = make();
    b.near->put_takes = 300ms;
    b.world.wait(read(client_type(any_service(client)), question("hi")));
    b.world.poll();
    CHECK(b.near->entries.empty());
    CHECK(client.background_work() == 1);
    const time_point began = b.world.now();
    CHECK(b.world.wait(client.close(1s)));
    CHECK(b.world.now() - began == 300ms);
    CHECK(b.near->entries.size() == 1);

    auto other = make();
    b.near->put_takes = 10s;
    b.world.wait(read(client_type(any_service(other)), question("ho")));
    CHECK_FALSE(b.world.wait(other.close(100ms)));
    CHECK(other.background_work() == 0);
    b.world.run();
    CHECK(b.near->running == 0);
}

TEST_CASE("a pipeline may be dropped with answers that wait to be written", "[tiered]") {
    bench b({}, true);
    b.near->put_takes = 300ms;
    b.ask("hi");
    b.client = client_type(any_service(pipeline(b.provider)));
    b.world.run();
    CHECK(b.near->entries.size() == 1);
    CHECK(b.near->running == 0);
}

}  // namespace test_cache_tiered_calls
