// Many at once, over a pool of connections that is large enough.
#include "guide.hpp"

// [quote:step2]
llmkit::task<void> step2(tally& seen, std::size_t connections) {
    auto http = llmkit::http(
        co_await asio::this_coro::executor,
        {.max_connections = connections, .max_per_host = connections, .max_idle = connections});
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() | llmkit::dedup() |
                  llmkit::cache(llmkit::memory_cache(10'000));

    // Named, not a temporary: see docs/coroutines.md.
    const auto work = [client, &seen](std::string message) {
        return reply(client, seen, std::move(message));
    };
    auto answers = co_await llmkit::batch::map(mail(), work, {.concurrency = 64});
    for (const auto& answer : answers) answer ? seen.answered() : seen.failed();
}
// [quote:step2]
