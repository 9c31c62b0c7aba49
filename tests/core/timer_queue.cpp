#include <llmkit/core/timer_queue.hpp>

#include <algorithm>
#include <memory>
#include <random>

#include "test.hpp"

namespace test_core_timer_queue {

using namespace llmkit;
using namespace std::chrono_literals;

namespace {

class queue final : public timer_queue {
public:
    using timer_queue::next;
    using timer_queue::run_due;
    using timer_queue::shut_down;
    std::vector<time_point> woken;

private:
    void wake_at(time_point at) override { woken.push_back(at); }
};

class node final : public timer_node {
public:
    node(int name, std::vector<int>& to) : name_(name), to_(to) {}

private:
    detail::small_call expire(expiry why) override {
        const int name = why == expiry::limit ? name_ : -1;
        return detail::small_call([name, &to = to_] { to.push_back(name); });
    }
    int name_;
    std::vector<int>& to_;
};

limit at(int second) {
    limit made;
    made.until = time_point(std::chrono::seconds(second));
    return made;
}

}  // namespace

TEST_CASE("a timer queue agrees with a sorted list, whatever is armed and dropped",
          "[timer_queue]") {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        queue timers;
        std::vector<int> expired;
        std::vector<std::unique_ptr<node>> nodes;
        std::vector<std::pair<int, int>> expected;  // time, name
        for (int i = 0; i < 60; ++i) {
            nodes.push_back(std::make_unique<node>(i, expired));
            const int when = static_cast<int>(random() % 20) + 1;
            if (random() % 5 == 0) {
                timers.arm(*nodes.back(), limit());  // for ever
            } else {
                timers.arm(*nodes.back(), at(when));
                expected.emplace_back(when, i);
            }
            if (random() % 3 == 0) {
                const auto gone = static_cast<int>(random() % nodes.size());
                timers.disarm(*nodes[static_cast<std::size_t>(gone)]);
                std::erase_if(expected, [&](const auto& e) { return e.second == gone; });
            }
        }
        std::sort(expected.begin(), expected.end());  // by time, then in the order of arming
        for (int now = 0; now <= 21; now += 3) timers.run_due(at(now).until);
        std::vector<int> names;
        for (const auto& e : expected) names.push_back(e.second);
        CHECK(expired == names);
        for (auto& n : nodes) timers.disarm(*n);
        CHECK(timers.size() == 0);
    }
}

TEST_CASE("only a limit earlier than the next wake-up asks for another one", "[timer_queue]") {
    queue timers;
    std::vector<int> expired;
    node a(1, expired), b(2, expired), c(3, expired);
    timers.arm(a, at(10));
    timers.arm(b, at(20));
    timers.arm(c, at(5));
    CHECK(timers.woken == std::vector{at(10).until, at(5).until});
    timers.disarm(c);
    timers.run_due(at(5).until);
    CHECK(timers.woken.back() == at(10).until);
    timers.disarm(a);
    timers.disarm(b);
}

TEST_CASE("after shutting down nothing is armed and nothing was called", "[timer_queue]") {
    queue timers;
    std::vector<int> expired;
    node a(1, expired), b(2, expired), c(3, expired);
    timers.arm(a, at(10));
    timers.arm(b, limit());
    timers.shut_down();
    CHECK(timers.size() == 0);
    CHECK(expired.empty());
    CHECK_FALSE(timers.arm(c, at(1)));
}

}  // namespace test_core_timer_queue
