#include <llmkit/core/event_stream.hpp>

#include <llmkit/simulation/world.hpp>

#include "test.hpp"

namespace test_core_event_stream {

using namespace llmkit;
using simulation::world;

namespace {

struct watched {
    int events = 0;
    std::vector<outcome> ends;
    std::string reason;
};

class watcher final : public stream_tap {
public:
    explicit watcher(watched& to) : to_(&to) {}
    void on_event(const event&) override { ++to_->events; }
    void on_end(outcome how, const error* why) override {
        to_->ends.push_back(how);
        if (why) to_->reason = std::string(why->message());
    }

private:
    watched* to_;
};

event text(std::string_view data, bool injected = false, bool last = false) {
    event_facts facts;
    facts.injected = injected;
    facts.last = last;
    return event(bytes::copy(data), facts);
}

class listed final : public stream_source {
public:
    explicit listed(std::vector<stream_item> items, std::shared_ptr<int> alive = nullptr)
        : items_(std::move(items)), alive_(std::move(alive)) {}
    task<stream_item> next() override {
        if (at_ == items_.size()) co_return stream_item();
        co_return std::move(items_[at_++]);
    }

private:
    std::vector<stream_item> items_;
    std::size_t at_ = 0;
    std::shared_ptr<int> alive_;
};

event_stream stream_of(std::vector<stream_item> items, std::shared_ptr<int> alive = nullptr) {
    return event_stream(std::make_unique<listed>(std::move(items), std::move(alive)));
}

task<std::string> drain(event_stream& from) {
    std::string all;
    while (auto item = co_await from.next()) all += item->data();
    co_return all;
}

}  // namespace

TEST_CASE("a stream gives its events in order, then ends for good", "[event_stream]") {
    world w;
    watched seen;
    auto s = stream_of({text("a"), text("b")});
    s.attach(watcher(seen));
    CHECK(w.wait(drain(s)) == "ab");
    CHECK(s.ended());
    CHECK_FALSE(s.failed());
    CHECK_FALSE(w.wait(s.next()));
    CHECK(seen.events == 2);
    CHECK(seen.ends == std::vector{outcome::complete});
}

TEST_CASE("a failed stream says why, again and again", "[event_stream]") {
    world w;
    watched seen;
    auto s = stream_of({text("a"), error(error_kind::truncated, "cut")});
    s.attach(watcher(seen));
    CHECK(w.wait(drain(s)) == "a");
    CHECK(s.failed());
    CHECK(s.error().kind() == error_kind::truncated);
    CHECK(w.wait(s.next()).failed());
    CHECK(seen.ends == std::vector{outcome::failed});
    CHECK(seen.reason == "cut");
}

TEST_CASE("a stream that is dropped was abandoned, and frees its source at once",
          "[event_stream]") {
    world w;
    watched seen;
    auto alive = std::make_shared<int>();
    {
        auto s = stream_of({text("a"), text("b")}, alive);
        s.attach(watcher(seen));
        CHECK(w.wait(s.next()));
        auto moved = std::move(s);
        CHECK(alive.use_count() == 2);
        CHECK(seen.ends.empty());
    }
    CHECK(alive.use_count() == 1);
    CHECK(seen.ends == std::vector{outcome::abandoned});
}

TEST_CASE("an event marked as the last one completes the stream", "[event_stream]") {
    world w;
    watched seen;
    auto alive = std::make_shared<int>();
    auto s = stream_of({text("a"), text("b", false, true), text("never")}, alive);
    s.attach(watcher(seen));
    CHECK(w.wait(s.next()));
    CHECK(w.wait(s.next())->data() == "b");
    CHECK(seen.ends == std::vector{outcome::complete});
    CHECK(alive.use_count() == 1);  // freed although nobody asked for the end
    CHECK_FALSE(w.wait(s.next()));
}

TEST_CASE("peeking keeps the first event, and a failure in its place", "[event_stream]") {
    world w;
    auto s = stream_of({text("a"), text("b")});
    w.wait(s.peek());
    REQUIRE(s.peeked());
    CHECK((*s.peeked())->data() == "a");
    CHECK(w.wait(drain(s)) == "ab");

    auto broken = stream_of({error(error_kind::overloaded, "full")});
    w.wait(broken.peek());
    REQUIRE(broken.peeked());
    CHECK(broken.peeked()->failed());
    CHECK_FALSE(w.wait(broken.next()));
    CHECK(broken.failed());
}

TEST_CASE("a failure that was peeked at and dropped is told as a failure", "[event_stream]") {
    world w;
    watched seen;
    {
        auto s = stream_of({error(error_kind::overloaded, "full")});
        s.attach(watcher(seen));
        w.wait(s.peek());
    }
    CHECK(seen.ends == std::vector{outcome::failed});
}

TEST_CASE("injected events reach taps but not the reader", "[event_stream]") {
    world w;
    watched seen;
    auto s = stream_of({text("a"), text("usage", true), text("b")});
    s.attach(watcher(seen));
    s.hide_injected();
    CHECK(w.wait(drain(s)) == "ab");
    CHECK(seen.events == 3);
}

namespace {

/// Has `count` events at hand, the last of them injected, and nothing after.
class at_hand final : public stream_source {
public:
    explicit at_hand(int count) : left_(count) {}
    task<stream_item> next() override { co_return error(error_kind::truncated, "asked to wait"); }
    bool try_next(stream_item& into) override {
        if (left_ == 0) return false;
        into = text("e", --left_ == 0);
        return true;
    }
    bool ready() const override { return left_ > 0; }

private:
    int left_;
};

}  // namespace

TEST_CASE("what is at hand is given without a wait, and nothing that was hidden",
          "[event_stream]") {
    world w;
    watched seen;
    event_stream s(std::make_unique<at_hand>(3));
    s.attach(watcher(seen));
    s.hide_injected();
    w.wait(s.peek());
    REQUIRE(s.peeked());
    CHECK(*s.peeked());
    stream_item item;
    CHECK(s.try_next(item));
    CHECK(s.try_next(item));
    CHECK_FALSE(s.try_next(item));
    CHECK_FALSE(item);
    CHECK(seen.events == 3);
    CHECK(w.wait(s.next()).failed());
    REQUIRE(s.try_next(item));
    CHECK(item.failed());
}

TEST_CASE("a single ready event is shown to a tap at once", "[event_stream]") {
    world w;
    watched seen;
    event_stream s(text("whole", false, true));
    CHECK(s.single());
    CHECK(s.ready());
    s.attach(watcher(seen));
    CHECK(seen.events == 1);
    CHECK(seen.ends == std::vector{outcome::complete});
    CHECK(w.wait(drain(s)) == "whole");
    CHECK(seen.ends.size() == 1);
}

TEST_CASE("what is pinned outlives the source and goes with the end", "[event_stream]") {
    world w;
    auto pin = std::make_shared<int>(), second = std::make_shared<int>();
    auto s = stream_of({text("a")});
    s.pin(pin);
    s.pin(second);
    CHECK(w.wait(s.next()));
    CHECK(pin.use_count() == 2);
    CHECK_FALSE(w.wait(s.next()));
    CHECK(pin.use_count() == 1);
    CHECK(second.use_count() == 1);
}

TEST_CASE("the loop that everybody writes ends, on this compiler too", "[event_stream]") {
    world w;
    const auto loop = [](event_stream s) -> task<int> {
        int count = 0;
        while (auto item = co_await s.next()) {
            if (item->data() == "skip") continue;
            ++count;
        }
        co_return count;
    };
    CHECK(w.wait(loop(stream_of({text("a"), text("skip"), text("b")}))) == 2);
}

}  // namespace test_core_event_stream
