#include <llmkit/detail/event_log.hpp>

#include <string>

#include "test.hpp"

namespace test_detail_event_log {

using namespace llmkit;
using detail::event_log;

namespace {

event numbered(std::size_t number) { return event(bytes(std::to_string(number))); }

}  // namespace

TEST_CASE("a log of events keeps their numbers when the oldest go", "[event_log]") {
    event_log log;
    std::size_t pushed = 0;
    std::size_t expected_bytes = 0;
    for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 3; ++i) {
            log.push(numbered(pushed));
            expected_bytes += sizeof(event) + std::to_string(pushed).size();
            ++pushed;
        }
        for (int i = 0; i < (round % 4 == 0 ? 1 : 2); ++i) {
            expected_bytes -= sizeof(event) + log[log.first()].data().size();
            log.drop_first();
        }
        REQUIRE(log.end() == pushed);
        REQUIRE(log.size() == log.end() - log.first());
        REQUIRE(log.bytes() == expected_bytes);
        for (std::size_t i = log.first(); i < log.end(); ++i)
            REQUIRE(log[i].data() == std::to_string(i));
    }
    while (log.size() > 0) log.drop_first();
    CHECK(log.bytes() == 0);
    CHECK(log.first() == pushed);
}

TEST_CASE("a dropped event's bytes are let go of at once", "[event_log]") {
    auto owner = std::make_shared<std::string>("text");
    event_log log;
    log.push(event(bytes(owner, *owner)));
    log.push(numbered(1));
    log.push(numbered(2));
    CHECK(owner.use_count() == 2);
    log.drop_first();
    CHECK(owner.use_count() == 1);
}

}  // namespace test_detail_event_log
