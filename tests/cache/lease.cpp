#include <llmkit/cache/lease.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/memory.hpp>
#include <llmkit/cache/tiered.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "test.hpp"

namespace test_cache_lease {

using namespace llmkit;
using namespace std::chrono_literals;
using testing::says;
using testing::scripted;

namespace {

/// A store that several processes share, in virtual time: each step takes a millisecond.
class far_store {
public:
    explicit far_store(clock_handle time) : core_(std::make_shared<core>(std::move(time))) {}

    std::string_view name() const { return "far"; }
    task<result<cache_hit>> find(key128 key, time_point, limit) const { return find(core_, key); }
    task<result<void>> put(key128 key, std::shared_ptr<const cache_entry> entry, time_point,
                           limit) const {
        return put(core_, key, std::move(entry));
    }
    task<result<void>> erase(key128, limit) const { return step(core_); }
    task<result<std::shared_ptr<cache_lease>>> lease(key128 key, limit) const {
        return lease(core_, key);
    }

    std::size_t held() const {
        std::size_t sum = 0;
        for (const auto& [key, one] : core_->leases) sum += one.until > core_->time.now();
        return sum;
    }
    int finds() const { return core_->finds; }
    int renewals() const { return core_->renewals; }
    /// Every key is held from when it is first asked for, by somebody who does nothing more.
    void hold_by_the_dead() const { core_->dead = true; }
    void fail_leases() const { core_->broken = true; }

    static constexpr duration term = 3s;

private:
    struct holding {
        int token = 0;
        time_point until;
    };
    struct core {
        explicit core(clock_handle clock) : time(std::move(clock)) {}
        const clock_handle time;
        memory_cache kept{100};
        std::map<key128, holding> leases;
        int tokens = 0;
        int finds = 0;
        int renewals = 0;
        bool broken = false;
        bool dead = false;
    };
    class held_lease final : public cache_lease {
    public:
        held_lease(std::shared_ptr<core> in, key128 key, int token)
            : in_(std::move(in)), key_(key), token_(token) {}
        duration term() const override { return far_store::term; }
        task<result<bool>> renew(limit) override {
            co_await sleep_for(in_->time, 1ms);
            ++in_->renewals;
            auto& one = in_->leases[key_];
            if (one.token != token_ || one.until <= in_->time.now()) co_return false;
            one.until = in_->time.now() + far_store::term;
            co_return true;
        }
        task<void> release(limit) override {
            co_await sleep_for(in_->time, 1ms);
            if (in_->leases[key_].token == token_) in_->leases.erase(key_);
        }

    private:
        const std::shared_ptr<core> in_;
        const key128 key_;
        const int token_;
    };

    static task<result<void>> step(std::shared_ptr<core> in) {
        co_await sleep_for(in->time, 1ms);
        co_return result<void>();
    }
    static task<result<cache_hit>> find(std::shared_ptr<core> in, key128 key) {
        co_await sleep_for(in->time, 1ms);
        ++in->finds;
        co_return in->kept.try_find(key, in->time.now());
    }
    static task<result<void>> put(std::shared_ptr<core> in, key128 key,
                                  std::shared_ptr<const cache_entry> entry) {
        co_await sleep_for(in->time, 1ms);
        in->kept.try_put(key, std::move(entry), in->time.now());
        co_return result<void>();
    }
    static task<result<std::shared_ptr<cache_lease>>> lease(std::shared_ptr<core> in, key128 key) {
        co_await sleep_for(in->time, 1ms);
        if (in->broken) co_return error(error_kind::connect, "away");
        const bool first = !in->leases.contains(key);
        auto& one = in->leases[key];
        if (first && in->dead) one = {-1, in->time.now() + term};
        std::shared_ptr<cache_lease> got;
        if (one.until <= in->time.now()) {
            one.token = ++in->tokens;
            one.until = in->time.now() + term;
            got = std::make_shared<held_lease>(in, key, one.token);
        }
        co_return got;
    }
    std::shared_ptr<core> core_;
};
static_assert(leasing_cache_backend<far_store>);

/// Several processes over one provider and one store.
struct fleet {
    explicit fleet(cache_policy with = {}) : policy(with) {}

    auto process() { return pipeline(provider) | dedup() | cache(store, policy); }
    template <class Client>
    void begin(Client client, duration span = 10min, bool streamed = false) {
        chat_request ask("m");
        ask.user("Hi").timeout(span);
        if (streamed) {
            asio::co_spawn(world.get_executor(), read(client, ask, texts),
                           [](std::exception_ptr) {});
        } else {
            asio::co_spawn(world.get_executor(), call(client, ask, texts),
                           [](std::exception_ptr) {});
        }
    }
    template <class Client>
    static task<void> call(Client client, chat_request ask, std::vector<std::string>& into) {
        auto answer = co_await client.chat(ask);
        into.push_back(answer ? std::string(answer->text()) : answer.error().to_string());
    }
    template <class Client>
    static task<void> read(Client client, chat_request ask, std::vector<std::string>& into) {
        auto stream = co_await client.stream(ask);
        std::string all;
        while (auto delta = co_await stream.next()) all += delta.text();
        into.push_back(all);
    }
    std::size_t said(const std::string& text) const {
        return static_cast<std::size_t>(std::count(texts.begin(), texts.end(), text));
    }

    simulation::world world;
    cache_policy policy;
    scripted provider{world.get_executor()};
    far_store store{world.clock()};
    std::vector<std::string> texts;
};

}  // namespace

TEST_CASE("of many calls in many processes one asks, and all have its answer", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(5s));
    auto a = all.process();
    auto b = all.process();
    auto c = all.process();
    for (int i = 0; i < 20; ++i) {
        all.begin(a);
        all.begin(b);
        all.begin(c);
    }
    all.world.run_for(5500ms);
    CHECK(all.said("Hello") == 60);
    CHECK(all.provider.counts().begun == 1);
    all.world.run_for(1s);
    CHECK(all.store.held() == 0);  // given up once the answer was stored
    // One of each process goes to the store again and again, not all twenty.
    CHECK(all.store.finds() < 400);
}

TEST_CASE("a lease is renewed for as long as the answer takes", "[lease]") {
    fleet all({.lease_wait = 5min});
    all.provider.always(says("Hello").after(60s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(1s);
    all.begin(b);
    all.world.run_for(65s);
    CHECK(all.said("Hello") == 2);
    CHECK(all.provider.counts().begun == 1);
    CHECK(all.store.renewals() > 30);
}

TEST_CASE("a lease whose holder died runs out, and one other takes it", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(1s));
    all.store.hold_by_the_dead();
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.begin(b);
    all.world.run_for(far_store::term - 1ms);
    CHECK(all.provider.counts().begun == 0);
    all.world.run_for(1500ms);
    CHECK(all.said("Hello") == 2);
    CHECK(all.provider.counts().begun == 1);
}

TEST_CASE("a call waits no longer for another process than the policy says", "[lease]") {
    fleet all({.lease_wait = 2s});
    all.provider.always(says("Hello").after(60s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(1s);
    all.begin(b);
    all.world.run_for(1900ms);
    CHECK(all.provider.counts().begun == 1);
    all.world.run_for(300ms);
    CHECK(all.provider.counts().begun == 2);
}

TEST_CASE("a call that wants a stream does not wait, unless the policy says so", "[lease]") {
    const bool waits = GENERATE(false, true);
    fleet all({.lease_wait_streamed = waits ? 30s : 0s});
    all.provider.always(says("Hello").after(5s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(1s);
    all.begin(b, 10min, true);
    all.world.run_for(20ms);
    CHECK(all.provider.counts().begun == (waits ? 1 : 2));
    all.world.run_for(6s);
    CHECK(all.said("Hello") == 2);
}

TEST_CASE("when the holder fails the next process asks at once", "[lease]") {
    fleet all;
    all.provider.then(testing::fails(error_kind::overloaded).after(1s));
    all.provider.always(says("Hello").after(1s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(100ms);
    all.begin(b);
    all.world.run_for(2300ms);
    CHECK(all.said("Hello") == 1);
    CHECK(all.texts.size() == 2);
    CHECK(all.provider.counts().begun == 2);
}

TEST_CASE("a refusal that is kept is given to those who waited", "[lease]") {
    fleet all({.negative_ttl = 1min});
    all.provider.always(testing::fails(error_kind::invalid_request).after(1s));
    auto a = all.process();
    auto b = all.process();
    for (int i = 0; i < 5; ++i) {
        all.begin(a);
        all.begin(b);
    }
    all.world.run_for(3s);
    CHECK(all.texts.size() == 10);
    CHECK(all.provider.counts().begun == 1);
}

TEST_CASE("a store whose leases fail holds nobody up", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(1s));
    all.store.fail_leases();
    auto a = all.process();
    all.begin(a);
    all.world.run_for(1100ms);
    CHECK(all.said("Hello") == 1);
}

TEST_CASE("who leaves while he waits at the store hands his place on", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(5s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(100ms);
    all.begin(b, 500ms);  // is at the store for the others of its process
    all.world.run_for(10ms);
    for (int i = 0; i < 5; ++i) all.begin(b);
    all.world.run_for(6s);
    CHECK(all.said("Hello") == 6);
    CHECK(all.texts.size() == 7);
    CHECK(all.provider.counts().begun <= 2);  // he whose time is up asks, and is told so
}

TEST_CASE("a call that is cancelled while it waits leaves nothing behind", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(5s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(100ms);
    asio::cancellation_signal stop;
    bool cancelled = false;
    b.chat(
        chat_request("m").user("Hi"),
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr why, result<completion>) {
            cancelled = why != nullptr;
        }));
    all.world.run_for(55ms);
    all.begin(b);
    stop.emit(asio::cancellation_type::terminal);
    all.world.poll();
    CHECK(cancelled);
    all.world.run_for(6s);
    CHECK(all.said("Hello") == 2);
    CHECK(all.provider.counts().begun == 1);
}

TEST_CASE("processes with a memory of their own in front of the store agree as well", "[lease]") {
    const bool behind = GENERATE(false, true);
    fleet all;
    all.provider.always(says("Hello").after(5s));
    const auto process = [&] {
        auto levels = tiered(memory_cache(10), all.store);
        if (behind) levels.write_behind();
        return pipeline(all.provider) | dedup() | cache(levels, all.policy);
    };
    auto a = process();
    auto b = process();
    auto c = process();
    for (int i = 0; i < 5; ++i) {
        all.begin(a);
        all.begin(b);
        all.begin(c);
    }
    all.world.run_for(6s);
    CHECK(all.said("Hello") == 15);
    CHECK(all.provider.counts().begun == 1);
    CHECK(all.store.held() == 0);
}

TEST_CASE("an old answer is refreshed by one process", "[lease]") {
    fleet all({.ttl = 1min, .stale_while_revalidate = 1h});
    all.provider.always(says("Hello").after(1s));
    auto a = all.process();
    auto b = all.process();
    all.begin(a);
    all.world.run_for(2min);
    CHECK(all.provider.counts().begun == 1);
    for (int i = 0; i < 10; ++i) {
        all.begin(a);
        all.begin(b);
    }
    all.world.run_for(5s);
    CHECK(all.said("Hello") == 21);
    CHECK(all.provider.counts().begun == 2);
}

TEST_CASE("no lease is taken where nobody may wait for one", "[lease]") {
    fleet all({.lease_wait = 0s});
    all.provider.always(says("Hello").after(5s));
    auto a = all.process();
    all.begin(a);
    all.world.run_for(1s);
    CHECK(all.store.held() == 0);
    all.world.run_for(5s);
    CHECK(all.said("Hello") == 1);
}

TEST_CASE("closing a pipeline gives up its leases", "[lease]") {
    fleet all;
    all.provider.always(says("Hello").after(60s));
    {
        auto a = all.process();
        all.begin(a);
        all.world.run_for(1s);
        CHECK(all.store.held() == 1);
        all.world.wait(a.close(1s));
    }
    all.world.run_for(1s);
    CHECK(all.store.held() == 0);
}

}  // namespace test_cache_lease
