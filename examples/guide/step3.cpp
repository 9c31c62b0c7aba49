// The same, and what happened on the way.
#include <chrono>

#include "guide.hpp"

using namespace std::chrono_literals;

// [quote:step3]
llmkit::task<void> step3(tally& seen) {
    auto http = llmkit::http(co_await asio::this_coro::executor,
                             {.max_connections = 64, .max_per_host = 64, .max_idle = 64});
    llmkit::metrics figures;
    llmkit::price_table prices;
    prices.add("gpt-4o-mini", {.input = 0.15, .output = 0.60});
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() | llmkit::dedup() |
                  llmkit::cache(llmkit::memory_cache(10'000)) | llmkit::monitor(figures, prices);
    auto lines = llmkit::report_every(
        figures, client.clock(), 500ms,
        [](const llmkit::metrics_snapshot& now) { fmt::print("{}\n", llmkit::to_line(now)); });

    const auto work = [client, &seen](std::string message) {
        return reply(client, seen, std::move(message));
    };
    auto answers = co_await llmkit::batch::map(mail(), work, {.concurrency = 64});
    for (const auto& answer : answers) answer ? seen.answered() : seen.failed();
    fmt::print("{}\n", llmkit::to_table(figures.snapshot()));
}
// [quote:step3]
