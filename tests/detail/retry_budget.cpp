#include <llmkit/detail/retry_budget.hpp>

#include <atomic>
#include <limits>
#include <thread>

#include "test.hpp"

namespace test_detail_retry_budget {

using llmkit::detail::retry_budget;

namespace {

int spend_all(retry_budget& budget) {
    int spent = 0;
    while (budget.try_spend()) ++spent;
    return spent;
}

}  // namespace

TEST_CASE("a fresh budget pays for its burst and no more", "[retry_budget]") {
    retry_budget budget(0.2, 10);
    CHECK(budget.left() == 10);
    CHECK(spend_all(budget) == 10);
    CHECK_FALSE(budget.try_spend());
    CHECK(budget.left() == 0);
}

TEST_CASE("calls earn further attempts at the ratio given", "[retry_budget]") {
    retry_budget budget(0.2, 0);
    int spent = 0;
    for (int call = 1; call <= 1000; ++call) {
        budget.call_started();
        spent += spend_all(budget);
        REQUIRE(spent <= call * 0.2);  // at every moment, not only in the end
    }
    CHECK(spent == 200);
}

TEST_CASE("an outage costs at most burst and ratio beyond the calls", "[retry_budget]") {
    retry_budget budget(0.1, 7);
    int upstream = 0;
    for (int call = 0; call < 500; ++call) {
        budget.call_started();
        ++upstream;
        for (int retry = 0; retry < 5 && budget.try_spend(); ++retry) ++upstream;
    }
    CHECK(upstream == 500 + 7 + 50);
}

TEST_CASE("savings are bounded however long all went well", "[retry_budget]") {
    retry_budget budget(0.5, 4, 100);
    for (int call = 0; call < 10'000; ++call) budget.call_started();
    CHECK(spend_all(budget) == 4 + 50);
}

TEST_CASE("nonsense in a budget pays for nothing, or for very much", "[retry_budget]") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    for (const double bad : {-1.0, nan, -infinity}) {
        retry_budget budget(bad, bad, bad);
        budget.call_started();
        CHECK_FALSE(budget.try_spend());
    }
    retry_budget endless(infinity, infinity, infinity);
    for (int i = 0; i < 100; ++i) endless.call_started();
    CHECK(endless.left() >= 1'000'000'000);
    CHECK(endless.try_spend());
}

TEST_CASE("threads cannot overspend a budget together", "[retry_budget]") {
    retry_budget budget(0.25, 100, 1e6);
    std::atomic<int> spent = 0;
    auto work = [&] {
        for (int i = 0; i < 20'000; ++i) {
            budget.call_started();
            if (budget.try_spend()) ++spent;
        }
    };
    std::thread other(work);
    work();
    other.join();
    CHECK(spent + budget.left() == 100 + 10'000);
}

}  // namespace test_detail_retry_budget
