#include <llmkit/cache/store_outage.hpp>

#include "test.hpp"

namespace test_cache_store_outage {

using namespace llmkit;
using namespace std::chrono_literals;

TEST_CASE("pauses after failures double up to the longest, and up to half is left to chance",
          "[store_outage]") {
    detail::store_outage rule({.retry_first = 100ms, .retry_most = 1s}, 7);
    const time_point now = time_point(1h);
    CHECK_FALSE(rule.holds(now, true));
    bool varies = false;
    duration before{};
    for (const duration most : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms, 1000ms}) {
        rule.failed(error(error_kind::connect, "no"), now);
        const duration pause = rule.retry_at() - now;
        CHECK(pause <= most);
        CHECK(pause >= most / 2);
        varies = varies || (most == 1s && pause != before);
        before = pause;
        CHECK(rule.holds(now + pause - 1ns, false));
        CHECK_FALSE(rule.holds(now + pause, false));
        CHECK(rule.holds(now + pause, true));  // somebody else is finding out
    }
    CHECK(varies);
    CHECK(rule.why().message() == "no");
    rule.over();
    CHECK_FALSE(rule.holds(now, true));
    rule.failed(error(error_kind::connect, "no"), now);
    CHECK(rule.retry_at() - now <= 100ms);
}

TEST_CASE("a pause of nothing is allowed, and years of failures overflow nothing",
          "[store_outage]") {
    detail::store_outage never({.retry_first = duration::max(), .retry_most = duration::max()}, 1);
    detail::store_outage none({.retry_first = 0s, .retry_most = 0s}, 1);
    const time_point now = time_point(1h);
    for (int i = 0; i < 1000; ++i) {
        never.failed(error(error_kind::connect, "no"), now);
        none.failed(error(error_kind::connect, "no"), now);
    }
    CHECK(never.holds(now + 24h, false));
    CHECK_FALSE(none.holds(now, false));
}

}  // namespace test_cache_store_outage
