#include <llmkit/layer/retry.hpp>

#include <functional>
#include <set>

#include "layer/layer_test.hpp"

namespace test_layer_retry {

using namespace layer_test;

namespace {

const error lost(error_kind::connection_lost, "reset by peer");
const error busy = error(error_kind::overloaded, "busy").with_status(529);

struct upstream {
    simulation::world world;
    scripted provider{world.get_executor()};

    std::string ask(const any_service& client, bool streamed) {
        return said(world, client, ask_for(streamed));
    }
    std::size_t calls() const { return provider.counts().begun; }
};

any_service with_retry(const scripted& provider, retry_policy policy = retry_policy()) {
    return any_service(pipeline(provider) | retry(policy));
}

}  // namespace

TEST_CASE("retry asks again until an attempt succeeds", "[retry]") {
    for (const bool streamed : {false, true}) {
        upstream up;
        up.provider.then(busy).then(lost).then("hi");
        CHECK(up.ask(with_retry(up.provider), streamed) == (streamed ? "hi|||" : "hi|"));
        CHECK(up.calls() == 3);
        CHECK(up.provider.counts().in_flight == 0);
    }
}

TEST_CASE("retry gives up after its last attempt with the last error", "[retry]") {
    for (const bool streamed : {false, true}) {
        upstream up;
        up.provider.then(lost).then(lost).then(busy).always("too late");
        auto answer = up.world.wait(with_retry(up.provider)(ask_for(streamed)));
        REQUIRE_FALSE(answer);
        CHECK(answer.error().kind() == error_kind::overloaded);
        CHECK(answer.error().attempts() == 3);
        CHECK(answer.error().advice() == "Try again later, or allow more retries.");
        CHECK(up.calls() == 3);
    }
}

TEST_CASE("a first success costs no second call and no time", "[retry]") {
    for (const bool streamed : {false, true}) {
        upstream up;
        up.provider.always("hi");
        up.ask(with_retry(up.provider), streamed);
        CHECK(up.calls() == 1);
        CHECK(up.world.elapsed() == 0s);
    }
}

TEST_CASE("every kind of error is retried or not by the table", "[retry]") {
    const std::set<error_kind> again = {
        error_kind::conflict, error_kind::rate_limited, error_kind::overloaded,
        error_kind::server,   error_kind::resolve,      error_kind::connect,
        error_kind::timeout,  error_kind::truncated,    error_kind::connection_lost};
    const std::set<error_kind> never = {
        error_kind::unset,          error_kind::configuration, error_kind::context_length,
        error_kind::content_policy, error_kind::tls,           error_kind::too_large,
        error_kind::not_cached,     error_kind::refused,       error_kind::too_slow,
        error_kind::closed,         error_kind::internal};
    for (std::size_t i = 0; i < error_kind_count; ++i) {
        const auto kind = static_cast<error_kind>(i);
        INFO(to_string(kind));
        const auto calls = [&](const error& why) {
            upstream up;
            up.provider.always(why);
            up.ask(with_retry(up.provider), false);
            return up.calls();
        };
        const error plain(kind, "x");
        CHECK(calls(plain) == (again.contains(kind) ? 3U : 1U));
        CHECK(calls(plain.with_should_retry(false)) == 1U);
        CHECK(calls(plain.with_should_retry(true)) == (never.contains(kind) ? 1U : 3U));
    }
}

TEST_CASE("pauses double from half a second, less at most a quarter", "[retry]") {
    upstream up;
    up.provider.always(busy);
    up.ask(with_retry(up.provider, {.retries = 6}), false);
    const auto at = up.provider.times();
    REQUIRE(at.size() == 7);
    duration full = 500ms;
    for (std::size_t i = 1; i < at.size(); ++i, full = std::min<duration>(full * 2, 8s)) {
        const duration pause = at[i] - at[i - 1];
        CHECK(pause <= full);
        CHECK(pause >= full * 3 / 4);
    }
    CHECK(at[5] - at[4] > 4s);
    CHECK(at[6] - at[5] <= 8s);
}

TEST_CASE("pauses repeat with the world's seed and differ without", "[retry]") {
    const auto pauses = [](std::uint64_t seed) {
        simulation::world world(seed);
        scripted provider(world.get_executor());
        provider.always(busy);
        said(world, with_retry(provider), ask_for(false));
        return provider.times();
    };
    CHECK(pauses(1) == pauses(1));
    CHECK(pauses(1) != pauses(2));
}

TEST_CASE("retry never comes back earlier than the server asked", "[retry]") {
    const auto waited = [](std::optional<duration> asked) {
        upstream up;
        up.provider.then(busy.with_retry_after(asked)).then("hi");
        up.ask(with_retry(up.provider), true);
        return up.provider.times().back();
    };
    CHECK(waited(3s) == 3s);
    CHECK(waited(60s) == 60s);
    for (const duration nonsense : {duration(0), duration(-5s), duration::min()}) {
        CHECK(waited(nonsense) >= 375ms);
        CHECK(waited(nonsense) <= 500ms);
    }
}

TEST_CASE("a server that asks for too long a pause is not waited for", "[retry]") {
    for (const duration asked : {duration(61s), duration::max()}) {
        upstream up;
        up.provider.always(busy.with_retry_after(asked));
        request ask = ask_for(false);
        ask.options().deadline.until = up.world.now() + 24h;
        auto answer = up.world.wait(with_retry(up.provider)(ask));
        CHECK(up.calls() == 1);
        CHECK(up.world.elapsed() == 0s);
        CHECK(answer.error().kind() == error_kind::overloaded);
        CHECK(std::string(answer.error().advice()).find("longest_server_wait") !=
              std::string::npos);
    }
}

TEST_CASE("a pause beyond the deadline is not begun", "[retry]") {
    upstream up;
    up.provider.always(busy.with_retry_after(20s));
    request ask = ask_for(false);
    ask.options().deadline.until = up.world.now() + 10s;
    auto answer = up.world.wait(with_retry(up.provider)(ask));
    CHECK(up.world.elapsed() == 0s);
    CHECK(answer.error().kind() == error_kind::overloaded);
    CHECK(std::string(answer.error().advice()).find("20 s") != std::string::npos);
    CHECK(std::string(answer.error().advice()).find("10 s") != std::string::npos);
    CHECK(std::string(answer.error().advice()).find("add retry()") == std::string::npos);
}

TEST_CASE("a limit of one attempt is tried again, the call's deadline is not", "[retry]") {
    upstream up;
    up.provider.then(never_answers()).then("hi");
    request ask = ask_for(true);
    ask.options().first_event = 1s;
    CHECK(said(up.world, with_retry(up.provider), ask) == "hi|||");
    CHECK(up.calls() == 2);

    up.provider.then(never_answers()).then("never sent");
    ask.options().first_event = duration::max();
    ask.options().deadline.until = up.world.now() + 5s;
    auto late = up.world.wait(with_retry(up.provider)(ask));
    CHECK(late.error().kind() == error_kind::timeout);
    CHECK(late.error().advice() == advice(error_kind::timeout));
    CHECK(up.calls() == 3);
}

TEST_CASE("an error in a 200 answer is retried before any content", "[retry]") {
    upstream up;
    up.provider.then(says("a b").fails_after(0, busy));
    up.provider.then(says("a b").opens_bare(3).fails_after(0, lost));
    up.provider.then(says("a b").opens_bare(1));
    CHECK(up.ask(with_retry(up.provider), true) == "|a| b|||");
    CHECK(up.calls() == 3);
}

TEST_CASE("nothing restarts after content has reached the caller", "[retry]") {
    upstream up;
    up.provider.then(says("a b").fails_after(1, lost)).always("again");
    CHECK(up.ask(with_retry(up.provider), true) == "a|error: connection lost");
    CHECK(up.calls() == 1);
}

TEST_CASE("the look ahead for content is bounded", "[retry]") {
    upstream up;
    up.provider.then(says("a").opens_bare(20).every(1s).fails_after(0, lost)).always("again");
    auto answer = up.world.wait(with_retry(up.provider)(ask_for(true)));
    REQUIRE(answer);
    CHECK(up.world.elapsed() == 7s);
    CHECK(up.world.wait(read_all(std::move(answer))).ends_with("error: connection lost"));
    CHECK(up.calls() == 1);
}

TEST_CASE("a stream is handed on as soon as its first content is there", "[retry]") {
    upstream up;
    up.provider.then(says("a b c").after(1s).every(10s));
    auto answer = up.world.wait(with_retry(up.provider)(ask_for(true)));
    CHECK(up.world.elapsed() == 1s);
}

TEST_CASE("nested retries make as many attempts as the outermost allows", "[retry]") {
    const auto calls = [](std::size_t inner, std::size_t outer, bool streamed, bool in_band) {
        upstream up;
        if (in_band) {
            up.provider.always(says("a").fails_after(0, busy));
        } else {
            up.provider.always(busy);
        }
        const any_service client(pipeline(up.provider) | retry({.retries = inner}) |
                                 retry({.retries = outer}));
        auto answer = up.world.wait(client(ask_for(streamed)));
        CHECK(answer.error().attempts() == up.calls());
        for (const request& asked : up.provider.requests()) {
            CHECK(asked.options().attempt_key == up.provider.last_request().options().attempt_key);
        }
        return up.calls();
    };
    for (const bool streamed : {false, true}) {
        for (const bool in_band : {false, true}) {
            CHECK(calls(2, 2, streamed, in_band) == 3);
            CHECK(calls(5, 1, streamed, in_band) == 2);
            CHECK(calls(1, 4, streamed, in_band) == 5);
            CHECK(calls(3, 0, streamed, in_band) == 1);
        }
    }
}

TEST_CASE("upstream calls stay within calls, burst and ratio", "[retry]") {
    upstream up;
    up.provider.always(busy);
    const auto client = with_retry(
        up.provider, {.retries = 3, .first_wait = 1ms, .budget_ratio = 0.5, .budget_burst = 4});
    for (int i = 0; i < 100; ++i) up.ask(client, i % 2 == 0);
    CHECK(up.calls() == 100 + 4 + 50);

    auto answer = up.world.wait(client(ask_for(false)));
    CHECK(std::string(answer.error().advice()).find("budget") != std::string::npos);
}

TEST_CASE("all attempts carry one key of their own, not the user's", "[retry]") {
    upstream up;
    up.provider.then(busy).then(busy).then("hi").then("hi");
    const auto client = with_retry(up.provider);
    up.ask(client, false);
    up.ask(client, false);
    const auto asked = up.provider.requests();
    REQUIRE(asked.size() == 4);
    CHECK(asked[0].options().attempt_key != key128());
    CHECK(asked[1].options().attempt_key == asked[0].options().attempt_key);
    CHECK(asked[2].options().attempt_key == asked[0].options().attempt_key);
    CHECK(asked[3].options().attempt_key != asked[0].options().attempt_key);
    CHECK(asked[0].options().idempotency_key().empty());

    request own = ask_for(false);
    own.options().set_idempotency_key("mine");
    up.provider.then(busy).then("hi");
    said(up.world, client, own);
    CHECK(up.provider.last_request().options().idempotency_key() == "mine");
}

TEST_CASE("each attempt sees those before it", "[retry]") {
    upstream up;
    up.provider.then(busy).then(says("a").fails_after(0, lost)).then("hi");
    up.ask(with_retry(up.provider), true);
    const auto asked = up.provider.requests();
    REQUIRE(asked.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) CHECK(asked[i].options().attempts.size() == i);
}

TEST_CASE("a failed attempt holds nothing while its retry waits", "[retry]") {
    upstream up;
    up.provider.then(says("a").fails_after(0, lost)).then("hi");
    child<std::string> call(up.world.clock(), ask_all(with_retry(up.provider), ask_for(true)));
    up.world.run_for(100ms);
    CHECK(up.provider.counts().in_flight == 0);
    CHECK(up.provider.counts().ended == 1);
    CHECK(up.world.wait(call.join()) == "hi|||");
}

TEST_CASE("closing the pipeline ends a retry's wait", "[retry]") {
    upstream up;
    up.provider.always(busy.with_retry_after(50s));
    auto client = pipeline(up.provider) | retry();
    child<std::string> call(up.world.clock(), ask_all(any_service(client), ask_for(false)));
    up.world.run_for(1s);
    CHECK_FALSE(up.world.wait(client.close(1s)));
    CHECK(up.world.wait(call.join()) == "error: closed");
    CHECK(up.world.elapsed() < 3s);
    CHECK(up.calls() == 1);
}

TEST_CASE("cancelling a retried call frees everything at once, wherever it waits", "[retry]") {
    cancel_everywhere(
        [](const scripted& provider) { return with_retry(provider, {.retries = 1}); },
        says("a b").after(100ms).first_after(100ms).opens_bare().every(50ms).fails_after(0, lost),
        900ms, 50ms);
    cancel_everywhere([](const scripted& provider) { return with_retry(provider); },
                      says("a b").after(100ms).first_after(100ms).every(50ms), 450ms, 50ms);
}

}  // namespace test_layer_retry
