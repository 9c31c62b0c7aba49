#include <llmkit/core/result.hpp>

#include "test.hpp"

namespace test_core_result {

using namespace llmkit;
using namespace std::chrono_literals;

TEST_CASE("a result holds a value or the reason why there is none", "[result]") {
    result<int> good = 7;
    CHECK(good);
    CHECK(*good == 7);
    CHECK(good.value() == 7);
    result<int> bad = error(error_kind::timeout, "no answer within 10 s");
    CHECK_FALSE(bad);
    CHECK(bad.error().kind() == error_kind::timeout);
    CHECK(bad.value_or(3) == 3);
    result<int> unset;
    CHECK(unset.error().kind() == error_kind::unset);
}

TEST_CASE("asking for a value that is not there throws the error's whole text", "[result]") {
    const result<std::string> bad =
        error(error_kind::rate_limited, "slow down").with_status(429).with_code("rate_limit");
    try {
        static_cast<void>(bad.value());
        FAIL("did not throw");
    } catch (const failure& thrown) {
        CHECK(std::string(thrown.what()) == bad.error().to_string());
        CHECK(thrown.error().status() == 429);
    }
    CHECK_THROWS_AS(result<void>(error(error_kind::tls, "x")).value(), failure);
    CHECK_NOTHROW(result<void>().value());
}

TEST_CASE("results move what cannot be copied", "[result]") {
    result<std::unique_ptr<int>> owner = std::make_unique<int>(5);
    auto taken = std::move(owner).value();
    CHECK(*taken == 5);
}

TEST_CASE("an error says what happened, where, after how many attempts, and what to do",
          "[error]") {
    provenance how;
    for (int i = 0; i < 3; ++i) {
        how.attempts = how.attempts.with(
            attempt("openai https://h/v1", time_point(), 1s, 429, error_kind::rate_limited));
    }
    const auto e = error(error_kind::rate_limited, "Rate limit reached for requests")
                       .with_status(429)
                       .with_code("rate_limit_exceeded")
                       .with_where("POST https://h/v1/chat/completions")
                       .with_request_id("req-1")
                       .with_retry_after(2s)
                       .with_provenance(how);
    CHECK(e.to_string() ==
          "rate limited: Rate limit reached for requests (HTTP 429, rate_limit_exceeded) at POST "
          "https://h/v1/chat/completions, after 3 attempts, request id req-1. Send less at once, "
          "or add retry() to wait.");
    CHECK(fmt::format("{}", e) == e.to_string());
    CHECK(e.retry_after() == 2s);
}

TEST_CASE("annotating an error leaves the original alone", "[error]") {
    const error first(error_kind::server, "stumbled");
    const auto second = first.with_status(500).with_advice("Call the operator.");
    CHECK(first.status() == 0);
    CHECK(second.status() == 500);
    CHECK(second.advice() == "Call the operator.");
    CHECK(first.advice() == advice(error_kind::server));
}

TEST_CASE("every kind of error has a name and an advice", "[error]") {
    for (std::size_t i = 0; i < error_kind_count; ++i) {
        const auto kind = static_cast<error_kind>(i);
        INFO(i);
        CHECK_FALSE(to_string(kind).empty());
        CHECK(to_string(kind) != "unknown");
        CHECK(advice(kind).ends_with('.'));
    }
    CHECK(to_string(error_kind::unset) == "unset");
    CHECK(to_string(error_kind::context_length) == "context length");
    CHECK(to_string(error_kind::truncated) == "truncated");
    CHECK(to_string(error_kind::internal) == "internal");
}

TEST_CASE("a trail grows without changing what others hold", "[provenance]") {
    const auto made = [](int status) {
        return attempt("u", time_point(), 1s, status, error_kind::unset);
    };
    trail none;
    const trail one = none.with(made(500));
    const trail two = one.with(made(200)), other = one.with(made(404));
    CHECK(none.empty());
    CHECK(one.size() == 1);
    CHECK(two.size() == 2);
    CHECK(two.newest().status() == 200);
    CHECK(two.older().newest().status() == 500);
    CHECK(other.newest().status() == 404);
}

}  // namespace test_core_result
