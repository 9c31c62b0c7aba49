// The workload: what workload.json says, and the calls drawn from it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "chance.hpp"

namespace demo {

struct lognormal {
    double median = 0;
    double sigma = 0;
    double most = 0;  ///< 0: no bound
};

struct fault_rates {
    double status_429 = 0, status_500 = 0, status_503 = 0, reset = 0, error_event = 0, silence = 0,
           cut = 0;
    double sum() const {
        return status_429 + status_500 + status_503 + reset + error_event + silence + cut;
    }
};

/// Times in seconds as they would be without `time_scale`.
struct workload {
    std::uint64_t seed = 1;
    std::size_t calls = 0, prompts = 0, users = 0, callers_before = 0, callers_after = 0;
    double popularity = 1, time_scale = 1;
    double expected_hits_by_text = 0, expected_hits_by_meaning = 0;  ///< 0: not said
    lognormal first_token, output_tokens, input_tokens;
    double seconds_per_token = 0, usd_input = 0, usd_output = 0;  ///< $ per million tokens
    fault_rates faults;
    double first_event_limit = 0, total_limit = 0;
};

inline lognormal read_lognormal(const nlohmann::json& from) {
    if (from.at("law") != "lognormal") throw std::runtime_error("the only law known is lognormal");
    return {from.at("median"), from.at("sigma"), from.value("max", 0.0)};
}

/// Throws std::exception with what is wrong.
inline workload read_workload(const std::filesystem::path& file) {
    std::ifstream in(file);
    if (!in) {
        throw std::runtime_error("cannot be read; say where it is with --workload FILE");
    }
    const auto json = nlohmann::json::parse(in);
    workload read;
    read.seed = json.at("seed");
    read.calls = json.at("calls");
    read.prompts = json.at("prompts");
    read.users = json.at("users");
    read.popularity = json.at("popularity").at("exponent");
    read.callers_before = json.at("callers").at("before");
    read.callers_after = json.at("callers").at("after");
    read.time_scale = json.at("time_scale");
    if (json.contains("expected_from_the_draw")) {
        const auto& expected = json.at("expected_from_the_draw");
        read.expected_hits_by_text = expected.at("hit_rate_if_keyed_by_body_text");
        read.expected_hits_by_meaning = expected.at("hit_rate_if_keyed_by_meaning");
    }
    const auto& provider = json.at("provider");
    read.first_token = read_lognormal(provider.at("time_to_first_token_s"));
    read.output_tokens = read_lognormal(provider.at("output_tokens"));
    read.input_tokens = read_lognormal(provider.at("input_tokens"));
    read.seconds_per_token = provider.at("seconds_per_token");
    read.usd_input = provider.at("usd_per_million_tokens").at("input");
    read.usd_output = provider.at("usd_per_million_tokens").at("output");
    const auto& faults = provider.at("faults");
    read.faults.status_429 = faults.at("status_429_retry_after_1s");
    read.faults.status_500 = faults.at("status_500");
    read.faults.status_503 = faults.at("status_503");
    read.faults.reset = faults.at("reset_before_headers");
    read.faults.error_event = faults.at("error_event_before_content");
    read.faults.silence = faults.at("silence_until_the_callers_limit");
    read.faults.cut = faults.at("cut_after_content");
    read.first_event_limit = json.at("limits_s").at("first_event");
    read.total_limit = json.at("limits_s").at("total");
    if (read.calls == 0 || read.prompts == 0 || read.users == 0 || read.callers_before == 0 ||
        read.callers_after == 0 || read.time_scale <= 0 || read.faults.sum() > 1) {
        throw std::runtime_error(
            "a count is 0, the time scale is not positive, or the faults' "
            "probabilities add up to more than 1");
    }
    return read;
}

/// What a prompt is: its text, and how long its answer will be.
class prompt {
public:
    std::string text;
    std::size_t input_tokens = 0;
    std::size_t output_tokens = 0;
};

/// The prompts by number. Their texts begin with "Question N:", which is how the provider knows
/// them, and are about as long as their count of tokens says: four letters a token.
inline std::vector<prompt> make_prompts(const workload& from) {
    std::vector<prompt> made(from.prompts);
    for (std::size_t i = 0; i < made.size(); ++i) {
        chance drawn(mix(mix(from.seed, 1), i));
        const auto tokens = [&drawn](const lognormal& law) {
            double count = drawn.lognormal(law.median, law.sigma);
            if (law.most > 0) count = std::min(count, law.most);
            return std::max<std::size_t>(1, static_cast<std::size_t>(count + 0.5));
        };
        made[i].input_tokens = tokens(from.input_tokens);
        made[i].output_tokens = tokens(from.output_tokens);
        std::string& text = made[i].text;
        text = fmt::format("Question {}: what follows from this?", i);
        while (text.size() < 4 * made[i].input_tokens) {
            text += fmt::format(" word{:x}", drawn.bits() & 0xffffU);
        }
    }
    return made;
}

/// One call: which prompt, whose, and how its JSON is written.
struct drawn_call {
    std::uint32_t prompt = 0;
    std::uint16_t user = 0;
    std::uint8_t writing = 0;  ///< one bit each: key order, spacing, whether `stream` is written
};

inline std::vector<drawn_call> draw_calls(const workload& from) {
    std::vector<double> reach(from.prompts);  // Zipf's law, summed up
    double sum = 0;
    for (std::size_t i = 0; i < reach.size(); ++i) {
        sum += std::pow(static_cast<double>(i + 1), -from.popularity);
        reach[i] = sum;
    }
    chance drawn(mix(from.seed, 2));
    std::vector<drawn_call> calls(from.calls);
    for (auto& call : calls) {
        const auto found = std::upper_bound(reach.begin(), reach.end(), drawn.uniform() * sum);
        const auto index = std::min<std::ptrdiff_t>(found - reach.begin(),
                                                    static_cast<std::ptrdiff_t>(reach.size()) - 1);
        call.prompt = static_cast<std::uint32_t>(index);
        call.user = static_cast<std::uint16_t>(drawn.below(from.users));
        call.writing = static_cast<std::uint8_t>(drawn.below(8));
    }
    return calls;
}

/// The body of a call as one of eight programs would write it: members in one of two orders, with
/// blanks or without, `stream` said or left out.
inline std::string body_of(const drawn_call& call, const std::string& text, bool streamed) {
    const bool turned = (call.writing & 1U) != 0;
    const bool spaced = (call.writing & 2U) != 0;
    const bool says_stream = (call.writing & 4U) != 0;
    const char* const comma = spaced ? ", " : ",";
    const char* const colon = spaced ? ": " : ":";
    const std::string model = fmt::format(R"("model"{}"demo-1")", colon);
    const std::string user = fmt::format(R"("user"{}"user-{}")", colon, call.user);
    // The words of a prompt hold nothing that JSON escapes.
    const std::string message =
        turned ? fmt::format(R"({{"content"{}"{}"{}"role"{}"user"}})", colon, text, comma, colon)
               : fmt::format(R"({{"role"{}"user"{}"content"{}"{}"}})", colon, comma, colon, text);
    const std::string messages = fmt::format(R"("messages"{}[{}])", colon, message);
    std::string body = "{";
    body +=
        turned ? messages + comma + user + comma + model : model + comma + messages + comma + user;
    if (says_stream) body += fmt::format(R"({}"stream"{}{})", comma, colon, streamed);
    body += '}';
    return body;
}

/// What share of the calls, one after another, would be found again.
struct expected_hits {
    double by_text = 0;
    double by_meaning = 0;
};
inline expected_hits count_repeats(const std::vector<drawn_call>& calls) {
    std::unordered_set<std::uint64_t> texts, meanings;
    for (const auto& call : calls) {
        texts.insert((std::uint64_t{call.prompt} << 32U) | (std::uint64_t{call.user} << 8U) |
                     call.writing);
        meanings.insert(call.prompt);
    }
    const auto share = [&](std::size_t distinct) {
        return 1 - static_cast<double>(distinct) / static_cast<double>(calls.size());
    };
    return {share(texts.size()), share(meanings.size())};
}

}  // namespace demo
