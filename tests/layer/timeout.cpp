#include <llmkit/layer/timeout.hpp>

#include <llmkit/core/run.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/retry.hpp>

#include "layer/layer_test.hpp"

namespace test_layer_timeout {

using namespace layer_test;

namespace {

/// A service that knows no limits: what comes, comes when it comes. Cancellation it honours.
class foreign {
public:
    foreign(const scripted& inner, bool throws = false) : inner_(inner), throws_(throws) {}
    task<result<response>> operator()(request ask) const {
        call_options bare;
        bare.streamed = ask.options().streamed;
        ask.options() = bare;
        return call(inner_, std::move(ask), throws_);
    }
    clock_handle clock() const { return inner_.clock(); }

private:
    static task<result<response>> call(scripted inner, request ask, bool throws) {
        if (throws) throw std::runtime_error("out of paper");
        co_return co_await inner(std::move(ask));
    }
    scripted inner_;
    bool throws_;
};

/// A service that takes ten seconds to notice that it was cancelled, and tells whether it was still
/// there by then.
class slow_to_notice {
public:
    struct ending {
        bool noticed = false;
        bool alive = false;
    };
    slow_to_notice(clock_handle time, std::shared_ptr<ending> told)
        : time_(std::move(time)), told_(std::move(told)) {}
    task<result<response>> operator()(request ask) const {
        return call(life_, time_, told_, std::move(ask));
    }
    clock_handle clock() const { return time_; }

private:
    static task<result<response>> call(std::weak_ptr<int> life, clock_handle time,
                                       std::shared_ptr<ending> told, request ask) {
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
        co_await sleep_for(time, 10s);
        told->noticed = ask.options().deadline.effective() > time.now();
        told->alive = !life.expired();
        co_return error(error_kind::server, "too late");
    }
    std::shared_ptr<int> life_ = std::make_shared<int>();
    clock_handle time_;
    std::shared_ptr<ending> told_;
};

/// The limits reach a service that honours them, or are enforced around one that does not.
struct setting {
    explicit setting(bool is_enforced) : enforced(is_enforced) {}
    any_service client(timeout_policy policy) const {
        if (enforced) {
            return any_service(pipeline(foreign(provider)) | timeout(policy).enforce());
        }
        return any_service(pipeline(provider) | timeout(policy));
    }
    error fails(timeout_policy policy, bool streamed) {
        return world.wait(failure_of(client(policy), ask_for(streamed)));
    }
    static task<error> failure_of(any_service asked, request ask) {
        auto answer = co_await asked(std::move(ask));
        if (!answer) co_return answer.error();
        while (auto item = co_await answer->events().next()) {
            if (item->facts().last) co_return error();
        }
        co_return answer->events().error();
    }

    bool enforced;
    simulation::world world;
    scripted provider{world.get_executor()};
};

}  // namespace

TEST_CASE("the total ends a call that gets no answer", "[timeout]") {
    for (const bool enforced : {false, true}) {
        for (const bool streamed : {false, true}) {
            setting s(enforced);
            s.provider.always(never_answers());
            const error why = s.fails({.total = 30s}, streamed);
            CHECK(why.kind() == error_kind::timeout);
            CHECK(why.message() == "no complete answer within 30 s");
            CHECK(s.world.elapsed() == 30s);
            s.world.run_for(0s);
            CHECK(s.provider.counts().in_flight == 0);
        }
    }
}

TEST_CASE("the first-event limit ends a call whose server stays silent", "[timeout]") {
    for (const bool enforced : {false, true}) {
        for (const bool streamed : {false, true}) {
            setting s(enforced);
            s.provider.then(never_answers()).then(says("a b").first_after(1h));
            for (int i = 0; i < 2; ++i) {
                const error why = s.fails({.first_event = 5s}, streamed);
                CHECK(why.message() == "no first event within 5 s");
            }
            CHECK(s.world.elapsed() == 10s);
            s.world.run_for(0s);
            CHECK(s.provider.counts().in_flight == 0);
        }
    }
}

TEST_CASE("the idle limit ends a stream that stalls", "[timeout]") {
    for (const bool enforced : {false, true}) {
        setting s(enforced);
        s.provider.always(says("a b c").first_after(1s).every(1s).stalls_after(2));
        const error why = s.fails({.first_event = 5s, .idle = 3s}, true);
        CHECK(why.message() == "no further event within 3 s");
        CHECK(s.world.elapsed() == 5s);
    }
}

TEST_CASE("a stream that trickles below the idle limit ends at its total", "[timeout]") {
    std::string endless;
    for (int i = 0; i < 2000; ++i) endless += "x ";
    for (const bool enforced : {false, true}) {
        setting s(enforced);
        s.provider.always(says(endless).every(900ms));
        CHECK(s.fails({.total = 20s, .idle = 1s}, true).kind() == error_kind::timeout);
        CHECK(s.world.elapsed() == 20s);
        SECTION("by default after ten minutes") {
            CHECK(s.fails({}, true).kind() == error_kind::timeout);
            CHECK(s.world.elapsed() == 20s + 10min);
        }
    }
}

TEST_CASE("a call within its limits passes unchanged", "[timeout]") {
    for (const bool enforced : {false, true}) {
        setting s(enforced);
        s.provider.always(says("a b").after(1s).first_after(1s).every(1s));
        const timeout_policy policy{.total = 10s, .first_event = 4s, .idle = 2s, .connect = 1s};
        CHECK(said(s.world, s.client(policy), ask_for(false)) == "a b|");
        CHECK(said(s.world, s.client(policy), ask_for(true)) == "a| b|||");
        CHECK(s.provider.counts().ended == 2);
        s.world.run();
        CHECK(s.world.clock().timers().size() == 0);
    }
}

TEST_CASE("limits only shorten", "[timeout]") {
    setting s(false);
    s.provider.always("hi");
    const auto seen = [&](const timeout_policy& policy, const request& ask) {
        said(s.world, s.client(policy), ask);
        return s.provider.last_request().options();
    };
    request ask = ask_for(false);
    ask.options().deadline.until = s.world.now() + 10s;
    ask.options().first_event = 2s;
    ask.options().idle = 3s;
    ask.options().connect = 4s;

    const auto looser = seen({.total = 60s, .first_event = 60s, .idle = 60s, .connect = 60s}, ask);
    CHECK(looser.deadline.until == s.world.now() + 10s);
    CHECK(looser.first_event == 2s);
    CHECK(looser.idle == 3s);
    CHECK(looser.connect == 4s);

    const auto tighter = seen({.total = 1s, .first_event = 1s, .idle = 1s, .connect = 1s}, ask);
    CHECK(tighter.deadline.until == s.world.now() + 1s);
    CHECK(tighter.first_event == 1s);
    CHECK(tighter.idle == 1s);
    CHECK(tighter.connect == 1s);

    const auto none = seen({}, ask_for(false));
    CHECK(none.deadline.until == time_point::max());
    CHECK(seen({}, ask_for(true)).deadline.until == s.world.now() + 10min);
    CHECK(seen({.total = 1h}, ask_for(true)).deadline.until == s.world.now() + 10min);
}

TEST_CASE("a timeout inside retry is that of one attempt, outside that of the call", "[timeout]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.then(never_answers()).then(never_answers()).then("hi");
    auto each = pipeline(provider) | timeout(5s) | retry({.first_wait = 1ms});
    CHECK(said(world, each, ask_for(false)) == "hi|");
    CHECK(provider.counts().begun == 3);

    provider.always(never_answers());
    const time_point before = world.now();
    auto whole = pipeline(provider) | timeout(5s) | retry({.first_wait = 1ms}) | timeout(7s);
    CHECK(said(world, whole, ask_for(false)) == "error: timeout");
    CHECK(world.now() - before == 7s);
    CHECK(provider.counts().begun == 5);
}

TEST_CASE("a stream that nobody reads is freed when its total passes", "[timeout]") {
    for (const bool enforced : {false, true}) {
        setting s(enforced);
        s.provider.always(says("a b c").every(1s));
        auto answer = s.world.wait(s.client({.total = 2s})(ask_for(true)));
        CHECK(s.provider.counts().in_flight == 1);
        s.world.run_for(3s);
        CHECK(s.provider.counts().in_flight == 0);
        CHECK(s.world.wait(read_all(std::move(answer))) == "error: timeout");
    }
}

TEST_CASE("the caller's cancellation is no timeout and frees everything", "[timeout]") {
    const auto script = says("a b").after(100ms).first_after(100ms).every(50ms);
    const timeout_policy policy{.total = 10s, .first_event = 1s, .idle = 1s};
    cancel_everywhere(
        [&](const scripted& provider) { return any_service(pipeline(provider) | timeout(policy)); },
        script, 400ms, 50ms);
}

TEST_CASE("a caller who leaves an enforced call cancels it", "[timeout]") {
    for (const duration at : {50ms, 150ms, 250ms}) {
        setting s(true);
        s.provider.always(says("a b").after(100ms).first_after(100ms).every(100ms));
        {
            child<std::string> call(s.world.clock(),
                                    ask_all(s.client({.total = 10s}), ask_for(true)));
            s.world.run_for(at);
            CHECK(s.provider.counts().in_flight == 1);
        }
        s.world.run_for(0s);
        CHECK(s.provider.counts().in_flight == 0);
        CHECK(s.provider.counts().cancelled == 1);
        CHECK(s.world.clock().timers().size() == 0);
    }
}

TEST_CASE("an enforced service outlives its owner until it has noticed", "[timeout]") {
    simulation::world world;
    auto told = std::make_shared<slow_to_notice::ending>();
    {
        // Without a pipeline, whose calls would keep it.
        const auto layer = timeout(1s).enforce();
        const any_service client(layer(slow_to_notice(world.clock(), told)));
        CHECK(said(world, client, ask_for(false)) == "error: timeout");
        CHECK(world.elapsed() == 1s);
    }
    world.run();
    CHECK(told->alive);
}

TEST_CASE("an enforced call may outlive the calls that shared it", "[timeout]") {
    simulation::world world;
    auto told = std::make_shared<slow_to_notice::ending>();
    const any_service client(pipeline(slow_to_notice(world.clock(), told)) |
                             timeout({.first_event = 5s}).enforce() | dedup());
    CHECK(said(world, client, ask_for(false)) == "error: timeout");
    world.run();
    CHECK(told->noticed);
}

namespace {

/// Gives events as long as they are asked for, or throws.
class flood final : public stream_source {
public:
    explicit flood(bool throws) : throws_(throws) {}
    task<stream_item> next() override { co_return event(bytes::literal("e")); }
    bool try_next(stream_item& into) override {
        if (throws_) throw std::runtime_error("out of paper");
        into = event(bytes::literal("e"));
        return true;
    }

private:
    bool throws_;
};

class flooding {
public:
    flooding(clock_handle time, bool throws) : time_(std::move(time)), throws_(throws) {}
    task<result<response>> operator()(request) const {
        response_head head;
        head.streamed = true;
        co_return response(std::move(head), event_stream(std::make_unique<flood>(throws_)));
    }
    clock_handle clock() const { return time_; }

private:
    clock_handle time_;
    bool throws_;
};

}  // namespace

TEST_CASE("an enforced stream whose events are always at hand ends at its total", "[timeout]") {
    background_loop loop;
    const clock_handle time(loop.get_executor());
    const any_service client(pipeline(flooding(time, false)) | timeout(2ms).enforce());
    const error why = loop.wait(setting::failure_of(client, ask_for(true)));
    CHECK(why.kind() == error_kind::timeout);
}

TEST_CASE("what an enforced stream throws is an error", "[timeout]") {
    simulation::world world;
    const any_service client(pipeline(flooding(world.clock(), true)) | timeout(1s).enforce());
    const error why = world.wait(setting::failure_of(client, ask_for(true)));
    CHECK(why.kind() == error_kind::internal);
    CHECK(why.message() == "out of paper");
}

TEST_CASE("what an enforced service throws is an error", "[timeout]") {
    simulation::world world;
    scripted provider(world.get_executor());
    auto client = pipeline(foreign(provider, true)) | timeout(1s).enforce();
    auto answer = world.wait(client(ask_for(false)));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::internal);
    CHECK(answer.error().message() == "out of paper");
}

TEST_CASE("closing the pipeline ends an enforced call", "[timeout]") {
    simulation::world world;
    scripted provider(world.get_executor());
    provider.always(says("a b c").every(1h));
    auto client = pipeline(foreign(provider)) | timeout(24h).enforce();
    child<std::string> call(world.clock(), ask_all(any_service(client), ask_for(true)));
    world.run_for(1s);
    CHECK_FALSE(world.wait(client.close(1s)));
    CHECK(world.wait(call.join()) == "a|error: closed");
}

}  // namespace test_layer_timeout
