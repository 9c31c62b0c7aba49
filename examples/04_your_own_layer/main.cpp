// A layer of your own, in a pipeline with the others.
#include <chrono>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

#include "slow_calls.hpp"

using namespace std::chrono_literals;

namespace {

llmkit::task<void> ask() {
    auto http = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() |
                  slow_calls({.longer_than = 100ms}, [](const slow_call& it) {
                      fmt::print("slow: {} took {} ms\n", it.model, it.took / 1ms);
                  });

    auto answer = co_await client.chat(llmkit::chat_request("gpt-4o-mini").user("Hi"));
    fmt::print("{}\n", answer.value().text());

    auto stream = co_await client.stream(llmkit::chat_request("gpt-4o-mini").user("A story"));
    while (auto delta = co_await stream.next()) fmt::print("{}", delta.text());
    fmt::print("\n");
}

}  // namespace

int main() { return llmkit::run(ask()); }
