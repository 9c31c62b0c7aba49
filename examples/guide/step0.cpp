// One message after the other, each answer shown when it is complete.
#include "guide.hpp"

// [quote:step0]
llmkit::task<void> step0(tally& seen) {
    auto http = llmkit::http(co_await asio::this_coro::executor);
    auto client = llmkit::pipeline(llmkit::openai(http));

    const auto messages = mail();
    for (const auto& message : messages) {
        const auto asked = tally::clock::now();
        auto answer = co_await client.chat(reply_to(message));
        if (!answer) {
            seen.failed();
            continue;
        }
        seen.first_words(asked);  // show(answer->text())
        seen.answered();
    }
}
// [quote:step0]
