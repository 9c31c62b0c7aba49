// The same pipeline against a real server.
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

#include "after.hpp"

namespace demo {

struct real_server {
    std::string base_url;
    std::string model;
    std::string key_variable;  ///< empty: OPENAI_API_KEY where it is set
};

inline llmkit::openai_options options_for(const real_server& where) {
    llmkit::openai_options options;
    options.base_url(where.base_url);
    if (!where.key_variable.empty()) {
        options.key_from(where.key_variable);
    } else if (std::getenv("OPENAI_API_KEY") == nullptr) {
        options.no_key();
    }
    return options;
}

inline llmkit::task<int> run_real(real_server where) {
    auto http = llmkit::http(co_await llmkit::asio::this_coro::executor, llmkit::tls());
    llmkit::metrics figures;
    llmkit::price_table no_prices;
    auto client = full_pipeline(llmkit::openai(http, options_for(where)), llmkit::retry_policy(),
                                llmkit::memory_cache(1000), figures, no_prices);

    const std::array<const char*, 4> prompts = {
        "In one sentence: what is a coroutine?", "In one sentence: what is a cache?",
        "In one sentence: what is backpressure?",
        "In one sentence: what is a coroutine?"};  // once more: from the cache
    int failed = 0;
    for (const char* prompt : prompts) {
        fmt::print("> {}\n", prompt);
        auto stream = co_await client.stream(llmkit::chat_request(where.model).user(prompt));
        while (auto delta = co_await stream.next()) {
            fmt::print("{}", delta.text());
            std::fflush(stdout);
        }
        const bool hit = !stream.head().came_by.cache_level.empty();
        fmt::print("{}\n\n", hit ? "  (from the cache)" : "");
        if (stream.failed()) {
            fmt::print(stderr, "{}\n", stream.error());
            ++failed;
        }
    }
    fmt::print("{}", llmkit::to_table(figures.snapshot()));
    co_return failed == 0 ? 0 : 1;
}

}  // namespace demo
