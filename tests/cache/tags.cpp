#include <llmkit/cache/tags.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/lab_store.hpp"
#include "layer/layer_test.hpp"

namespace test_cache_tags {

using namespace layer_test;
using llmkit_test::lab_store;

namespace {

request tagged(std::string text, std::vector<std::string> tags, bool streamed = false) {
    request ask("chat/completions", R"({"model":"m","messages":")" + text + "\"}");
    ask.options().streamed = streamed;
    for (std::string& tag : tags) ask.options().add_tag(std::move(tag));
    return ask;
}

task<bool> hit(any_service client, request ask) {
    auto answer = co_await client(std::move(ask));
    if (!answer) co_return false;
    const bool from_cache = !answer->head().came_by.cache_level.empty();
    auto& events = answer->events();
    while (auto item = co_await events.next()) {
    }
    co_return from_cache;
}

/// Gives every call a tag.
template <service Next>
class tagging {
public:
    explicit tagging(Next next) : next_(std::move(next)) {}
    task<result<response>> operator()(request ask) {
        ask.options().add_tag("red");
        return next_(std::move(ask));
    }
    clock_handle clock() const { return next_.clock(); }

private:
    Next next_;
};

/// Two pipelines as two processes have them, over one store that both share.
struct fleet {
    fleet() : store(world.clock()), provider(world.get_executor()) {
        provider.always(says("a b"));
        for (int i = 0; i < 2; ++i) clients.push_back(client());
    }
    any_service client() { return any_service(pipeline(provider) | dedup() | cache(store)); }
    bool ask(std::size_t which, request what) {
        const bool was_hit = world.wait(hit(clients[which], std::move(what)));
        world.poll();  // what is stored beside the caller
        return was_hit;
    }
    result<void> drop(std::string tag) { return world.wait(invalidate(store, std::move(tag))); }
    std::size_t upstream() const { return provider.counts().begun; }

    simulation::world world;
    lab_store store;
    scripted provider;
    std::vector<any_service> clients;
};

}  // namespace

TEST_CASE("what has a tag is not given any more once the tag is invalidated", "[tags]") {
    const bool streamed = GENERATE(false, true);
    fleet f;
    const request one = tagged("one", {"red", "round"}, streamed);
    const request two = tagged("two", {"red"}, streamed);
    const request plain = tagged("plain", {}, streamed);
    for (const request& each : {one, two, plain}) CHECK_FALSE(f.ask(0, each));
    for (const request& each : {one, two, plain}) {
        CHECK(f.ask(0, each));
        CHECK(f.ask(1, each));
    }
    CHECK(f.drop("round"));
    CHECK_FALSE(f.ask(1, one));
    CHECK(f.ask(0, one));
    CHECK(f.ask(0, two));
    CHECK(f.drop("red"));
    for (const request& each : {one, two}) {
        CHECK_FALSE(f.ask(0, each));
        CHECK(f.ask(1, each));
    }
    CHECK(f.ask(1, plain));
    CHECK(f.drop("nobody's"));
    CHECK(f.ask(1, one));
}

TEST_CASE("in memory, too, tags are invalidated, and scans do not push them out", "[tags]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always(says("a b"));
    const memory_cache store(8);
    const any_service client{pipeline(provider) | cache(store)};
    const auto was_hit = [&](request ask) { return world.wait(hit(client, std::move(ask))); };
    const request one = tagged("one", {"red"});
    CHECK_FALSE(was_hit(one));
    CHECK(was_hit(one));
    CHECK(was_hit(one));
    for (int i = 0; i < 50; ++i) was_hit(tagged("scan" + std::to_string(i), {}));
    CHECK(was_hit(one));
    CHECK(world.wait(invalidate(store, "red")));
    CHECK_FALSE(was_hit(one));
    CHECK(was_hit(one));
    store.clear();
    CHECK_FALSE(was_hit(one));
}

TEST_CASE("an answer that was under way when its tag was invalidated is not given again",
          "[tags]") {
    const bool streamed = GENERATE(false, true);
    fleet f;
    f.provider.then(says("old").after(1s)).then(says("new").after(1s)).always(says("newer"));
    const request one = tagged("one", {"red"}, streamed);
    child<std::string> before(f.world.clock(), ask_all(f.clients[0], one));
    f.world.run_for(500ms);
    CHECK(f.drop("red"));
    // Nor does who asks now join it.
    child<std::string> behind(f.world.clock(), ask_all(f.clients[0], one));
    f.world.run_for(600ms);
    CHECK(before.finished());  // and its answer stored
    CHECK(f.upstream() == 2);
    child<std::string> again(f.world.clock(), ask_all(f.clients[0], one));
    f.world.run_for(100ms);
    CHECK_FALSE(again.finished());  // joined the newer
    CHECK(f.upstream() == 2);
    f.world.run_for(1s);
    CHECK(said(f.world, f.clients[1], one).find("new") != std::string::npos);
    CHECK(f.upstream() == 2);
}

TEST_CASE("an invalidated answer is neither given as stale nor in place of an error", "[tags]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(says("old")).then(says("again")).always(fails(error_kind::server));
    const memory_cache store(8);
    const any_service client{
        pipeline(provider) |
        cache(store, {.ttl = 10s, .stale_while_revalidate = 10s, .stale_if_error = 1h})};
    const request one = tagged("one", {"red"});
    CHECK(said(world, client, one) == "old|");
    world.run_for(15s);
    CHECK(world.wait(invalidate(store, "red")));
    CHECK(said(world, client, one) == "again|");
    world.run_for(30s);
    CHECK(said(world, client, one) == "again|");
    CHECK(world.wait(invalidate(store, "red")));
    CHECK(said(world, client, one) == "error: server error");
}

TEST_CASE("who names a tag is given no answer that lacks it", "[tags]") {
    fleet f;
    CHECK_FALSE(f.ask(0, tagged("one", {"red"})));
    CHECK(f.ask(0, tagged("one", {})));
    CHECK(f.ask(0, tagged("one", {"red", "red"})));
    CHECK_FALSE(f.ask(0, tagged("one", {"red", "round"})));
    CHECK(f.ask(0, tagged("one", {"round"})));
    std::vector<std::string> many(most_tags + 1);
    for (std::size_t i = 0; i < many.size(); ++i) many[i] = std::to_string(i);
    CHECK_FALSE(f.ask(0, tagged("many", many)));
    CHECK_FALSE(f.ask(0, tagged("many", many)));
    many.pop_back();
    CHECK_FALSE(f.ask(0, tagged("many", many)));
    CHECK(f.ask(0, tagged("many", many)));
}

TEST_CASE("a lost tag costs hits and gives nothing invalid", "[tags]") {
    fleet f;
    const request one = tagged("one", {"red"});
    f.ask(0, one);
    CHECK(f.ask(0, one));
    f.store->entries.erase(tag_key("red"));
    CHECK_FALSE(f.ask(0, one));
    CHECK(f.ask(1, one));
    // Nor does one that says something else.
    f.store->entries[tag_key("red")] = detail::tag_entry({1, 2}, f.world.now());
    CHECK_FALSE(f.ask(0, one));
    CHECK(f.ask(1, one));
    f.world.run_for(31 * 24h);
    CHECK_FALSE(f.ask(1, one));
}

TEST_CASE("callers who need a new tag at the same time agree on one", "[tags]") {
    const bool streamed = GENERATE(false, true);
    fleet f;
    f.provider.always(says("a b").after(1s));
    f.store->find_takes = 1ms;
    f.store->put_takes = 1ms;
    std::vector<std::unique_ptr<child<std::string>>> callers;
    for (int i = 0; i < 20; ++i) {
        callers.push_back(std::make_unique<child<std::string>>(
            f.world.clock(), ask_all(f.clients[0], tagged("one", {"red", "round"}, streamed))));
    }
    f.world.run_for(5ms);
    callers.front().reset();  // perhaps the one who made it
    f.world.run();
    CHECK(f.upstream() == 1);
    CHECK(f.ask(0, tagged("one", {"red"}, streamed)));
}

TEST_CASE("a store that cannot tell gives no tagged answer, keeps none, and fails no call",
          "[tags]") {
    fleet f;
    const request one = tagged("one", {"red"});
    f.ask(0, one);
    f.store->fails = true;
    CHECK_FALSE(f.drop("red"));
    CHECK_FALSE(f.ask(0, one));
    f.store->fails = false;
    CHECK(f.ask(0, one));  // the tag was not invalidated, and not made anew either

    f.store->only_answers = true;  // of tags it knows nothing
    const std::size_t asked = f.upstream();
    const time_point began = f.world.now();
    CHECK_FALSE(f.ask(0, one));
    CHECK_FALSE(f.ask(0, tagged("two", {"red"})));
    CHECK(f.ask(0, tagged("plain", {})) == false);
    CHECK(f.ask(0, tagged("plain", {})));
    CHECK(f.upstream() == asked + 3);
    CHECK(f.world.now() == began);
    f.store->only_answers = false;
    CHECK_FALSE(f.ask(0, tagged("two", {"red"})));

    f.store->find_takes = 10h;
    const time_point slow = f.world.now();
    CHECK_FALSE(f.ask(0, one));
    CHECK(f.world.now() - slow == 50ms);  // one limit for all that a call asks of the store
}

TEST_CASE("a tagged call may be cancelled at any moment", "[tags]") {
    cancel_everywhere(
        [](scripted provider) {
            lab_store store(provider.clock());
            store->find_takes = 1ms;
            store->put_takes = 1ms;
            return any_service(pipeline(tagging(pipeline(provider) | dedup() | cache(store))));
        },
        says("a b").after(1ms).every(1ms), 9ms, 1ms);
}

}  // namespace test_cache_tags
