// The embedded provider: real HTTP on this machine, with the delays, prices and faults of the
// workload. It runs on a thread of its own.
#pragma once

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/openai_replies.hpp>

#include "chance.hpp"
#include "workload.hpp"

namespace demo {

using llmkit::testing::server_reply;
using llmkit::testing::server_request;

/// Tokens come in pieces of so many, after the first one, which comes alone: at a tenth of the real
/// time a thousand streams would otherwise be half a million events a second.
inline constexpr std::size_t tokens_a_piece = 20;

/// What a provider asks and answers, by prompt and by how often that prompt was asked before, never
/// by who came first.
class provider_script {
public:
    provider_script(const workload& how, const std::vector<prompt>& prompts)
        : how_(how), prompts_(prompts), asked_(prompts.size()) {}

    server_reply operator()(const server_request& ask) {
        const std::size_t which = number_of(ask.body);
        if (which >= prompts_.size()) {
            return llmkit::testing::openai_error(400, "unknown prompt", "invalid_request_error");
        }
        chance drawn(mix(mix(mix(how_.seed, 3), which), asked_[which]++));
        const double first = drawn.lognormal(how_.first_token.median, how_.first_token.sigma);
        return answer(which, ask.body, first, drawn.uniform());
    }

    /// Dollars for all answers so far: input tokens, and those output tokens that were sent.
    double bill() const {
        return (static_cast<double>(input_.load()) * how_.usd_input +
                static_cast<double>(output_.load()) * how_.usd_output) /
               1e6;
    }

private:
    /// The prompts hold no quotation marks, so their texts can't be mistaken for members.
    static bool says(std::string_view body, std::string_view member, std::string_view value) {
        const std::size_t at = body.find(fmt::format("\"{}\"", member));
        if (at == body.npos) return false;
        body.remove_prefix(at + member.size() + 2);
        body.remove_prefix(std::min(body.find_first_not_of(": "), body.size()));
        return body.starts_with(value);
    }
    static std::size_t number_of(std::string_view body) {
        constexpr std::string_view start = "\"Question ";
        const std::size_t at = body.find(start);
        if (at == body.npos) return SIZE_MAX;
        std::size_t number = SIZE_MAX;
        std::from_chars(body.data() + at + start.size(), body.data() + body.size(), number);
        return number;
    }

    llmkit::duration scaled(double seconds) const {
        return std::chrono::duration_cast<llmkit::duration>(
            std::chrono::duration<double>(seconds * how_.time_scale));
    }

    server_reply answer(std::size_t which, std::string_view body, double first, double chosen) {
        const bool streamed = says(body, "stream", "true");
        const auto hits = [&chosen](double rate) {
            chosen -= rate;
            return chosen < 0;
        };
        const fault_rates& rates = how_.faults;
        if (hits(rates.status_429)) return too_many();
        if (hits(rates.status_500)) return refusal(500, "The server had an error", first);
        if (hits(rates.status_503)) return refusal(503, "The engine is overloaded", 0);
        if (hits(rates.reset)) return server_reply().pause(scaled(first)).reset();
        if (hits(rates.error_event)) return error_inside(streamed, first);
        if (hits(rates.silence)) return server_reply().stall();
        const bool cut = hits(rates.cut);
        const prompt& asked = prompts_[which];
        const std::size_t sent = cut ? asked.output_tokens / 2 : asked.output_tokens;
        input_ += asked.input_tokens;
        output_ += sent;
        return streamed ? stream(which, body, first, cut) : whole(which, first, cut);
    }

    server_reply too_many() {
        server_reply reply(429);
        // A second of the workload's time.
        reply.header("retry-after-ms", std::to_string(scaled(1).count() / 1'000'000));
        reply.header("Retry-After", fmt::format("{:.3f}", how_.time_scale));
        return reply.header("Content-Type", "application/json")
            .body(llmkit::testing::openai_error_body("Rate limit reached", "requests",
                                                     "rate_limit_exceeded"));
    }
    server_reply refusal(int status, std::string_view message, double after) {
        return server_reply(status)
            .pause(scaled(after))
            .header("Content-Type", "application/json")
            .body(llmkit::testing::openai_error_body(message, "server_error"));
    }
    server_reply error_inside(bool streamed, double first) {
        const auto error = llmkit::testing::openai_error_body("Overloaded", "server_error");
        server_reply reply;
        reply.pause(scaled(first));
        if (streamed) return reply.event(error);
        return reply.header("Content-Type", "application/json").body(error);
    }

    /// Words that depend on the prompt and their place alone.
    static void append_words(std::string& text, std::size_t which, std::size_t from,
                             std::size_t to) {
        for (std::size_t i = from; i < to; ++i) {
            char word[8];
            const auto end = std::to_chars(word, word + 4, mix(which, i) & 0xfffU, 16).ptr;
            text.append(word, end).push_back(' ');
        }
    }
    llmkit::token_usage usage_of(const prompt& asked) const {
        llmkit::token_usage usage;
        usage.input = static_cast<std::int64_t>(asked.input_tokens);
        usage.output = static_cast<std::int64_t>(asked.output_tokens);
        usage.known = true;
        return usage;
    }

    server_reply whole(std::size_t which, double first, bool cut) {
        const prompt& asked = prompts_[which];
        std::string text;
        append_words(text, which, 0, asked.output_tokens);
        const auto body = llmkit::testing::openai_body(text, usage_of(asked), "demo-1");
        const double last =
            first + static_cast<double>(asked.output_tokens - 1) * how_.seconds_per_token;
        server_reply reply;
        reply.header("Content-Type", "application/json").pause(scaled(cut ? last / 2 : last));
        if (!cut) return reply.body(body);
        return reply.announce(body.size()).raw(body.substr(0, body.size() / 2)).close();
    }

    server_reply stream(std::size_t which, std::string_view body, double first, bool cut) {
        const prompt& asked = prompts_[which];
        const std::size_t tokens = cut ? (asked.output_tokens + 1) / 2 : asked.output_tokens;
        server_reply reply;
        reply.pause(scaled(first));
        std::string text;
        for (std::size_t done = 0; done < tokens;) {
            const std::size_t piece = done == 0 ? 1 : std::min(tokens_a_piece, tokens - done);
            // A piece comes when its last token does.
            if (done > 0) {
                reply.pause(scaled(static_cast<double>(piece) * how_.seconds_per_token));
            }
            text.clear();
            append_words(text, which, done, done + piece);
            reply.event(llmkit::testing::openai_chunk(text, done == 0, "demo-1"));
            done += piece;
        }
        if (cut) return reply.close();
        reply.event(llmkit::testing::openai_finish("stop", "demo-1"));
        if (says(body, "include_usage", "true")) {
            reply.event(llmkit::testing::openai_usage(usage_of(asked), "demo-1"));
        }
        return reply.event("[DONE]");
    }

    const workload& how_;
    const std::vector<prompt>& prompts_;
    std::vector<std::uint32_t> asked_;
    std::atomic<std::uint64_t> input_{0};
    std::atomic<std::uint64_t> output_{0};
};

/// A provider that listens.
class provider {
public:
    provider(const workload& how, const std::vector<prompt>& prompts)
        : script_(std::make_shared<provider_script>(how, prompts)),
          server_([script = script_](const server_request& ask) { return (*script)(ask); },
                  {.max_body = 1U << 20U, .logged = 0}) {}

    const llmkit::testing::http_server& server() const { return server_; }
    double bill() const { return script_->bill(); }

private:
    std::shared_ptr<provider_script> script_;
    llmkit::testing::http_server server_;
};

}  // namespace demo
