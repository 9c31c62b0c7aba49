#include <llmkit/layer/cache.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/lab_store.hpp"
#include "layer/layer_test.hpp"

namespace test_layer_cache {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;
using llmkit_test::lab_store;

namespace {

using client_type = pipeline<any_service>;

/// What one caller saw.
struct seen {
    seen() {}
    std::string text;
    std::size_t events = 0;
    std::size_t injected = 0;
    std::optional<duration> first_event;
    response_head head;
    token_usage usage;
    bool last = false;
    std::optional<error> failed;

    bool hit() const { return !head.came_by.cache_level.empty(); }
    error_kind kind() const { return failed ? failed->kind() : error_kind::unset; }
};

request question(std::string text = "hi", bool streamed = false) {
    request ask("chat/completions", R"({"model":"m","messages":")" + text + "\"}");
    ask.options().streamed = streamed;
    return ask;
}
request with_mode(cache_mode mode, bool streamed = false) {
    request ask = question("hi", streamed);
    ask.options().cache = mode;
    return ask;
}

task<seen> read(client_type client, request ask, std::size_t at_most = 1000) {
    seen what;
    const time_point began = client.clock().now();
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        what.failed = answer.error();
        co_return what;
    }
    what.head = answer->head();
    auto& events = answer->events();
    while (auto item = co_await events.next()) {
        if (!what.first_event) what.first_event = client.clock().now() - began;
        what.text += item->data();
        ++what.events;
        if (item->facts().injected) ++what.injected;
        if (item->facts().usage.known) what.usage = item->facts().usage;
        what.last = item->facts().last;
        if (what.events == at_most) break;
    }
    if (events.failed()) what.failed = events.error();
    co_return what;
}

struct bench {
    explicit bench(cache_policy policy = {})
        : provider(world.get_executor()),
          client(any_service(pipeline(provider) | cache(memory, policy))) {}
    seen ask(request what) { return world.wait(read(client, std::move(what))); }
    std::size_t upstream() const { return provider.counts().begun; }

    simulation::world world;
    memory_cache memory{100};
    scripted provider;
    client_type client;
};

struct lab_bench {
    explicit lab_bench(cache_policy policy = {})
        : store(world.clock()),
          provider(world.get_executor()),
          client(any_service(pipeline(provider) | dedup() | cache(store, policy))) {}
    seen ask(request what) {
        seen saw = world.wait(read(client, std::move(what)));
        world.poll();  // what is stored beside the caller
        return saw;
    }
    std::size_t upstream() const { return provider.counts().begun; }

    simulation::world world;
    lab_store store;
    scripted provider;
    client_type client;
};

}  // namespace

TEST_CASE("what was asked before is answered from the cache", "[cache]") {
    bench b;
    b.provider.then(says("the answer").after(1s).usage(12, 3).model("m-1"));
    const seen first = b.ask(question());
    CHECK_FALSE(first.hit());
    CHECK(first.head.came_by.missed);
    CHECK(first.head.came_by.attempts.size() == 1);
    request same("chat/completions", std::string(R"({ "messages":"hi", "model":"m" })"));
    const seen second = b.ask(same);
    CHECK(second.text == "the answer");
    CHECK(second.hit());
    CHECK(second.head.came_by.cache_level == "memory");
    CHECK_FALSE(second.head.came_by.stale);
    CHECK_FALSE(second.head.came_by.missed);
    CHECK(second.head.came_by.attempts.empty());
    CHECK(second.head.came_by.cost == 0.0);
    CHECK(second.head.status == 200);
    CHECK(second.usage == first.usage);
    CHECK(second.usage.input == 12);
    CHECK(b.upstream() == 1);
    CHECK(b.world.elapsed() == 1s);
}

TEST_CASE("an answer is given in the shape its caller wants, whichever was stored", "[cache]") {
    const bool stored_as_stream = GENERATE(false, true);
    const bool wanted_as_stream = GENERATE(false, true);
    bench b;
    b.provider.then(says("the long answer").usage(7, 5).every(10ms));
    const seen first = b.ask(question("hi", stored_as_stream));
    CHECK(first.head.streamed == stored_as_stream);
    const seen second = b.ask(question("hi", wanted_as_stream));
    CHECK(second.hit());
    CHECK(b.upstream() == 1);
    CHECK(second.head.streamed == wanted_as_stream);
    CHECK(second.head.speaks == &speaks_plain());
    CHECK(second.text == "the long answer");
    CHECK(second.last);
    if (!wanted_as_stream) {
        CHECK(second.events == 1);
        CHECK(second.usage.output == 5);
    } else {
        CHECK(second.events >= 2);
    }
    if (stored_as_stream && wanted_as_stream) CHECK(second.events == first.events);
}

TEST_CASE("recording delays nothing", "[cache]") {
    bench b;
    b.provider.then(says("a b c").after(1s).every(1s));
    const seen first = b.ask(question("hi", true));
    CHECK(first.first_event == 1s);
    CHECK(first.events == 5);
    const seen again = b.ask(question("hi", true));
    CHECK(again.first_event == 0s);
}

TEST_CASE("only whole answers are kept", "[cache]") {
    const bool streamed = GENERATE(false, true);
    struct example {
        const char* what;
        scripted_answer said;
        bool kept;
    };
    const error reset(error_kind::connection_lost, "reset");
    event_facts in_band;
    in_band.error = true;
    std::vector<event> with_error{plain_dialect::delta("x"), event(bytes(), in_band),
                                  plain_dialect::last()};
    std::vector<event> no_reason{plain_dialect::delta("x"), plain_dialect::last()};
    std::vector<example> examples{
        {"stopped", says("x"), true},
        {"called tools", says("x").finish(finish_reason::tool_calls), true},
        {"cut at max_tokens, as it would be again", says("x").finish(finish_reason::length), true},
        {"filtered", says("x").finish(finish_reason::content_filter), false},
        {"ended strangely", says("x").finish(finish_reason::other), false},
        {"broke off", says("x y z").fails_after(2, reset), false},
        {"failed", fails(reset), false},
        {"not 2xx", says("x").head([](response_head& h) { h.status = 302; }), false},
        {"given by another model",
         says("x").head([](response_head& h) { h.came_by.substitute = true; }), false},
        {"stale already", says("x").head([](response_head& h) { h.came_by.stale = true; }), false},
    };
    if (streamed) {
        examples.push_back({"error inside", sends(with_error), false});
        examples.push_back({"no reason for its end", sends(no_reason), false});
    }
    for (const example& one : examples) {
        INFO(one.what);
        bench b;
        b.provider.then(one.said).then(says("other"));
        b.ask(question("hi", streamed));
        CHECK(b.ask(question("hi", streamed)).hit() == one.kept);
        CHECK(b.memory.stats().entries == 1);
    }
}

TEST_CASE("vectors are kept though they have no finish reason", "[cache]") {
    bench b;
    event_facts whole;
    whole.last = true;
    whole.finish = finish_reason::none;
    b.provider.then(sends({event(bytes::literal(""), whole)}));
    // The plain dialect folds exact events; a body without content stands for vectors.
    request ask("embeddings", std::string(R"({"model":"e","input":"x"})"));
    b.ask(ask);
    CHECK(b.ask(ask).hit());
}

TEST_CASE("a stream that its caller leaves is not kept", "[cache]") {
    bench b;
    b.provider.then(says("a b c d").every(1s)).then(says("new"));
    b.world.wait(read(b.client, question("hi", true), 2));
    CHECK(b.provider.counts().cancelled == 1);
    CHECK(b.memory.stats().entries == 0);
    CHECK_FALSE(b.ask(question("hi", true)).hit());
}

TEST_CASE("an answer over the size limit passes by and is not kept", "[cache]") {
    const bool streamed = GENERATE(false, true);
    bench b({.max_entry_bytes = 2000});
    b.provider.then(says(std::string(1500, 'a') + " " + std::string(1500, 'b')))
        .then(says(std::string(100, 'c')));
    CHECK(b.ask(question("hi", streamed)).text.size() == 3001);
    CHECK(b.memory.stats().entries == 0);
    b.ask(question("hi", streamed));
    CHECK(b.memory.stats().entries == 1);
}

TEST_CASE("an answer is fresh for its TTL and then gone", "[cache]") {
    bench b({.ttl = 10s});
    b.provider.then(says("old")).then(says("new"));
    b.ask(question());
    b.world.run_for(10s - 1ns);
    CHECK(b.ask(question()).text == "old");
    b.world.run_for(1ns);
    CHECK(b.ask(question()).text == "new");
    CHECK(b.ask(question()).hit());

    bench never({.ttl = 0s});
    never.provider.always(says("x"));
    never.ask(question());
    CHECK_FALSE(never.ask(question()).hit());
}

TEST_CASE("a stale answer is given at once while one fetches a new one", "[cache]") {
    const bool streamed = GENERATE(false, true);
    bench b({.ttl = 10s, .stale_while_revalidate = 20s});
    b.provider.then(says("old")).then(says("new").after(1s)).then(says("newer"));
    b.ask(question("hi", streamed));
    b.world.run_for(15s);
    const time_point asked = b.world.now();
    for (int i = 0; i < 5; ++i) {
        request hasty = question("hi", streamed);
        hasty.options().timeout = 100ms;  // the refresh has no part in this
        const seen stale = b.ask(hasty);
        CHECK(stale.text == "old");
        CHECK(stale.hit());
        CHECK(stale.head.came_by.stale);
    }
    CHECK(b.world.now() == asked);
    CHECK(b.client.calls_in_flight() == 0);
    b.world.run_for(2s);
    CHECK(b.upstream() == 2);  // one refresher
    const seen fresh = b.ask(question("hi", streamed));
    CHECK(fresh.text == "new");
    CHECK(fresh.hit());
    CHECK_FALSE(fresh.head.came_by.stale);
    CHECK(b.client.background_work() == 0);
    b.world.run_for(30s);
    CHECK(b.ask(question("hi", streamed)).text == "newer");
}

TEST_CASE("a refresh that fails leaves the stale answer and may be tried again", "[cache]") {
    bench b({.ttl = 10s, .stale_while_revalidate = 20s});
    b.provider.then(says("old")).then(fails(error_kind::server)).then(says("new"));
    b.ask(question());
    b.world.run_for(15s);
    CHECK(b.ask(question()).text == "old");
    b.world.run_for(1s);
    CHECK(b.upstream() == 2);
    CHECK(b.ask(question()).text == "old");
    b.world.run_for(1s);
    CHECK(b.ask(question()).text == "new");
}

TEST_CASE("only_if_cached gives fresh and stale answers and never asks", "[cache]") {
    bench b({.ttl = 10s, .stale_while_revalidate = 20s});
    b.provider.always(says("x"));
    CHECK(b.ask(with_mode(cache_mode::only_if_cached)).kind() == error_kind::not_cached);
    CHECK(b.upstream() == 0);
    b.ask(question());
    CHECK(b.ask(with_mode(cache_mode::only_if_cached, true)).text == "x");
    b.world.run_for(10s);
    CHECK(b.ask(with_mode(cache_mode::only_if_cached)).kind() == error_kind::not_cached);
    request named = with_mode(cache_mode::only_if_cached);
    named.options().set_idempotency_key("mine");
    CHECK(b.ask(named).kind() == error_kind::not_cached);
    CHECK(b.upstream() == 1);
    b.world.run();
    CHECK(b.upstream() == 1);
}

TEST_CASE("an old answer stands in for a provider in trouble", "[cache]") {
    const bool streamed = GENERATE(false, true);
    bench b({.ttl = 10s, .stale_if_error = 60s});
    const error down(error_kind::overloaded, "no room");
    b.provider.then(says("old"))
        .then(fails(down))
        .then(says("x y").fails_after(0, down))
        .then(fails(error_kind::invalid_request))
        .then(fails(down))
        .then(says("new"));
    b.ask(question("hi", streamed));
    b.world.run_for(20s);
    for (int i = 0; i < 2; ++i) {  // at the call, and in place of the first event
        const seen stale = b.ask(question("hi", streamed));
        CHECK(stale.text == "old");
        CHECK(stale.head.came_by.stale);
        CHECK(stale.head.came_by.attempts.size() == 1);
    }
    CHECK(b.ask(question("hi", streamed)).kind() == error_kind::invalid_request);
    b.world.run_for(50s);  // too old now
    const seen failed = b.ask(question("hi", streamed));
    CHECK(failed.kind() == error_kind::overloaded);
    CHECK(failed.failed->came_by().missed);
    CHECK(failed.failed->attempts() == 1);
    CHECK(b.ask(question("hi", streamed)).text == "new");
    CHECK(b.upstream() == 6);
}

TEST_CASE("a call may go past the cache, or renew it", "[cache]") {
    bench b;
    b.provider.then(says("one")).then(says("two")).then(says("three")).then(says("four"));
    b.ask(question());
    CHECK(b.ask(with_mode(cache_mode::bypass)).text == "two");
    CHECK(b.ask(question()).text == "one");
    const seen renewed = b.ask(with_mode(cache_mode::refresh));
    CHECK(renewed.text == "three");
    CHECK_FALSE(renewed.head.came_by.missed);  // nobody asked the cache
    CHECK(b.ask(question()).text == "three");
    request named = question();
    named.options().set_idempotency_key("mine");
    CHECK(b.ask(named).text == "four");
    CHECK(b.ask(question()).text == "three");
}

TEST_CASE("who asks something else, for somebody else or of somebody else misses", "[cache]") {
    bench b;
    b.provider.always(says("x"));
    b.ask(question());
    request tenant = question();
    tenant.options().set_tenant("acme");
    CHECK_FALSE(b.ask(tenant).hit());
    CHECK(b.ask(tenant).hit());
    request headed = question();
    headed.options().add_header("OpenAI-Beta", "1");
    CHECK_FALSE(b.ask(headed).hit());
    CHECK(b.ask(headed).hit());
    CHECK_FALSE(b.ask(question("ho")).hit());
    request user("chat/completions", std::string(R"({"model":"m","messages":"hi","user":"u"})"));
    CHECK_FALSE(b.ask(user).hit());

    scripted elsewhere(b.world.get_executor());
    elsewhere.set_origin("elsewhere").always(says("y"));
    const client_type other{any_service(pipeline(elsewhere) | cache(b.memory))};
    CHECK(b.world.wait(read(other, question())).text == "y");
    CHECK(b.ask(question()).text == "x");
}

TEST_CASE("users and headers can be left out of the key", "[cache]") {
    bench b({.ignore_user = true, .ignore_headers = true});
    b.provider.then(says("x"));
    request one("chat/completions", std::string(R"({"model":"m","user":"a"})"));
    request two("chat/completions", std::string(R"({"model":"m","user":"b"})"));
    two.options().add_header("X-Trace", "1");
    b.ask(one);
    CHECK(b.ask(two).hit());
}

TEST_CASE("what may create something is never answered from the cache", "[cache]") {
    bench b;
    b.provider.always(says("x"));
    for (const char* operation :
         {"batches", "files", "threads/t1/messages", "images/generations"}) {
        request ask(operation, std::string(R"({"model":"m"})"));
        b.ask(ask);
        CHECK_FALSE(b.ask(ask).hit());
    }
    CHECK_FALSE(b.ask(request("models", std::string())).hit());
    CHECK(b.memory.stats().entries == 0);
}

TEST_CASE("sampled answers can be left out", "[cache]") {
    bench b({.only_deterministic = true});
    b.provider.always(says("x"));
    const auto twice = [&](std::string body) {
        const request ask("chat/completions", std::move(body));
        b.ask(ask);
        return b.ask(ask).hit();
    };
    CHECK(twice(R"({"model":"m","temperature":0})"));
    CHECK(twice(R"({"model":"m1","temperature":0.0})"));
    CHECK(twice(R"({"model":"m2","temperature":-0e5})"));
    CHECK_FALSE(twice(R"({"model":"m","temperature":0.1})"));
    CHECK_FALSE(twice(R"({"model":"m"})"));
    CHECK_FALSE(twice(R"({"model":"m","messages":[{"temperature":0}]})"));
}

TEST_CASE("usage that the cache asked for is kept and not shown to who did not ask", "[cache]") {
    bench b;
    b.provider.always(says("a b").usage(3, 2));
    const seen first = b.ask(question("hi", true));
    CHECK(b.provider.last_request().options().metered);
    CHECK_FALSE(first.usage.known);
    CHECK(first.events == 4);

    const seen again = b.ask(question("hi", true));
    CHECK(again.hit());
    CHECK_FALSE(again.usage.known);
    CHECK(again.events == 4);

    const seen whole = b.ask(question("hi", false));
    CHECK(whole.usage.output == 2);

    // An outer layer that meters sees it and hides it itself.
    request metered = question("hi", true);
    metered.options().metered = true;
    const seen outer = b.ask(metered);
    CHECK(outer.injected == 1);
    CHECK(outer.usage.output == 2);

    // A caller who asked himself gets it as his own, also from what was recorded for another.
    request asking("chat/completions", std::string(R"({"model":"m","messages":"hi",)"
                                                   R"("stream_options":{"include_usage":true}})"));
    asking.options().streamed = true;
    const seen own = b.ask(asking);
    CHECK(own.hit());
    CHECK(own.injected == 0);
    CHECK(own.usage.output == 2);
    CHECK(b.upstream() == 1);
}

TEST_CASE("usage that a caller asked for is not shown to the next who did not", "[cache]") {
    bench b;
    b.provider.always(says("a b").usage(3, 2).usage_for_caller());
    request asking("chat/completions", std::string(R"({"model":"m","messages":"hi",)"
                                                   R"("stream_options":{"include_usage":true}})"));
    asking.options().streamed = true;
    CHECK(b.ask(asking).usage.known);
    const seen next = b.ask(question("hi", true));
    CHECK(next.hit());
    CHECK_FALSE(next.usage.known);
}

TEST_CASE("usage that a layer further out asked for reaches it on a miss", "[cache]") {
    bench b;
    b.provider.always(says("a b").usage(3, 2));
    request metered = question("hi", true);
    metered.options().metered = true;
    const seen missed = b.ask(metered);
    CHECK_FALSE(missed.hit());
    CHECK(missed.injected == 1);
    CHECK(missed.usage.output == 2);
}

TEST_CASE("a store that mixes up its keys gives nobody another's answer", "[cache]") {
    lab_bench b;
    b.store->one_slot = true;
    b.provider.always([](const request& ask) { return says("to " + std::string(ask.body())); });
    CHECK_FALSE(b.ask(question("one")).hit());
    REQUIRE(b.store->entries.size() == 1);
    CHECK(b.ask(question("one")).hit());
    const seen other = b.ask(question("two"));
    CHECK_FALSE(other.hit());
    CHECK(other.text.find("two") != std::string::npos);

    request tenant = question("one");
    tenant.options().set_tenant("acme");
    CHECK_FALSE(b.ask(tenant).hit());
    request operation("completions", std::string(question("one").body()));
    CHECK_FALSE(b.ask(operation).hit());
    request headed = question("one");
    headed.options().add_header("a", "b");
    CHECK_FALSE(b.ask(headed).hit());
}

TEST_CASE("a store in trouble fails no call and holds it up for its limit at most", "[cache]") {
    const bool streamed = GENERATE(false, true);
    lab_bench b({.store_limit = 50ms});
    b.provider.always(says("x"));
    b.store->fails = true;
    CHECK(b.ask(question("hi", streamed)).text == "x");
    CHECK(b.world.elapsed() == 0s);

    b.store->fails = false;
    b.store->find_takes = 10h;
    const seen waited = b.ask(question("hi", streamed));
    CHECK(waited.text == "x");
    CHECK(b.world.elapsed() == 50ms);

    b.store->find_takes = 0s;
    b.store->on_find = [] { throw std::runtime_error("broken"); };
    CHECK(b.ask(question("hi", streamed)).text == "x");
    b.store->on_find = [] { throw_cancelled(); };
    CHECK(b.ask(question("hi", streamed)).text == "x");
    b.store->on_find = {};
    CHECK(b.ask(question("hi", streamed)).hit());
}

TEST_CASE("a slow store does not hold up the end of an answer", "[cache]") {
    const bool streamed = GENERATE(false, true);
    lab_bench b;
    b.provider.then(says("x"));
    b.store->put_takes = 1s;
    CHECK(b.ask(question("hi", streamed)).text == "x");
    CHECK(b.world.elapsed() == 0s);
    CHECK(b.client.calls_in_flight() == 0);
    b.world.run();
    CHECK(b.store->puts == 1);
    CHECK(b.client.background_work() == 0);
}

TEST_CASE("of joined callers exactly one stores, whoever is still there", "[cache]") {
    const bool streamed = GENERATE(false, true);
    const bool leader_leaves = GENERATE(false, true);
    lab_bench b;
    b.provider.then(says("a b c").after(1s).every(100ms));
    std::vector<std::unique_ptr<child<seen>>> callers;
    for (int i = 0; i < 5; ++i) {
        callers.push_back(std::make_unique<child<seen>>(b.client.clock(),
                                                        read(b.client, question("hi", streamed))));
    }
    b.world.run_for(1050ms);
    if (leader_leaves) callers.front().reset();
    b.world.run();
    CHECK(b.store->puts == 1);
    CHECK(b.upstream() == 1);
    CHECK(b.ask(question("hi", streamed)).hit());
}

TEST_CASE("nobody slips through between the end of an answer and its storing", "[cache]") {
    const bool streamed = GENERATE(false, true);
    lab_bench b;
    b.provider.always(says("a b").after(1s));
    b.store->put_takes = 2s;
    child<seen> first(b.client.clock(), read(b.client, question("hi", streamed)));
    b.world.run_for(1500ms);
    CHECK(first.finished());
    CHECK(b.store->puts == 0);
    const seen between = b.ask(question("hi", streamed));
    CHECK_FALSE(between.hit());
    CHECK(between.head.came_by.role == dedup_role::joined);
    CHECK(between.text == "a b");
    b.world.run_for(2s);
    CHECK(b.ask(question("hi", streamed)).hit());
    CHECK(b.upstream() == 1);
    CHECK(b.store->puts == 1);
}

TEST_CASE("a cancelled call frees everything at any moment and stores nothing half", "[cache]") {
    const bool streamed = GENERATE(false, true);
    for (int moment = 0; moment < 9; ++moment) {
        for (int turns = 0; turns < 8; ++turns) {
            lab_bench b({.ttl = 10s, .stale_while_revalidate = 1h, .stale_if_error = 1h});
            b.store->find_takes = 2ms;
            b.store->put_takes = 2ms;
            b.provider.then(says("a b").after(1ms).every(1ms)).always(says("c"));
            child<seen> caller(b.client.clock(), read(b.client, question("q", streamed)));
            child<void> killer(b.client.clock(),
                               layer_test::cancel_at(caller, b.client.clock(),
                                                     std::chrono::milliseconds(moment), turns));
            b.world.run();
            CHECK(b.provider.counts().in_flight == 0);
            CHECK(b.client.calls_in_flight() == 0);
            CHECK(b.client.background_work() == 0);
            for (const auto& [key, kept] : b.store->entries)
                CHECK(kept->events.back().facts().last);
            // Kept, or never asked for so far.
            const bool first = !b.store->entries.empty() || b.upstream() == 0;
            b.world.run_for(20s);  // then as a stale hit with its refresh in the background
            CHECK(b.ask(question("q", streamed)).text == (first ? "a b" : "c"));
            b.world.run();
        }
    }
}

TEST_CASE("a pipeline may be dropped and a world may end with a refresh under way", "[cache]") {
    const bool dropped = GENERATE(false, true);
    for (int moment = 0; moment < 6; ++moment) {
        auto world = std::make_unique<simulation::world>();
        scripted provider(world->get_executor());
        provider.then(says("old")).then(says("a b c").after(2ms).every(1ms));
        lab_store store(world->clock());
        store->find_takes = 1ms;
        store->put_takes = 3ms;
        auto stack =
            pipeline(provider) | dedup() | cache(store, {.ttl = 1s, .stale_while_revalidate = 1h});
        std::optional<client_type> client(any_service(std::move(stack)));
        world->wait(read(*client, question("hi", true)));
        world->run_for(2s);
        CHECK(world->wait(read(*client, question("hi", true))).head.came_by.stale);
        world->run_for(std::chrono::milliseconds(moment));
        if (dropped) {
            client.reset();
            world->run();
            CHECK(provider.counts().in_flight == 0);
        }
        world.reset();
        CHECK(provider.counts().in_flight == 0);
    }
}

}  // namespace test_layer_cache
