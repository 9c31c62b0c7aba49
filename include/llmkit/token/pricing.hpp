// llmkit/token/pricing.hpp: what a call cost, by a price list that the user gives.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <llmkit/core/facts.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// Dollars per million tokens. Cached input costs as much as other input unless told otherwise.
struct price {
    double input = 0;
    double output = 0;
    std::optional<double> cached_input = std::nullopt;

    friend bool operator==(const price&, const price&) = default;
};
// A price may stand as a temporary in a co_await expression only while this holds (g++ 12).
static_assert(std::is_trivially_destructible_v<price>);

/// Prices by model. llmkit ships none: they change, and a wrong one is worse than none.
///
///     llmkit::price_table prices;
///     prices.add("gpt-4o-mini", {.input = 0.15, .output = 0.60, .cached_input = 0.075})
///           .add("llama*", {.input = 0.05, .output = 0.08});
///     prices.cost("gpt-4o-mini-2024-07-18", usage);   // dollars, or nothing when unknown
///
/// A name is looked up as it stands; then by the longest pattern that it begins with and that ends
/// either in `*` or before a version: a date or number of at least three digits (`-2024-07-18`,
/// `@20240718`, `-001`) or `-latest`. So `gpt-4o` never prices `gpt-4o-mini`: another model's price
/// would be a lie, and an unknown one stays unknown.
///
/// Reading is safe from several threads while nobody adds.
class price_table {
public:
    /// Adds or replaces. Throws `std::invalid_argument` for an empty pattern, a `*` elsewhere than
    /// at the end, or a price that is negative or not finite.
    price_table& add(std::string pattern, price per_million) {
        if (auto wrong = why_not(pattern, per_million); !wrong.empty()) {
            throw std::invalid_argument("price_table: " + wrong);
        }
        prices_.insert_or_assign(std::move(pattern), per_million);
        return *this;
    }

    std::optional<price> find(std::string_view model) const {
        if (auto exact = prices_.find(model); exact != prices_.end() && !is_open(exact->first)) {
            return exact->second;
        }
        const price* best = nullptr;
        std::size_t longest = 0;
        for (const auto& [pattern, per_million] : prices_) {
            std::string_view stem = pattern;
            if (is_open(stem)) stem.remove_suffix(1);
            if (!model.starts_with(stem) || (best != nullptr && stem.size() <= longest)) continue;
            if (!is_open(pattern) && !is_version(model.substr(stem.size()))) continue;
            best = &per_million;
            longest = stem.size();
        }
        return best != nullptr ? std::optional<price>(*best) : std::nullopt;
    }

    /// Dollars for one call; nothing when the price is unknown or the provider told no usage.
    std::optional<double> cost(std::string_view model, const token_usage& usage) const {
        if (!usage.known) return std::nullopt;
        const std::optional<price> per_million = find(model);
        if (!per_million) return std::nullopt;
        const auto count = [](std::int64_t tokens) {
            return static_cast<double>(std::max<std::int64_t>(tokens, 0));
        };
        const double cached = std::min(count(usage.cached_input), count(usage.input));
        const double dollars = (count(usage.input) - cached) * per_million->input +
                               cached * per_million->cached_input.value_or(per_million->input) +
                               count(usage.output) * per_million->output;
        return dollars / 1e6;
    }

    std::size_t size() const { return prices_.size(); }

    /// Reads a table from JSON:
    ///
    ///     {"gpt-4o-mini": {"input": 0.15, "cached_input": 0.075, "output": 0.60}, "llama*": {…}}
    ///
    /// `input` and `output` are needed. Anything else than the three fields is an error, so that a
    /// misspelt one doesn't price calls wrongly. Errors are of kind `configuration`.
    static result<price_table> parse(std::string_view json_text) {
        const auto wrong = [](std::string why) {
            return error(error_kind::configuration, "price table: " + std::move(why));
        };
        nlohmann::json table;
        try {
            table = nlohmann::json::parse(json_text);
        } catch (const nlohmann::json::exception& broken) {
            return wrong(fmt::format("not valid JSON ({})", broken.what()));
        }
        if (!table.is_object()) {
            return wrong(R"(expected an object such as {"gpt-4o-mini": {"input": 0.15, …}})");
        }
        price_table prices;
        for (const auto& [pattern, fields] : table.items()) {
            if (!fields.is_object()) {
                return wrong(fmt::format("\"{}\" needs an object with input and output", pattern));
            }
            price per_million;
            for (const char* needed : {"input", "output"}) {
                if (!fields.contains(needed)) {
                    return wrong(fmt::format("\"{}\" has no \"{}\"", pattern, needed));
                }
            }
            for (const auto& [field, value] : fields.items()) {
                if (field != "input" && field != "output" && field != "cached_input") {
                    return wrong(fmt::format(
                        "\"{}\" has an unknown field \"{}\" (known: input, cached_input, output)",
                        pattern, field));
                }
                if (!value.is_number()) {
                    return wrong(
                        fmt::format("\"{}\": \"{}\" must be a number of dollars per "
                                    "million tokens",
                                    pattern, field));
                }
                const auto dollars = value.get<double>();
                if (field == "input") per_million.input = dollars;
                if (field == "output") per_million.output = dollars;
                if (field == "cached_input") per_million.cached_input = dollars;
            }
            if (auto why = why_not(pattern, per_million); !why.empty()) return wrong(why);
            prices.add(pattern, per_million);
        }
        return prices;
    }

private:
    static bool is_open(std::string_view pattern) { return pattern.ends_with('*'); }

    static bool is_version(std::string_view rest) {
        if (rest.empty() || (rest[0] != '-' && rest[0] != '@' && rest[0] != ':')) return false;
        rest.remove_prefix(1);
        if (rest == "latest") return true;
        std::size_t digits = 0;
        for (const char c : rest) {
            if (c >= '0' && c <= '9') {
                ++digits;
            } else if (c != '-') {
                return false;
            }
        }
        return digits >= 3;
    }

    static std::string why_not(std::string_view pattern, const price& per_million) {
        if (pattern.empty()) return "a model's name is empty";
        const std::size_t star = pattern.find('*');
        if (star != std::string_view::npos && star + 1 != pattern.size()) {
            return fmt::format("\"{}\": a * may only stand at the end", pattern);
        }
        for (const double dollars :
             {per_million.input, per_million.output, per_million.cached_input.value_or(0)}) {
            if (!std::isfinite(dollars) || dollars < 0) {
                return fmt::format("\"{}\": {} is not a price", pattern, dollars);
            }
        }
        return {};
    }

    std::map<std::string, price, std::less<>> prices_;
};

}  // namespace llmkit
