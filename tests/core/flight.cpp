#include <llmkit/core/flight.hpp>

#include <llmkit/simulation/world.hpp>

#include <future>
#include <thread>

#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include "test.hpp"

namespace test_core_flight {

using namespace llmkit;
using namespace std::chrono_literals;
using simulation::world;

namespace {

struct upstream {
    std::atomic<int> pulled{0};
    std::atomic<int> waits{0};
    std::atomic<int> alive{0};
};

class counting final : public stream_source {
public:
    counting(clock_handle time, duration pause, int count, std::shared_ptr<upstream> seen,
             int fail_at = -1, std::size_t size = 0)
        : time_(std::move(time)),
          pause_(pause),
          count_(count),
          seen_(std::move(seen)),
          fail_at_(fail_at),
          size_(size) {
        ++seen_->alive;
    }
    ~counting() override { --seen_->alive; }
    task<stream_item> next() override {
        if (pause_ > 0s) co_await sleep_for(time_, pause_);
        ++seen_->waits;
        stream_item item;
        give(item);
        co_return item;
    }
    // Without a pause every event is at hand, but for the eleventh of a dozen.
    bool try_next(stream_item& into) override {
        if (pause_ > 0s || next_ % 12 == 10) return false;
        give(into);
        return true;
    }

private:
    void give(stream_item& into) {
        into = stream_item();
        if (next_ == fail_at_) into = error(error_kind::truncated, "cut");
        if (next_ == fail_at_ || next_ == count_) return;
        ++seen_->pulled;
        std::string text = std::to_string(next_++);
        text.resize(std::max(size_, text.size()), ' ');
        into = event(bytes(std::move(text)));
    }

    clock_handle time_;
    duration pause_;
    int next_ = 0;
    int count_;
    std::shared_ptr<upstream> seen_;
    int fail_at_;
    std::size_t size_;
};

/// Events that are there.
class prepared final : public stream_source {
public:
    explicit prepared(std::vector<event> all) : all_(std::move(all)) {}
    task<stream_item> next() override {
        if (next_ == all_.size()) co_return stream_item();
        co_return all_[next_++];
    }

private:
    std::vector<event> all_;
    std::size_t next_ = 0;
};

task<result<response>> answer_with(clock_handle time, duration head_after,
                                   std::unique_ptr<stream_source> source) {
    co_await sleep_for(time, head_after);
    response made(response_head(), event_stream(std::move(source)));
    co_return made;
}

struct outcome_of {
    int events = 0;
    bool in_order = true;
    std::optional<error> failed;
};

task<outcome_of> read(flight_seat seat, clock_handle time, duration pause, limit until = limit()) {
    outcome_of seen;
    auto answer = co_await flight_seat::answer(std::move(seat), until);
    if (!answer) {
        seen.failed = answer.error();
        co_return seen;
    }
    while (auto item = co_await answer->events().next()) {
        seen.in_order = seen.in_order && std::stoi(std::string(item->data())) == seen.events;
        ++seen.events;
        if (pause > 0s) co_await sleep_for(time, pause);
    }
    if (answer->events().failed()) seen.failed = answer->events().error();
    co_return seen;
}

flight_seat fly(const clock_handle& time, std::shared_ptr<upstream> seen, duration pause, int count,
                flight_policy policy = flight_policy(), int fail_at = -1, std::size_t size = 0) {
    auto seat = flight::prepare(time, policy);
    seat.shared()->launch(answer_with(
        time, 1s, std::make_unique<counting>(time, pause, count, std::move(seen), fail_at, size)));
    return seat;
}

}  // namespace

TEST_CASE("a late joiner gets every earlier event once and then the live ones", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto first = fly(w.clock(), seen, 1s, 20);
    auto shared = first.shared();
    child<outcome_of> a(w.clock(), read(std::move(first), w.clock(), 0s));
    w.run_for(10500ms);
    child<outcome_of> b(w.clock(), read(std::move(*shared->join()), w.clock(), 0s));
    const auto one = w.wait(a.join()), two = w.wait(b.join());
    CHECK(one.events == 20);
    CHECK(two.events == 20);
    CHECK((one.in_order && two.in_order));
    CHECK(seen->pulled == 20);
}

TEST_CASE("the first reader may leave: the others go on", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto first = fly(w.clock(), seen, 1s, 20);
    auto shared = first.shared();
    std::optional<child<outcome_of>> leader(std::in_place, w.clock(),
                                            read(std::move(first), w.clock(), 0s));
    child<outcome_of> follower(w.clock(), read(std::move(*shared->join()), w.clock(), 0s));
    w.run_for(5500ms);
    leader.reset();
    CHECK(w.wait(follower.join()).events == 20);
    CHECK(seen->pulled == 20);
}

TEST_CASE("when the last reader leaves, the call is cancelled at once", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    {
        auto first = fly(w.clock(), seen, 1s, 20);
        child<outcome_of> only(w.clock(), read(std::move(first), w.clock(), 0s));
        w.run_for(5500ms);
        CHECK(seen->alive == 1);
    }
    w.poll();
    CHECK(seen->alive == 0);
    CHECK(w.clock().timers().size() == 0);
}

TEST_CASE("a call is cancelled too while its head is still awaited", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    {
        auto first = fly(w.clock(), seen, 1s, 20);
        w.poll();
    }
    w.poll();
    CHECK(seen->alive == 0);
    CHECK(w.clock().timers().size() == 0);
}

TEST_CASE("nothing is pulled further ahead than the window", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto seat = fly(w.clock(), seen, 0s, 1000);
    auto answer = w.wait(flight_seat::answer(std::move(seat), limit()));
    w.run();
    CHECK(seen->pulled == 16);
    for (int i = 0; i < 16; ++i) REQUIRE(w.wait(answer->events().next()));
    w.run();
    CHECK(seen->pulled == 16);
    REQUIRE(w.wait(answer->events().next()));
    w.run();
    CHECK(seen->pulled <= 17 + 2 * 16);  // what the reader has taken at once, and the window
}

TEST_CASE("a window of one event pulls one event ahead", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    flight_policy narrow;
    narrow.window = 1;
    auto seat = fly(w.clock(), seen, 0s, 100, narrow);
    auto answer = w.wait(flight_seat::answer(std::move(seat), limit()));
    for (int read = 1; read <= 100; ++read) {
        REQUIRE(w.wait(answer->events().next()));
        w.run();
        CHECK(seen->pulled <= read + 1);
    }
}

TEST_CASE("a reader takes what is at hand himself and leaves the waiting to the pump", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto seat = fly(w.clock(), seen, 0s, 100);
    auto answer = w.wait(flight_seat::answer(std::move(seat), limit()));
    w.run();
    CHECK(seen->pulled == 16);
    CHECK(seen->waits == 1);  // for the eleventh
    stream_item item;
    for (int i = 0; i < 22; ++i) REQUIRE(answer->events().try_next(item));
    CHECK(seen->pulled == 22);
    CHECK_FALSE(answer->events().try_next(item));  // which wakes the pump
    w.run();
    CHECK(seen->waits >= 2);
    REQUIRE(answer->events().try_next(item));
    CHECK(item->data() == "22");
    auto rest = std::move(*answer);
    int count = 23;
    while (w.wait(rest.events().next())) ++count;
    CHECK(count == 100);
}

TEST_CASE("a reader's limit holds also where every event is at hand", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    limit until;
    until.until = w.now() + 2s;
    auto answer = w.wait(flight_seat::answer(fly(w.clock(), seen, 0s, 1000), until));
    w.run_for(5s);
    auto& events = answer->events();
    int count = 0;
    while (w.wait(events.next())) ++count;
    CHECK(count == 16);
    REQUIRE(events.failed());
    CHECK(events.error().kind() == error_kind::timeout);
}

TEST_CASE("events without data fill the log, too", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    flight_policy small;
    small.log_bytes = 50 * sizeof(event);
    auto first = fly(w.clock(), seen, 1ms, 1000, small);
    auto shared = first.shared();
    child<outcome_of> quick(w.clock(), read(std::move(first), w.clock(), 0s));
    w.run_for(1020ms);
    CHECK(shared->join());
    w.run_for(100ms);
    CHECK_FALSE(shared->join());
    CHECK(w.wait(quick.join()).events == 1000);
}

TEST_CASE("a slow reader neither stalls the others nor grows memory without bound", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    flight_policy small;
    small.log_bytes = 10'000;
    auto first = fly(w.clock(), seen, 10ms, 1000, small, -1, 100);
    auto shared = first.shared();
    child<outcome_of> quick(w.clock(), read(std::move(first), w.clock(), 0s));
    child<outcome_of> slow(w.clock(), read(std::move(*shared->join()), w.clock(), 1s));
    CHECK(w.wait(quick.join()).events == 1000);
    CHECK(w.elapsed() < 12s);
    const auto left_behind = w.wait(slow.join());
    REQUIRE(left_behind.failed);
    CHECK(left_behind.failed->kind() == error_kind::too_slow);
    CHECK(left_behind.in_order);
    CHECK_FALSE(shared->join());  // its beginning is gone
}

TEST_CASE("events without data count in the log as well", "[flight]") {
    world w;
    flight_policy small;
    small.log_bytes = 100 * sizeof(event);
    std::vector<event> empty(1000, event(bytes()));
    auto seat = flight::prepare(w.clock(), small);
    auto shared = seat.shared();
    shared->launch(answer_with(w.clock(), 1s, std::make_unique<prepared>(std::move(empty))));
    auto late = w.wait(flight_seat::answer(std::move(*shared->join()), limit()));
    auto quick = w.wait(flight_seat::answer(std::move(seat), limit()));
    for (int i = 0; i < 80; ++i) REQUIRE(w.wait(quick->events().next()));
    CHECK(shared->join());
    REQUIRE(w.wait(late->events().next()));
    while (w.wait(quick->events().next())) {
    }
    CHECK_FALSE(quick->events().failed());
    int taken = 1;
    while (w.wait(late->events().next())) ++taken;
    CHECK(taken == 16);  // at once, when it read its first
    REQUIRE(late->events().failed());
    CHECK(late->events().error().kind() == error_kind::too_slow);
}

TEST_CASE("the reader in front loses nothing, however small the log", "[flight]") {
    const std::size_t kept = GENERATE(0U, 1U, 500U);
    world w;
    auto seen = std::make_shared<upstream>();
    flight_policy tiny;
    tiny.log_bytes = kept;
    auto seat = fly(w.clock(), seen, 0s, 50, tiny, -1, 100);
    auto answer = w.wait(flight_seat::answer(std::move(seat), limit()));
    w.run();
    CHECK(seen->pulled <= 3);  // what the log holds, not the window
    int events = 0;
    while (w.wait(answer->events().next())) {
        ++events;
        w.run();
    }
    CHECK_FALSE(answer->events().failed());
    CHECK(events == 50);
}

TEST_CASE("a failure reaches every reader once, and nobody joins a failed call", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto first = fly(w.clock(), seen, 1s, 20, flight_policy(), 3);
    auto shared = first.shared();
    child<outcome_of> a(w.clock(), read(std::move(first), w.clock(), 0s));
    child<outcome_of> b(w.clock(), read(std::move(*shared->join()), w.clock(), 0s));
    for (auto* reader : {&a, &b}) {
        const auto end = w.wait(reader->join());
        CHECK(end.events == 3);
        REQUIRE(end.failed);
        CHECK(end.failed->kind() == error_kind::truncated);
    }
    CHECK_FALSE(shared->join());
}

TEST_CASE("a reader's own limit ends his wait and nobody else's", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto first = fly(w.clock(), seen, 1s, 20);
    auto shared = first.shared();
    limit soon;
    soon.until = w.now() + 5500ms;
    child<outcome_of> patient(w.clock(), read(std::move(first), w.clock(), 0s));
    child<outcome_of> hasty(w.clock(), read(std::move(*shared->join()), w.clock(), 0s, soon));
    const auto cut = w.wait(hasty.join());
    CHECK(w.elapsed() == 5500ms);
    REQUIRE(cut.failed);
    CHECK(cut.failed->kind() == error_kind::timeout);
    CHECK(w.wait(patient.join()).events == 20);
}

TEST_CASE("of those who share an answer exactly one may store it", "[flight]") {
    world w;
    auto seen = std::make_shared<upstream>();
    auto first = fly(w.clock(), seen, 1s, 3);
    auto shared = first.shared();
    auto a = w.wait(flight_seat::answer(std::move(first), limit()));
    auto b = w.wait(flight_seat::answer(std::move(*shared->join()), limit()));
    CHECK(b->head().claim->take());
    CHECK_FALSE(a->head().claim->take());
    while (w.wait(a->events().next())) {
    }
    while (w.wait(b->events().next())) {
    }
    // Joinable until the last claim is let go of, although the answer has ended.
    CHECK(shared->join());
    a->head().claim.reset();
    b->head().claim.reset();
    CHECK_FALSE(shared->join());
}

TEST_CASE("work that throws fails its readers instead of leaving them waiting", "[flight]") {
    world w;
    auto seat = flight::prepare(w.clock(), flight_policy());
    const auto work = []() -> task<result<response>> {
        throw std::runtime_error("layer bug");
        co_return error();
    };
    seat.shared()->launch(work());
    const auto end = w.wait(read(std::move(seat), w.clock(), 0s));
    REQUIRE(end.failed);
    CHECK(end.failed->kind() == error_kind::internal);
    CHECK(end.failed->message() == "layer bug");
}

TEST_CASE("a flight survives the end of its context, in either order", "[flight]") {
    auto seen = std::make_shared<upstream>();
    SECTION("context first") {
        std::optional<result<response>> answer;
        {
            world w;
            answer.emplace(w.wait(flight_seat::answer(fly(w.clock(), seen, 1s, 20), limit())));
            w.run_for(3s);
        }
        CHECK(seen->alive == 0);
    }
    SECTION("answer first") {
        world w;
        {
            auto answer = w.wait(flight_seat::answer(fly(w.clock(), seen, 1s, 20), limit()));
        }
    }
    SECTION("readers parked") {
        world w;
        auto first = fly(w.clock(), seen, 1s, 20);
        auto second = *first.shared()->join();
        child<outcome_of> a(w.clock(), read(std::move(first), w.clock(), 0s));
        child<outcome_of> b(w.clock(), read(std::move(second), w.clock(), 0s));
        w.run_for(3500ms);
    }
}

TEST_CASE("a flight cancelled after any number of steps frees everything", "[flight]") {
    for (int steps = 0; steps < 60; ++steps) {
        world w;
        auto seen = std::make_shared<upstream>();
        {
            auto first = fly(w.clock(), seen, 1ms, 5);
            auto second = *first.shared()->join();
            child<outcome_of> a(w.clock(), read(std::move(first), w.clock(), 0s));
            child<outcome_of> b(w.clock(), read(std::move(second), w.clock(), 2ms));
            w.run_for(std::chrono::microseconds(steps * 200));
        }
        w.poll();
        INFO("steps " << steps);
        CHECK(seen->alive == 0);
        CHECK(w.clock().timers().size() == 0);
    }
}

TEST_CASE("readers on two threads join and leave a flight without a race", "[flight]") {
    asio::thread_pool pool(2);
    clock_handle time(pool.get_executor());
    std::atomic<int> whole{0};
    const auto reader = [](flight_seat seat, clock_handle now, int stop_at,
                           std::atomic<int>& complete) -> task<void> {
        auto answer = co_await flight_seat::answer(std::move(seat), limit());
        int count = 0;
        while (count != stop_at) {
            auto item = co_await answer->events().next();
            if (!item) break;
            ++count;
            if (count % 10 == 0) co_await sleep_for(now, std::chrono::microseconds(5));
        }
        if (count == 100) ++complete;
    };
    for (int round = 0; round < 20; ++round) {
        auto seen = std::make_shared<upstream>();
        auto seat = flight::prepare(time, flight_policy());
        auto shared = seat.shared();
        std::vector<std::future<void>> ends;
        for (int i = 0; i < 6; ++i) {
            auto joined = shared->join();
            ends.push_back(asio::co_spawn(asio::make_strand(pool),
                                          reader(std::move(*joined), time, i % 2 ? 100 : 30, whole),
                                          asio::use_future));
        }
        const duration pause = round % 2 ? 1us : 0us;
        shared->launch(answer_with(time, 0s, std::make_unique<counting>(time, pause, 100, seen)));
        {
            auto dropped = std::move(seat);
        }
        for (auto& end : ends) end.get();
    }
    CHECK(whole == 60);
    pool.join();
}

TEST_CASE("a reader may go on when the context has gone, and is told", "[flight]") {
    auto io = std::make_unique<asio::io_context>();
    auto seen = std::make_shared<upstream>();
    std::optional<response> answer;
    {
        const clock_handle time(io->get_executor());
        auto seat = flight::prepare(time, flight_policy());
        seat.shared()->launch(
            answer_with(time, 0s, std::make_unique<counting>(time, 0s, 100'000, seen)));
        asio::co_spawn(
            *io, flight_seat::answer(std::move(seat), limit()),
            [&](std::exception_ptr, result<response> made) { answer = std::move(*made); });
    }
    io->poll();
    REQUIRE(answer);
    io.reset();
    CHECK(seen->alive == 0);
    int events = 0;
    std::thread([&] {
        stream_item item;
        while (!answer->events().ended() && answer->events().try_next(item)) events += item ? 1 : 0;
    }).join();
    CHECK(events == 16);  // what had been pulled
    REQUIRE(answer->events().failed());
    CHECK(answer->events().error().kind() == error_kind::closed);
}

}  // namespace test_core_flight
