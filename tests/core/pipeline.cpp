#include <llmkit/core/pipeline.hpp>

#include <llmkit/core/any_service.hpp>
#include <llmkit/simulation/world.hpp>

#include <future>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "test.hpp"

namespace test_core_pipeline {

using namespace llmkit;
using namespace std::chrono_literals;
using simulation::world;

namespace {

struct counters {
    std::atomic<int> begun{0};
    std::atomic<int> alive{0};
};

struct presence {
    explicit presence(std::shared_ptr<counters> in) : in_(std::move(in)) { ++in_->alive; }
    presence(const presence&) = delete;
    ~presence() { --in_->alive; }
    std::shared_ptr<counters> in_;
};

class ticking final : public stream_source {
public:
    ticking(clock_handle time, int count, std::shared_ptr<counters> seen, request ask)
        : time_(std::move(time)), left_(count), here_(std::move(seen)), ask_(std::move(ask)) {}
    task<stream_item> next() override {
        if (left_-- == 0) co_return stream_item();
        const auto why = co_await sleep_until(time_, ask_.wait_limit(time_.now(), 1s));
        if (why == woke::by_close) co_return error(error_kind::closed, "closed");
        co_return event(bytes::literal("tick"));
    }

private:
    clock_handle time_;
    int left_;
    presence here_;
    request ask_;
};

// Answers after a second; a streamed call gets five ticks, a second apart.
class slow_service {
public:
    slow_service(clock_handle time, std::shared_ptr<counters> seen)
        : time_(std::move(time)), seen_(std::move(seen)) {}
    clock_handle clock() const { return time_; }
    std::string origin() const { return "slow"; }
    task<result<response>> operator()(request ask) { return call(time_, seen_, std::move(ask)); }

private:
    static task<result<response>> call(clock_handle time, std::shared_ptr<counters> seen,
                                       request ask) {
        ++seen->begun;
        presence here(seen);
        const auto why = co_await sleep_until(time, ask.wait_limit(time.now(), 1s));
        if (why == woke::by_close) co_return error(error_kind::closed, "closed");
        if (time.now() >= ask.options().deadline.effective()) {
            co_return error(error_kind::timeout, "too late");
        }
        response_head head;
        head.streamed = ask.options().streamed;
        if (head.streamed) {
            auto source = std::make_unique<ticking>(time, 5, seen, ask);
            co_return response(std::move(head), event_stream(std::move(source)));
        }
        event_facts facts;
        facts.last = true;
        co_return response(std::move(head), event_stream(event(bytes::copy(ask.body()), facts)));
    }

    clock_handle time_;
    std::shared_ptr<counters> seen_;
};

// Writes its name on the way down.
template <class Next>
class naming {
public:
    naming(Next next, char name) : next_(std::move(next)), name_(name) {}
    clock_handle clock() const { return next_.clock(); }
    task<result<response>> operator()(request ask) {
        return next_(ask.with_body(std::string(ask.body()) + name_));
    }

private:
    Next next_;
    char name_;
};
auto name(char c) {
    return make_layer([c](auto next) { return naming<decltype(next)>(std::move(next), c); });
}

task<std::string> body_of(any_service from, bool streamed = false) {
    request ask("op", std::string());
    ask.options().streamed = streamed;
    auto answer = co_await from(std::move(ask));
    if (!answer) co_return answer.error().to_string();
    std::string all;
    while (auto item = co_await answer->events().next()) all += item->data();
    if (answer->events().failed()) all += answer->events().error().message();
    co_return all;
}

}  // namespace

TEST_CASE("layers wrap from left to right, in either grouping", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    const slow_service base(w.clock(), seen);
    const auto one = pipeline(base) | name('a') | name('b') | name('c');
    const auto two = pipeline(base) | (name('a') | name('b') | name('c'));
    const auto three = pipeline(base) | name('a') | (name('b') | name('c'));
    for (const auto& p : {any_service(one), any_service(two), any_service(three)}) {
        CHECK(w.wait(body_of(p)) == "cba");
    }
}

TEST_CASE("partial stacks have names and are used again", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    const auto both = name('x') | name('y');
    auto first = pipeline(slow_service(w.clock(), seen)) | both;
    auto second = pipeline(slow_service(w.clock(), seen)) | both | both;
    CHECK(w.wait(body_of(any_service(first))) == "yx");
    CHECK(w.wait(body_of(any_service(second))) == "yxyx");
}

TEST_CASE("a named pipeline is shared, and goes on when its other handles go", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    std::optional<any_service> wrapped;
    {
        auto base = pipeline(slow_service(w.clock(), seen)) | name('a');
        wrapped.emplace(base | name('b'));
        CHECK(w.wait(body_of(any_service(base))) == "a");
    }
    CHECK(w.wait(body_of(*wrapped)) == "ba");
}

TEST_CASE("an origin passes through layers that do not know of it", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto p = pipeline(slow_service(w.clock(), seen)) | name('a') | (name('b') | name('c'));
    CHECK(p.origin() == "slow");
    CHECK((pipeline(any_service(p)) | name('d')).origin() == "slow");
}

TEST_CASE("a pipeline may be dropped or moved while its calls are in flight", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    std::optional<child<std::string>> unary, streamed;
    {
        auto p = pipeline(slow_service(w.clock(), seen)) | name('a');
        unary.emplace(w.clock(), body_of(any_service(p)));
        streamed.emplace(w.clock(), body_of(any_service(p), true));
        w.poll();
        auto moved = std::move(p);
        CHECK(moved.calls_in_flight() == 2);
    }
    CHECK(w.wait(unary->join()) == "a");
    CHECK(w.wait(streamed->join()) == "tickticktickticktick");
    CHECK(seen->alive == 0);
}

TEST_CASE("a stream keeps its pipeline and counts as in flight until it ends", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto p = pipeline(slow_service(w.clock(), seen));
    request ask("op", std::string());
    ask.options().streamed = true;
    auto answer = w.wait(p(std::move(ask)));
    CHECK(p.calls_in_flight() == 1);
    while (w.wait(answer->events().next())) {
    }
    CHECK(p.calls_in_flight() == 0);
}

TEST_CASE("closing waits for what is in flight and refuses what is new", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto p = pipeline(slow_service(w.clock(), seen)) | name('a');
    child<std::string> unary(w.clock(), body_of(any_service(p)));
    w.poll();
    child<bool> closing(w.clock(), p.close(10s));
    w.poll();
    auto late = w.wait(p(request("op", std::string())));
    REQUIRE_FALSE(late);
    CHECK(late.error().kind() == error_kind::closed);
    CHECK(w.wait(closing.join()));
    CHECK(w.elapsed() == 1s);
    CHECK(w.wait(unary.join()) == "a");
}

TEST_CASE("closing ends what outlasts the grace, with an error that says so", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto inner = pipeline(slow_service(w.clock(), seen));
    auto outer = inner | name('a');
    child<std::string> streamed(w.clock(), body_of(any_service(outer), true));
    child<std::string> other(w.clock(), body_of(any_service(inner), true));
    w.run_for(2500ms);
    CHECK_FALSE(w.wait(outer.close(1s)));
    CHECK(w.wait(streamed.join()) ==
          "ticktick"
          "closed");
    CHECK(w.elapsed() == 4s - 500ms);
    CHECK(w.wait(other.join()) == "tickticktickticktick");  // not the outer pipeline's call
}

TEST_CASE("a stream that its owner never reads does not hold up closing for ever", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto p = pipeline(slow_service(w.clock(), seen));
    request ask("op", std::string());
    ask.options().streamed = true;
    auto held = w.wait(p(std::move(ask)));
    CHECK_FALSE(w.wait(p.close(1s)));
    CHECK(w.elapsed() <= 4s);
}

TEST_CASE("a call's relative limit begins when it enters the pipeline", "[pipeline]") {
    world w;
    auto seen = std::make_shared<counters>();
    auto p = pipeline(slow_service(w.clock(), seen));
    request ask("op", std::string());
    ask.options().timeout = 500ms;
    w.run_for(10s);
    auto answer = w.wait(p(ask));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().kind() == error_kind::timeout);
    CHECK(w.elapsed() == 10500ms);
    CHECK(ask.options().timeout == 500ms);  // the caller's copy stays as it was
}

TEST_CASE("background work is stopped by closing and by dropping the last handle", "[pipeline]") {
    const auto work = [](clock_handle time, std::shared_ptr<counters> seen) -> task<void> {
        presence here(seen);
        co_await sleep_for(time, 1h);
    };
    world w;
    auto seen = std::make_shared<counters>();
    std::shared_ptr<const call_link> link;
    {
        // What a layer does: take the link of a call and start work in its scope.
        struct spying {
            slow_service next;
            std::shared_ptr<const call_link>* out;
            clock_handle clock() const { return next.clock(); }
            task<result<response>> operator()(request ask) {
                *out = ask.options().link->detached();
                return next(std::move(ask));
            }
        };
        auto spied = pipeline(spying{slow_service(w.clock(), seen), &link});
        w.wait(body_of(any_service(spied)));
        CHECK(link->background().spawn(work(w.clock(), seen)));
        w.poll();
        CHECK(seen->alive == 1);
        CHECK(spied.background_work() == 1);
    }
    w.poll();
    CHECK(seen->alive == 0);  // the last handle has gone
    CHECK_FALSE(link->background().spawn(work(w.clock(), seen)));
}

TEST_CASE("any call takes a completion token", "[pipeline]") {
    asio::thread_pool pool(1);
    auto seen = std::make_shared<counters>();
    class instant {
    public:
        explicit instant(clock_handle t) : time(std::move(t)) {}
        clock_handle clock() const { return time; }
        task<result<response>> operator()(request) {
            co_return error(error_kind::not_found, "nobody here");
        }
        clock_handle time;
    };
    auto p = pipeline(instant(clock_handle(pool.get_executor())));
    auto answer = p.chat(chat_request("m").user("Hi"), asio::use_future).get();
    CHECK(answer.error().kind() == error_kind::not_found);
    auto stream = p.stream(chat_request("m").user("Hi"), asio::use_future).get();
    CHECK(asio::co_spawn(pool, stream.next(), asio::use_future).get().text().empty());
    CHECK(stream.failed());
    CHECK(p.embed(embed_request("m").input("a"), asio::use_future).get().error().kind() ==
          error_kind::not_found);
    pool.join();
}

TEST_CASE("pipelines are called, copied, dropped and closed on two threads", "[pipeline]") {
    asio::thread_pool pool(2);
    clock_handle time(pool.get_executor());
    auto seen = std::make_shared<counters>();
    class quick {
    public:
        quick(clock_handle t, std::shared_ptr<counters> c) : time(std::move(t)), in(std::move(c)) {}
        clock_handle clock() const { return time; }
        task<result<response>> operator()(request ask) { return call(time, in, std::move(ask)); }
        static task<result<response>> call(clock_handle t, std::shared_ptr<counters> c, request) {
            presence here(c);
            co_await sleep_for(t, std::chrono::microseconds(20));
            co_return error(error_kind::not_found, "nobody here");
        }
        clock_handle time;
        std::shared_ptr<counters> in;
    };
    const auto caller = [](pipeline<quick> p) -> task<int> {
        int answered = 0;
        for (int i = 0; i < 50; ++i) {
            auto copy = p;
            auto answer = co_await copy(request("op", std::string()));
            answered += answer.error().kind() == error_kind::not_found;
        }
        co_return answered;
    };
    std::vector<std::future<int>> ends;
    std::future<bool> closed;
    {
        auto p = pipeline(quick(time, seen));
        for (int i = 0; i < 6; ++i) {
            ends.push_back(asio::co_spawn(asio::make_strand(pool), caller(p), asio::use_future));
        }
        std::this_thread::yield();
        closed = asio::co_spawn(asio::make_strand(pool), p.close(10s), asio::use_future);
    }
    int answered = 0;
    for (auto& end : ends) answered += end.get();
    CHECK(closed.get());
    CHECK(answered <= 300);
    CHECK(seen->alive == 0);
    pool.join();
}

}  // namespace test_core_pipeline
