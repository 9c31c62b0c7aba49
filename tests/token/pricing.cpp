#include <llmkit/token/pricing.hpp>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "test.hpp"

namespace test_token_pricing {

using llmkit::error_kind;
using llmkit::price;
using llmkit::price_table;
using llmkit::token_usage;

namespace {

price_table some() {
    price_table prices;
    prices.add("gpt-4o", {.input = 2.5, .output = 10.0, .cached_input = 1.25})
        .add("gpt-4o-mini", {.input = 0.15, .output = 0.6})
        .add("llama*", {.input = 0.05, .output = 0.08})
        .add("llama-70*", {.input = 0.5, .output = 0.8});
    return prices;
}

double input_price(const price_table& prices, const char* model) {
    const auto found = prices.find(model);
    return found ? found->input : -1;
}

bool about(std::optional<double> seen, double wanted) {
    return seen && std::abs(*seen - wanted) < 1e-12;
}

// What a broken table says.
std::string complaint(const char* text) {
    const auto table = price_table::parse(text);
    if (table) return "nothing";
    CHECK(table.error().kind() == error_kind::configuration);
    return std::string(table.error().message());
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a model is priced by its exact name first", "[pricing]") {
    CHECK(input_price(some(), "gpt-4o") == 2.5);
    CHECK(input_price(some(), "gpt-4o-mini") == 0.15);
}

TEST_CASE("a dated or numbered model has the price of its family", "[pricing]") {
    const auto prices = some();
    CHECK(input_price(prices, "gpt-4o-mini-2024-07-18") == 0.15);
    CHECK(input_price(prices, "gpt-4o-2024-11-20") == 2.5);
    CHECK(input_price(prices, "gpt-4o-0613") == 2.5);
    CHECK(input_price(prices, "gpt-4o@20241120") == 2.5);
    CHECK(input_price(prices, "gpt-4o-001") == 2.5);
    CHECK(input_price(prices, "gpt-4o-latest") == 2.5);
}

TEST_CASE("another model's price is never borrowed", "[pricing]") {
    price_table prices;
    prices.add("gpt-4", {.input = 30, .output = 60});
    for (const char* model : {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4-turbo", "gpt-4-32k",
                              "gpt-4-", "gpt-4-1", "gpt-", "", "claude", "GPT-4", "my-gpt-4"}) {
        CAPTURE(model);
        CHECK_FALSE(prices.find(model));
    }
}

TEST_CASE("a star takes whatever follows, and the longest pattern wins", "[pricing]") {
    const auto prices = some();
    CHECK(input_price(prices, "llama") == 0.05);
    CHECK(input_price(prices, "llama-3-8b") == 0.05);
    CHECK(input_price(prices, "llama-70b-instruct") == 0.5);
    price_table all;
    all.add("*", {.input = 1, .output = 1}).add("a-*", {.input = 2, .output = 2});
    CHECK(input_price(all, "") == 1);
    CHECK(input_price(all, "*") == 1);
    CHECK(input_price(all, "a-b") == 2);
    CHECK(input_price(all, "a-*") == 2);
}

TEST_CASE("the cost of a call prices cached input apart where a price is given", "[pricing]") {
    const auto prices = some();
    const token_usage usage{1'000'000, 500'000, 400'000, 100'000, true};
    CHECK(about(prices.cost("gpt-4o", usage), 0.6 * 2.5 + 0.4 * 1.25 + 0.5 * 10));
    CHECK(about(prices.cost("gpt-4o-mini", usage), 0.15 + 0.5 * 0.6));
    CHECK(about(prices.cost("gpt-4o", {0, 0, 0, 0, true}), 0));
}

TEST_CASE("an unknown model or unknown usage has an unknown cost", "[pricing]") {
    CHECK_FALSE(some().cost("claude-3", {1, 1, 0, 0, true}));
    CHECK_FALSE(some().cost("gpt-4o", {1, 1, 0, 0, false}));
    CHECK_FALSE(price_table().cost("gpt-4o", {1, 1, 0, 0, true}));
}

TEST_CASE("nonsensical token counts never make a cost negative", "[pricing]") {
    CHECK(about(some().cost("gpt-4o", {-5, -7, -9, 0, true}), 0));
    CHECK(about(some().cost("gpt-4o", {1'000'000, 0, 9'000'000, 0, true}), 1.25));
}

TEST_CASE("a price table is read from JSON", "[pricing]") {
    const auto table = price_table::parse(R"({
        "gpt-4o": {"input": 2.5, "cached_input": 1.25, "output": 10},
        "llama*": {"input": 0, "output": 0}})");
    REQUIRE(table);
    CHECK(table->size() == 2);
    CHECK(table->find("gpt-4o") == price{2.5, 10, 1.25});
    CHECK(table->find("llama-3") == price{0, 0, std::nullopt});
    CHECK(price_table::parse("{}").value().size() == 0);
}

TEST_CASE("a bad price table says what is wrong and where", "[pricing]") {
    CHECK(has(complaint(""), "not valid JSON"));
    CHECK(has(complaint(R"({"a": {"input": 1,)"), "not valid JSON"));
    CHECK(has(complaint("{\"a\xff\": 1}"), "not valid JSON"));
    CHECK(has(complaint("[]"), "expected an object"));
    CHECK(has(complaint(R"({"a": 3})"), "\"a\" needs an object"));
    CHECK(has(complaint(R"({"a": {"input": 1}})"), "\"a\" has no \"output\""));
    CHECK(has(complaint(R"({"a": {"input": 1, "output": "2"}})"), "\"output\" must be a number"));
    CHECK(has(complaint(R"({"a": {"input": 1, "output": 2, "cache": 3}})"),
              "unknown field \"cache\""));
    CHECK(has(complaint(R"({"a": {"input": -1, "output": 2}})"), "-1 is not a price"));
    CHECK(has(complaint(R"({"": {"input": 1, "output": 2}})"), "name is empty"));
    CHECK(has(complaint(R"({"a*b": {"input": 1, "output": 2}})"), "only stand at the end"));
}

TEST_CASE("a bad price is refused when it is added", "[pricing]") {
    price_table prices;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(prices.add("", {1, 1, {}}), std::invalid_argument);
    CHECK_THROWS_AS(prices.add("a", {nan, 1, {}}), std::invalid_argument);
    CHECK_THROWS_AS(prices.add("a", {1, 1, -0.5}), std::invalid_argument);
    CHECK_THROWS_AS(prices.add("**", {1, 1, {}}), std::invalid_argument);
    CHECK(prices.size() == 0);
}

}  // namespace test_token_pricing
