#include <llmkit/detail/cut_off.hpp>

#include <llmkit/simulation/world.hpp>

#include <functional>

#include "test.hpp"

namespace test_detail_cut_off {

using namespace llmkit;
using namespace std::chrono_literals;
using detail::shared_pull;
using simulation::world;

namespace {

/// Gives one event after the other and does something of the test's meanwhile.
class busy final : public stream_source {
public:
    busy(clock_handle time, std::shared_ptr<int> alive, std::function<void()> meanwhile)
        : time_(std::move(time)), alive_(std::move(alive)), meanwhile_(std::move(meanwhile)) {}
    task<stream_item> next() override {
        co_await sleep_for(time_, 1s);
        co_return event(bytes::literal("later"));
    }
    bool try_next(stream_item& into) override {
        if (!meanwhile_) return false;
        meanwhile_();
        into = event(bytes::literal("now"));
        return true;
    }

private:
    clock_handle time_;
    std::shared_ptr<int> alive_;
    std::function<void()> meanwhile_;
};

std::shared_ptr<shared_pull> pull_of(const world& w, const std::shared_ptr<int>& alive,
                                     std::function<void()> meanwhile = nullptr) {
    auto source = std::make_unique<busy>(w.clock(), alive, std::move(meanwhile));
    return std::make_shared<shared_pull>(event_stream(std::move(source)));
}

}  // namespace

TEST_CASE("a limit that passes while nobody reads frees the stream at once", "[cut_off]") {
    world w;
    const auto alive = std::make_shared<int>();
    const auto pull = pull_of(w, alive);
    pull->drop(expiry::limit);
    CHECK(alive.use_count() == 1);
    CHECK(pull->dropped() == expiry::limit);
    stream_item item;
    CHECK_FALSE(pull->try_next(item));
    CHECK_FALSE(w.wait(shared_pull::next(pull)));
}

TEST_CASE("a limit that passes during a read frees the stream when the read ends", "[cut_off]") {
    world w;
    const auto alive = std::make_shared<int>();
    SECTION("of what is at hand") {
        std::shared_ptr<shared_pull> pull;
        pull = pull_of(w, alive, [&] { pull->drop(expiry::limit); });
        stream_item item;
        CHECK(pull->try_next(item));
        CHECK(item->data() == "now");
        CHECK(pull->dropped() == expiry::limit);
    }
    SECTION("that waits") {
        const auto pull = pull_of(w, alive);
        child<stream_item> reading(w.clock(), shared_pull::next(pull));
        w.run_for(500ms);
        pull->drop(expiry::limit);
        CHECK_FALSE(pull->dropped());
        CHECK(w.wait(reading.join()));
        CHECK(pull->dropped() == expiry::limit);
    }
    SECTION("that is cancelled") {
        const auto pull = pull_of(w, alive);
        {
            child<stream_item> reading(w.clock(), shared_pull::next(pull));
            w.run_for(500ms);
            pull->drop(expiry::limit);
        }
        w.poll();
        CHECK(pull->dropped() == expiry::limit);
    }
    CHECK(alive.use_count() == 1);
}

TEST_CASE("two never read one stream at the same time", "[cut_off]") {
    world w;
    const auto alive = std::make_shared<int>();
    const auto pull = pull_of(w, alive);
    child<stream_item> reading(w.clock(), shared_pull::next(pull));
    w.run_for(500ms);
    stream_item item;
    CHECK_FALSE(pull->try_next(item));
    const auto refused = w.wait(shared_pull::next(pull));
    REQUIRE(refused.failed());
    CHECK(refused.error().kind() == error_kind::internal);
    CHECK(w.wait(reading.join())->data() == "later");
}

}  // namespace test_detail_cut_off
