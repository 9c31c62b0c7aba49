#include <llmkit/layer/dedup.hpp>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <llmkit/layer/timeout.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "layer/layer_test.hpp"

namespace test_layer_dedup {

using namespace llmkit;
using namespace llmkit::testing;
using namespace std::chrono_literals;

namespace {

using sharing = deduplicating<scripted>;
using client_type = pipeline<sharing>;

/// What one caller saw.
struct seen {
    seen() {}
    std::string text;
    std::size_t events = 0;
    dedup_role role = dedup_role::none;
    std::optional<error> failed;
    time_point at;
};

request question(std::string text = "hi", bool streamed = false) {
    request ask("chat/completions", R"({"model":"m","messages":")" + text + "\"}");
    ask.options().streamed = streamed;
    return ask;
}

task<seen> read(client_type client, request ask, duration pause = {}) {
    seen what;
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        what.failed = answer.error();
        what.role = answer.error().came_by().role;
    } else {
        what.role = answer->head().came_by.role;
        auto& events = answer->events();
        while (auto item = co_await events.next()) {
            what.text += item->data();
            ++what.events;
            if (pause > 0s) co_await sleep_for(client.clock(), pause);
        }
        if (events.failed()) what.failed = events.error();
    }
    what.at = client.clock().now();
    co_return what;
}

/// A caller beside the others who keeps what he saw.
struct caller {
    caller(client_type client, request ask, duration pause = {})
        : work(client.clock(), read(client, std::move(ask), pause)) {}
    child<seen> work;
};
seen end_of(simulation::world& world, caller& who) { return world.wait(who.work.join()); }

struct bench {
    explicit bench(dedup_policy policy = {})
        : provider(world.get_executor()), service(provider, policy), client(service) {}
    simulation::world world;
    scripted provider;
    sharing service;
    client_type client;
};

}  // namespace

TEST_CASE("equal unary calls in flight share one upstream call", "[dedup]") {
    bench b;
    b.provider.then(says("the answer").after(1s));
    caller first(b.client, question());
    b.world.run_for(300ms);
    // Spacing does not matter, and neither do the fields that only say how to transport it.
    request same("chat/completions",
                 std::string(R"({ "stream":false, "messages":"hi", "model":"m"})"));
    caller second(b.client, same);
    const seen one = end_of(b.world, first);
    const seen two = end_of(b.world, second);
    CHECK(one.text == "the answer");
    CHECK(two.text == "the answer");
    CHECK(one.role == dedup_role::leader);
    CHECK(two.role == dedup_role::joined);
    CHECK(b.provider.counts().begun == 1);
    CHECK(b.world.elapsed() == 1s);
}

TEST_CASE("calls that ask something else, for somebody else or in another way do not share",
          "[dedup]") {
    bench b;
    b.provider.always(says("x").after(1s));
    std::vector<request> asks;
    asks.push_back(question("hi"));
    asks.push_back(question("ho"));
    asks.push_back(question("hi", true));
    asks.push_back(question("hi"));
    asks.back().options().set_tenant("acme");
    asks.push_back(question("hi"));
    asks.back().options().set_tenant("other");
    asks.push_back(question("hi"));
    asks.back().options().add_header("OpenAI-Organization", "org-1");
    asks.push_back(request("completions", std::string(asks[0].body())));
    asks.push_back(question("hi"));
    asks.back().options().cache = cache_mode::refresh;
    asks.push_back(question("hi"));
    asks.back().options().tag_state = 1;
    request counted("chat/completions", std::string(R"({"model":"m","messages":"hi",)"
                                                    R"("stream_options":{"include_usage":true}})"));
    counted.options().streamed = true;
    asks.push_back(counted);
    request by_user("chat/completions", std::string(R"({"model":"m","messages":"hi","user":"u"})"));
    asks.push_back(by_user);
    std::vector<std::unique_ptr<caller>> callers;
    for (auto& ask : asks) callers.push_back(std::make_unique<caller>(b.client, ask));
    b.world.run_for(500ms);
    CHECK(b.provider.counts().in_flight == asks.size());
    b.world.run();
    CHECK(b.provider.counts().begun == asks.size());
    CHECK(b.service.in_flight() == 0);
}

TEST_CASE("users and headers can be left out of the comparison", "[dedup]") {
    bench b({.ignore_user = true, .ignore_headers = true});
    b.provider.always(says("x").after(1s));
    request first("chat/completions", std::string(R"({"model":"m","user":"a"})"));
    request second("chat/completions", std::string(R"({"model":"m","user":"b"})"));
    second.options().add_header("X-Trace", "1");
    caller one(b.client, first);
    caller two(b.client, second);
    b.world.run();
    CHECK(b.provider.counts().begun == 1);
}

TEST_CASE("who asks to bypass, names his call or may create something shares nothing", "[dedup]") {
    bench b;
    b.provider.always(says("x").after(1s));
    std::vector<request> asks(2, question());
    for (auto& ask : asks) ask.options().cache = cache_mode::bypass;
    asks.resize(4, question());
    asks[2].options().set_idempotency_key("mine");
    asks[3].options().set_idempotency_key("mine");
    asks.resize(6, request("batches", std::string(R"({"input_file_id":"f"})")));
    std::vector<std::unique_ptr<caller>> callers;
    for (auto& ask : asks) callers.push_back(std::make_unique<caller>(b.client, ask));
    b.world.run();
    CHECK(b.provider.counts().begun == 6);
    for (auto& one : callers) CHECK(end_of(b.world, *one).role == dedup_role::none);
}

TEST_CASE("a late joiner of a stream gets every earlier event once and then the live ones",
          "[dedup]") {
    bench b;
    b.provider.then(says("a b c d e f").every(1s));
    caller first(b.client, question("hi", true));
    b.world.run_for(2500ms);
    caller late(b.client, question("hi", true));
    b.world.run_for(1s);
    caller later(b.client, question("hi", true), 10ms);
    for (caller* one : {&first, &late, &later}) {
        const seen what = end_of(b.world, *one);
        CHECK(what.text == "a b c d e f");
        CHECK(what.events == 8);
        CHECK_FALSE(what.failed);
    }
    CHECK(b.provider.counts().begun == 1);
    CHECK(b.provider.counts().ended == 1);
}

TEST_CASE("cancelling the leader leaves the others alone", "[dedup]") {
    const bool streamed = GENERATE(false, true);
    bench b;
    b.provider.then(says("the answer").after(1s).every(100ms));
    auto leader = std::make_unique<caller>(b.client, question("hi", streamed));
    caller other(b.client, question("hi", streamed));
    b.world.run_for(500ms);
    leader.reset();
    b.world.poll();
    CHECK(b.client.calls_in_flight() == 1);  // nothing of the leader is left
    const seen what = end_of(b.world, other);
    CHECK(what.text == "the answer");
    CHECK(what.role == dedup_role::joined);
    CHECK(b.provider.counts().begun == 1);
    CHECK(b.provider.counts().cancelled == 0);
}

TEST_CASE("when the last caller leaves, the upstream call is cancelled at once", "[dedup]") {
    const bool streamed = GENERATE(false, true);
    const auto after_start = GENERATE(500ms, 1100ms);
    bench b;
    b.provider.then(says("the answer is long").after(1s).every(1s));
    auto leader = std::make_unique<caller>(b.client, question("hi", streamed));
    auto other = std::make_unique<caller>(b.client, question("hi", streamed));
    b.world.run_for(after_start);
    leader.reset();
    b.world.poll();
    CHECK(b.provider.counts().in_flight == 1);
    other.reset();
    b.world.poll();  // no time passes
    CHECK(b.provider.counts().in_flight == 0);
    CHECK(b.provider.counts().cancelled == 1);
    CHECK(b.service.in_flight() == 0);
    CHECK(b.client.calls_in_flight() == 0);
}

TEST_CASE("a failure reaches all who waited once, and the next caller asks anew", "[dedup]") {
    bench b;
    b.provider.then(fails(error(error_kind::server, "oh")).after(1s)).then(says("fine"));
    std::vector<std::unique_ptr<caller>> callers;
    for (int i = 0; i < 5; ++i) callers.push_back(std::make_unique<caller>(b.client, question()));
    b.world.run();
    CHECK(b.provider.counts().begun == 1);
    for (auto& one : callers) {
        const seen what = end_of(b.world, *one);
        REQUIRE(what.failed);
        CHECK(what.failed->kind() == error_kind::server);
        CHECK(what.failed->attempts() == 1);
        CHECK(what.role != dedup_role::none);
    }
    CHECK(b.world.wait(read(b.client, question())).text == "fine");
    CHECK(b.service.in_flight() == 0);
}

TEST_CASE("a stream that breaks breaks for all, after what each had", "[dedup]") {
    bench b;
    b.provider.then(
        says("a b c d").every(1s).fails_after(2, error(error_kind::connection_lost, "reset")));
    caller first(b.client, question("hi", true));
    b.world.run_for(1500ms);
    caller second(b.client, question("hi", true));
    for (caller* one : {&first, &second}) {
        const seen what = end_of(b.world, *one);
        CHECK(what.text == "a b");
        REQUIRE(what.failed);
        CHECK(what.failed->kind() == error_kind::connection_lost);
    }
    CHECK(b.provider.counts().begun == 1);
}

TEST_CASE("each caller keeps his own limit and the shared call has the latest", "[dedup]") {
    bench b;
    b.provider.then(says("the answer").after(10s));
    auto ask = [](duration span) {
        request made = question();
        made.options().timeout = span;
        return made;
    };
    caller hasty(b.client, ask(2s));
    caller patient(b.client, ask(20s));
    const seen cut = end_of(b.world, hasty);
    REQUIRE(cut.failed);
    CHECK(cut.failed->kind() == error_kind::timeout);
    CHECK(b.world.elapsed() == 2s);
    CHECK(end_of(b.world, patient).text == "the answer");
    CHECK(b.provider.counts().begun == 1);
}

TEST_CASE("the shared call ends with the latest limit of those who joined", "[dedup]") {
    bench b;
    b.provider.then(never_answers());
    std::vector<std::unique_ptr<caller>> callers;
    for (auto span : {3s, 5s, 4s}) {
        request ask = question();
        ask.options().timeout = span;
        callers.push_back(std::make_unique<caller>(b.client, ask));
    }
    b.world.run();
    CHECK(b.world.elapsed() == 5s);
    CHECK(b.provider.counts().in_flight == 0);
    for (auto& one : callers) {
        CHECK(end_of(b.world, *one).failed->kind() == error_kind::timeout);
    }
}

namespace {
task<error> failure_of(pipeline<deduplicating<timing_out<scripted>>> client, duration span) {
    request ask = question();
    ask.options().timeout = span;
    auto answer = co_await client(std::move(ask));
    if (answer) co_return error();
    co_return answer.error();
}
}  // namespace

TEST_CASE("a limit below dedup holds, however late those are who join", "[dedup]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(never_answers());
    using limited = timing_out<scripted>;
    timeout_policy five;
    five.total = 5s;
    pipeline<deduplicating<limited>> client(deduplicating<limited>(limited(provider, five), {}));
    child<error> hasty(world.clock(), failure_of(client, 3s));
    world.run_for(1s);
    child<error> patient(world.clock(), failure_of(client, 20s));
    CHECK(world.wait(hasty.join()).kind() == error_kind::timeout);
    CHECK(world.elapsed() == 3s);
    CHECK(world.wait(patient.join()).kind() == error_kind::timeout);
    CHECK(world.elapsed() == 5s);
}

TEST_CASE("a slow reader stalls nobody and is told when he has lost the thread", "[dedup]") {
    bench b({.window = 4, .log_bytes = 64});
    std::vector<std::string> pieces(100, std::string(16, 'x'));
    b.provider.then(says_pieces(pieces).every(10ms));
    caller quick(b.client, question("hi", true));
    caller slow(b.client, question("hi", true), 1s);
    const seen all = end_of(b.world, quick);
    CHECK(all.text.size() == 1600);
    CHECK(b.world.elapsed() < 1100ms);
    const seen lost = end_of(b.world, slow);
    REQUIRE(lost.failed);
    CHECK(lost.failed->kind() == error_kind::too_slow);
}

TEST_CASE("a call that began too long ago takes nobody in", "[dedup]") {
    bench b({.open_for = 5s});
    b.provider.always(says("a b c").every(4s));
    caller first(b.client, question("hi", true));
    b.world.run_for(4999ms);
    caller second(b.client, question("hi", true));
    b.world.run_for(1ms);
    CHECK(b.provider.counts().begun == 1);
    caller third(b.client, question("hi", true));
    b.world.run_for(1ms);
    CHECK(b.provider.counts().begun == 2);
    caller fourth(b.client, question("hi", true));  // joins the third, not the first
    b.world.run();
    CHECK(b.provider.counts().begun == 2);
    CHECK(b.service.in_flight() == 0);
}

TEST_CASE("questions whose keys clash do not share", "[dedup]") {
    simulation::world world;
    auto table = std::make_shared<detail::flight_table>(dedup_policy());
    const key128 key{1, 2};
    auto first = table->board(key, question("hi"), world.clock());
    auto clash = table->board(key, question("ho"), world.clock());
    auto joined = table->board(key, question("hi"), world.clock());
    CHECK(first.leader);
    CHECK_FALSE(clash.seat.shared());
    CHECK(joined.seat.shared() == first.seat.shared());
    CHECK_FALSE(joined.leader);
    first.seat = flight_seat();
    joined.seat = flight_seat();
    CHECK(table->size() == 0);
}

TEST_CASE("a flight that goes late does not take a newer one's place", "[dedup]") {
    simulation::world world;
    auto table = std::make_shared<detail::flight_table>(dedup_policy{.open_for = 5s});
    const key128 key{1, 2};
    auto old = table->board(key, question(), world.clock());
    world.run_for(5s);
    auto fresh = table->board(key, question(), world.clock());
    CHECK(fresh.leader);
    old.seat = flight_seat();
    CHECK(table->size() == 1);
    CHECK_FALSE(table->board(key, question(), world.clock()).leader);
    fresh.seat = flight_seat();
    CHECK(table->size() == 0);
}

TEST_CASE("a pipeline that is dropped lets its shared calls end", "[dedup]") {
    bench b;
    b.provider.then(says("the answer").after(1s));
    std::optional<client_type> client(std::in_place, sharing(b.provider, {}));
    caller first(*client, question());
    caller second(*client, question());
    b.world.run_for(500ms);
    client.reset();
    CHECK(end_of(b.world, first).text == "the answer");
    CHECK(end_of(b.world, second).text == "the answer");
}

TEST_CASE("closing the pipeline ends shared calls", "[dedup]") {
    const bool streamed = GENERATE(false, true);
    bench b;
    b.provider.then(never_answers());
    caller first(b.client, question("hi", streamed));
    caller second(b.client, question("hi", streamed));
    b.world.run_for(1s);
    CHECK_FALSE(b.world.wait(b.client.close(2s)));
    for (caller* one : {&first, &second}) {
        const seen what = end_of(b.world, *one);
        REQUIRE(what.failed);
        CHECK(what.failed->kind() == error_kind::closed);
    }
    CHECK(b.provider.counts().in_flight == 0);
    CHECK(b.service.in_flight() == 0);
}

TEST_CASE("a cancellation at any moment frees everything and spoils nothing", "[dedup]") {
    const bool streamed = GENERATE(false, true);
    for (const int cancelled : {0, 1, 2}) {
        for (int moment = 0; moment < 8; ++moment) {
            for (int turns = 0; turns < 12; ++turns) {
                bench b;
                b.provider.then(says("a b c").after(2ms).every(2ms)).always(says("again"));
                std::vector<std::unique_ptr<caller>> callers;
                for (int i = 0; i < 3; ++i) {
                    callers.push_back(std::make_unique<caller>(b.client, question("q", streamed)));
                }
                const auto which = static_cast<std::size_t>(cancelled);
                child<void> killer(b.client.clock(),
                                   layer_test::cancel_at(callers[which]->work, b.client.clock(),
                                                         std::chrono::milliseconds(moment), turns));
                b.world.run();
                for (std::size_t i = 0; i < 3; ++i) {
                    if (i == which) continue;
                    CHECK(end_of(b.world, *callers[i]).text == "a b c");
                }
                callers.clear();
                b.world.run();
                CHECK(b.provider.counts().begun == 1);
                CHECK(b.provider.counts().in_flight == 0);
                CHECK(b.service.in_flight() == 0);
                CHECK(b.client.calls_in_flight() == 0);
            }
        }
    }
}

TEST_CASE("a world may end with shared calls under way", "[dedup]") {
    const bool streamed = GENERATE(false, true);
    for (int moment = 0; moment < 8; ++moment) {
        auto world = std::make_unique<simulation::world>();
        scripted provider(world->get_executor());
        provider.then(says("a b c").after(2ms).every(2ms));
        std::optional<client_type> client(std::in_place, sharing(provider, {}));
        caller first(*client, question("q", streamed));
        caller second(*client, question("q", streamed));
        if (moment % 2 == 0) client.reset();
        world->run_for(std::chrono::milliseconds(moment));
        world.reset();
        CHECK(provider.counts().in_flight == 0);
    }
}

namespace {
task<int> hammer(client_type client, int caller_number, int rounds) {
    int right = 0;
    for (int i = 0; i < rounds; ++i) {
        const std::string text = std::to_string(i % 7);
        const bool streamed = (i + caller_number) % 3 == 0;
        request ask = question(text, streamed);
        if ((i + caller_number) % 11 == 0) ask.options().timeout = 1us;
        auto answer = co_await client(std::move(ask));
        if (!answer) {
            right += answer.error().kind() == error_kind::timeout ? 1 : 0;
            continue;
        }
        if ((i + caller_number) % 5 == 0) {  // leaves early
            ++right;
            continue;
        }
        std::string got;
        auto& events = answer->events();
        while (auto item = co_await events.next()) got += item->data();
        const bool late = events.failed() && events.error().kind() == error_kind::timeout;
        right += got == "one two three" || late ? 1 : 0;
    }
    co_return right;
}
}  // namespace

TEST_CASE("callers on two threads share without harm", "[dedup]") {
    constexpr int callers = 8, rounds = 150;
    asio::thread_pool pool(2);
    scripted provider(pool.get_executor());
    provider.always(says("one two three").after(20us).every(10us));
    sharing service(provider, {});
    client_type client(service);
    std::vector<std::future<int>> all;
    for (int i = 0; i < callers; ++i) {
        all.push_back(
            asio::co_spawn(asio::make_strand(pool), hammer(client, i, rounds), asio::use_future));
    }
    for (auto& one : all) CHECK(one.get() == rounds);
    // What was left behind goes within its own turns.
    for (int i = 0; i < 1000 && provider.counts().in_flight > 0; ++i) {
        asio::post(pool, asio::use_future).get();
    }
    pool.join();
    CHECK(provider.counts().in_flight == 0);
    CHECK(service.in_flight() == 0);
    CHECK(client.calls_in_flight() == 0);
    CHECK(provider.counts().begun < static_cast<std::size_t>(callers * rounds));
}

}  // namespace test_layer_dedup
