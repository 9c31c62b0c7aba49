#include <llmkit/transport/resolver.hpp>

#include <condition_variable>
#include <map>
#include <thread>

#include <asio/executor_work_guard.hpp>

#include <llmkit/core/child.hpp>

#include "hand_clock.hpp"
#include "raw_server.hpp"
#include "test.hpp"

namespace test_transport_resolver {

using namespace llmkit;
using namespace llmkit_test;

namespace {

/// Name servers that do what a test says: "hangs…" answers once it is told to, "none…" never
/// knows anything, the others have one address. Outlives its test where a thread still waits.
class name_servers : public std::enable_shared_from_this<name_servers> {
public:
    detail::name_lookup asking() {
        return [self = shared_from_this()](const std::string& host) { return self->look_up(host); };
    }
    int asked(const std::string& host) {
        std::lock_guard lock(mutex_);
        return asked_[host];
    }
    void wait_until_asked(const std::string& host) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return asked_[host] > 0; });
    }
    void answer() {
        std::lock_guard lock(mutex_);
        answering_ = true;
        changed_.notify_all();
    }

private:
    detail::looked_up look_up(const std::string& host) {
        std::unique_lock lock(mutex_);
        ++asked_[host];
        changed_.notify_all();
        if (host.starts_with("hangs")) changed_.wait(lock, [&] { return answering_; });
        detail::looked_up out;
        if (host.starts_with("none")) {
            out.failed = "nobody knows it";
            return out;
        }
        out.found.push_back(asio::ip::make_address("192.0.2.1"));
        out.found.push_back(asio::ip::make_address("192.0.2.2"));
        return out;
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, int> asked_;
    bool answering_ = false;
};

struct bench {
    explicit bench(http_policy policy = {})
        : time(std::make_shared<hand_clock>(context.get_executor())) {
        asio::make_service<detail::clock_service>(context, time);
        const executor on = context.get_executor();
        names = std::make_shared<detail::resolver>(detail::socket_registry_service::of(on),
                                                   clock_handle(on), policy, servers->asking());
    }
    ~bench() {
        if (answers_at_end) servers->answer();
    }
    task<result<detail::addresses>> find(std::string host, limit until = {}) {
        return detail::resolver::find(names, std::move(host), until);
    }
    limit in(duration span) {
        limit until;
        until.until = time->now() + span;
        return until;
    }

    asio::io_context context;
    std::shared_ptr<hand_clock> time;
    std::shared_ptr<name_servers> servers = std::make_shared<name_servers>();
    std::shared_ptr<detail::resolver> names;
    bool answers_at_end = true;
};

task<void> kept_for_a_while(bench& at) {
    for (int i = 0; i < 3; ++i) {
        auto found = co_await at.find("a");
        REQUIRE(found);
        CHECK(found->size() == 2);
    }
    CHECK(at.servers->asked("a") == 1);
    at.time->pass(9s);
    REQUIRE(co_await at.find("a"));
    CHECK(at.servers->asked("a") == 1);
    at.time->pass(1s);
    REQUIRE(co_await at.find("a"));
    CHECK(at.servers->asked("a") == 2);
    at.names->forget("a");
    REQUIRE(co_await at.find("a"));
    CHECK(at.servers->asked("a") == 3);
}

task<void> failure_not_kept(bench& at) {
    for (int i = 1; i <= 2; ++i) {
        auto found = co_await at.find("none");
        REQUIRE(!found);
        CHECK(found.error().kind() == error_kind::resolve);
        CHECK(found.error().message() == "no address for host none (nobody knows it)");
        CHECK(at.servers->asked("none") == i);
    }
}

task<void> bounded_names(bench& at) {
    for (const char* host : {"a", "b", "a", "c"}) {
        REQUIRE(co_await at.find(host));
        at.time->pass(1ms);
    }
    REQUIRE(co_await at.find("c"));
    REQUIRE(co_await at.find("b"));
    CHECK(at.servers->asked("b") == 1);
    CHECK(at.servers->asked("c") == 1);
    REQUIRE(co_await at.find("a"));  // the oldest, which had to make room for c
    CHECK(at.servers->asked("a") == 2);
}

task<void> preferred(bench& at) {
    const auto second = asio::ip::make_address("192.0.2.2");
    REQUIRE(co_await at.find("a"));
    at.names->prefer("a", second);
    at.names->prefer("a", asio::ip::make_address("192.0.2.9"));
    at.names->prefer("b", second);
    auto found = co_await at.find("a");
    REQUIRE(found);
    CHECK(found->front() == second);
    CHECK(found->size() == 2);
}

task<void> waits(bench& at, std::string host, int& ended) {
    auto found = co_await at.find(std::move(host));
    if (found) ++ended;
}
task<void> in_spite_of_hanging(bench& at) {
    const clock_handle time(at.context.get_executor());
    int ended = 0;
    std::vector<child<void>> callers;
    for (int i = 0; i < 3; ++i) callers.emplace_back(time, waits(at, "hangs", ended));
    callers.emplace_back(time, waits(at, "hangs2", ended));
    for (const char* host : {"a", "b", "c"}) {
        auto found = co_await at.find(host);
        CHECK(found);
    }
    CHECK(ended == 0);
    at.servers->answer();
    for (auto& each : callers) co_await each.join();
    CHECK(ended == 4);
    CHECK(at.servers->asked("hangs") == 1);
}

task<void> all_hang(bench& at) {
    const clock_handle time(at.context.get_executor());
    int ended = 0;
    child<void> first(time, waits(at, "hangs", ended));
    child<void> second(time, waits(at, "a", ended));
    while (at.servers->asked("hangs") == 0)
        co_await asio::post(at.context.get_executor(), asio::use_awaitable);
    asio::post(at.context, [&at] { at.time->pass(20ms); });
    auto late = co_await at.find("b", at.in(10ms));
    REQUIRE(!late);
    CHECK(late.error().kind() == error_kind::timeout);
    second.cancel();
    bool threw = false;
    try {
        co_await second.join();
    } catch (const asio::system_error& failed) {
        threw = is_cancellation(failed);
    }
    CHECK(threw);
    at.servers->answer();
    co_await first.join();
    CHECK(ended == 1);
    REQUIRE(co_await at.find("c"));
    CHECK(at.servers->asked("a") == 0);  // nobody wanted them when their turn came
    CHECK(at.servers->asked("b") == 0);
}

task<void> gone_while_looking(bench& at, bool& resumed) {
    const auto found = co_await at.find("hangs");
    resumed = true;
}

}  // namespace

TEST_CASE("addresses are kept for a bounded time and can be forgotten", "[resolver]") {
    bench at;
    run_test(at.context, kept_for_a_while(at));
}

TEST_CASE("a failed lookup is not kept", "[resolver]") {
    bench at;
    run_test(at.context, failure_not_kept(at));
}

TEST_CASE("a bounded number of names is kept", "[resolver]") {
    bench at({.max_names = 2});
    run_test(at.context, bounded_names(at));
}

TEST_CASE("an address that answered is offered first from then on", "[resolver]") {
    bench at;
    run_test(at.context, preferred(at));
}

TEST_CASE("names are looked up beside one that hangs, and each once for all", "[resolver]") {
    bench at({.max_lookups = 3});
    run_test(at.context, in_spite_of_hanging(at));
}

TEST_CASE("callers leave a lookup that hangs, and what nobody wants is not begun", "[resolver]") {
    bench at({.max_lookups = 1});
    run_test(at.context, all_hang(at));
}

TEST_CASE("a context goes down while a lookup hangs", "[resolver]") {
    std::shared_ptr<name_servers> servers;
    bool resumed = false;
    std::weak_ptr<detail::resolver> names;
    {
        bench at;
        at.answers_at_end = false;
        servers = at.servers;
        names = at.names;
        asio::co_spawn(at.context, gone_while_looking(at, resumed), [](std::exception_ptr) {});
        at.context.poll();
        servers->wait_until_asked("hangs");
    }
    servers->answer();
    while (!names.expired()) std::this_thread::yield();  // its thread has ended
    CHECK(!resumed);
}

TEST_CASE("the operating system's names are looked up, and its failures told", "[resolver]") {
    CHECK(detail::system_lookup("localhost").found.front().is_loopback());
    const auto unknown = detail::system_lookup("name.invalid");
    CHECK(unknown.found.empty());
    CHECK(!unknown.failed.empty());
}

}  // namespace test_transport_resolver
