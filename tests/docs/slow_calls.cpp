// docs/writing-a-layer.md: the layer of examples/04_your_own_layer, from its first lines on.
#include "../../examples/04_your_own_layer/slow_calls.hpp"

#include <vector>

#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "test.hpp"

namespace test_docs_slow_calls {

using namespace std::chrono_literals;
using namespace llmkit::testing;

namespace {

// [quote:bare]
template <llmkit::service Next>
class noting_time {
public:
    explicit noting_time(Next next) : next_(std::move(next)) {}
    llmkit::clock_handle clock() const { return next_.clock(); }

    llmkit::task<llmkit::result<llmkit::response>> operator()(llmkit::request ask) {
        const auto began = clock().now();
        auto answer = co_await next_(std::move(ask));
        fmt::print("after {} ms: {}\n", (clock().now() - began) / 1ms, answer ? "fine" : "failed");
        co_return answer;
    }

private:
    Next next_;
};

auto note_time() {
    return llmkit::make_layer([](auto next) { return noting_time(std::move(next)); });
}
// [quote:bare]

// [quote:setup]
struct bench {
    llmkit::simulation::world world;
    scripted provider{world.get_executor()};
    std::vector<slow_call> slow;

    auto client() {
        return llmkit::pipeline(provider) |
               slow_calls({.longer_than = 1s}, [this](const slow_call& it) { slow.push_back(it); });
    }
};

llmkit::task<void> read_all(llmkit::chat_stream stream) {
    while (auto delta = co_await stream.next()) {
    }
}
// [quote:setup]

llmkit::chat_request question() { return llmkit::chat_request("m").user("Hi"); }
}  // namespace

TEST_CASE("the first version of the layer passes calls through", "[docs]") {
    llmkit::simulation::world world;
    scripted provider(world.get_executor());
    provider.then(says("Hello"));
    auto client = llmkit::pipeline(provider) | note_time();
    CHECK(world.wait(client.chat(question())).value().text() == "Hello");
}

// [quote:tests]
TEST_CASE("a quick call is not reported", "[slow_calls]") {
    bench on;
    on.provider.then(says("Hello").after(900ms));
    CHECK(on.world.wait(on.client().chat(question())));
    CHECK(on.slow.empty());
}

TEST_CASE("a slow call is reported once, in one piece or streamed", "[slow_calls]") {
    bench on;
    on.provider.always(says_pieces({"a", "b", "c"}).after(500ms).every(400ms).model("tiny"));
    auto client = on.client();

    CHECK(on.world.wait(client.chat(question())));
    REQUIRE(on.slow.size() == 1);
    CHECK(on.slow[0].model == "tiny");
    CHECK(on.slow[0].took == 1300ms);
    CHECK(on.slow[0].ended == llmkit::outcome::complete);

    on.world.wait(read_all(on.world.wait(client.stream(question()))));
    REQUIRE(on.slow.size() == 2);
    CHECK(on.slow[1].took >= 1300ms);
}

TEST_CASE("a slow failure is reported, and so is a stream that breaks", "[slow_calls]") {
    bench on;
    on.provider.then(fails(llmkit::error_kind::server).after(2s));
    CHECK_FALSE(on.world.wait(on.client().chat(question())));
    REQUIRE(on.slow.size() == 1);
    CHECK(on.slow[0].ended == llmkit::outcome::failed);

    on.provider.then(
        says_pieces({"a", "b"})
            .after(2s)
            .fails_after(1, llmkit::error(llmkit::error_kind::connection_lost, "reset")));
    on.world.wait(read_all(on.world.wait(on.client().stream(question()))));
    REQUIRE(on.slow.size() == 2);
    CHECK(on.slow[1].ended == llmkit::outcome::failed);
}

TEST_CASE("a stream that outlives its pipeline is still reported", "[slow_calls]") {
    bench on;
    on.provider.then(says_pieces({"a", "b"}).after(2s));
    auto stream = on.world.wait(on.client().stream(question()));  // the pipeline is gone
    on.world.wait(read_all(std::move(stream)));
    CHECK(on.slow.size() == 1);
}
// [quote:tests]

}  // namespace test_docs_slow_calls
