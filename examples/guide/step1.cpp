// Answers show as they are written, and are not asked for twice.
#include "guide.hpp"

// [quote:step1]
llmkit::task<void> step1(tally& seen) {
    auto http = llmkit::http(co_await asio::this_coro::executor);
    auto client =
        llmkit::pipeline(llmkit::openai(http)) | llmkit::cache(llmkit::memory_cache(10'000));

    const auto messages = mail();
    for (const auto& message : messages) {
        auto answer = co_await reply(client, seen, message);
        answer ? seen.answered() : seen.failed();
    }
}
// [quote:step1]
