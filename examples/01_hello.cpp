// clang-format off
// [quote:hello]
#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

llmkit::task<void> hello() {
    auto http   = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() | llmkit::dedup()
                | llmkit::cache(llmkit::memory_cache(10'000)) | llmkit::monitor();

    auto answer = co_await client.chat(llmkit::chat_request("gpt-4o-mini").user("Hi"));
    fmt::print("{}\n", answer.value().text());

    auto stream = co_await client.stream(llmkit::chat_request("gpt-4o-mini").user("Tell me a story"));
    while (auto delta = co_await stream.next()) fmt::print("{}", delta.text());
    if (stream.failed()) fmt::print("{}\n", stream.error());
}
int main() { return llmkit::run(hello()); }
// [quote:hello]
