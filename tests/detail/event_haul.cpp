#include <llmkit/detail/event_haul.hpp>

#include <memory>
#include <string>

#include "test.hpp"

namespace test_detail_event_haul {

using namespace llmkit;
using detail::event_haul;

namespace {

/// Has `count` events at hand, then the end or a failure, or else must be waited for.
class at_hand final : public stream_source {
public:
    enum class then { end, failure, wait };
    at_hand(int count, then what) : count_(count), then_(what) {}
    task<stream_item> next() override { co_return stream_item(); }
    bool try_next(stream_item& into) override {
        if (given_ < count_) {
            into = event(bytes(std::to_string(given_++)));
        } else if (then_ == then::wait) {
            return false;
        } else {
            into = then_ == then::end ? stream_item() : error(error_kind::truncated, "cut");
        }
        return true;
    }

private:
    int count_;
    int given_ = 0;
    then then_;
};

event_stream stream(int count, at_hand::then what) {
    return event_stream(std::make_unique<at_hand>(count, what));
}

}  // namespace

TEST_CASE("a haul takes what is at hand, up to its bounds", "[event_haul]") {
    auto many = stream(100, at_hand::then::wait);
    event_haul few(10, 1'000'000);
    few.take_at_hand(many);
    CHECK(few.events().size() == 10);
    CHECK(few.full());
    event_haul light(10, 2 * sizeof(event));
    light.take_at_hand(many);
    CHECK(light.events().size() == 2);  // the second passes the bytes
    CHECK(light.full());
    event_haul rest(1000, 1'000'000);
    rest.take_at_hand(many);
    CHECK(rest.events().size() == 88);
    CHECK_FALSE(rest.full());  // the next one must be waited for
    CHECK_FALSE(rest.ended());
}

TEST_CASE("a haul tells an end from a failure and from nothing at hand", "[event_haul]") {
    auto ending = stream(1, at_hand::then::end);
    event_haul all(10, 1'000'000);
    all.take_at_hand(ending);
    CHECK(all.ended());
    CHECK_FALSE(all.failure());
    auto failing = stream(1, at_hand::then::failure);
    event_haul cut(10, 1'000'000);
    cut.take_at_hand(failing);
    CHECK(cut.events().size() == 1);
    CHECK(cut.ended());
    REQUIRE(cut.failure());
    CHECK(cut.failure()->kind() == error_kind::truncated);
    auto waiting = stream(0, at_hand::then::wait);
    event_haul none(10, 1'000'000);
    none.take_at_hand(waiting);
    CHECK(none.empty());
    CHECK_FALSE(event_haul().wanted());
}

}  // namespace test_detail_event_haul
