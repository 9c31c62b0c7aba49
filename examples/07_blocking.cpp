// A program without coroutines: calls block, and any number of threads may make them.
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

int main() {
    llmkit::background_loop loop;  // a thread that does the work
    auto http = llmkit::http(loop.get_executor(), llmkit::tls());
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry();

    auto answer = loop.wait(client.chat(llmkit::chat_request("gpt-4o-mini").user("Hi")));
    if (!answer) {
        fmt::print("{}\n", answer.error());
        return 1;
    }
    fmt::print("{}\n", answer->text());

    // Streams too: each piece is waited for.
    auto stream = loop.wait(client.stream(llmkit::chat_request("gpt-4o-mini").user("A story")));
    while (auto delta = loop.wait(stream.next())) {
        fmt::print("{}", delta.text());
        std::fflush(stdout);
    }
    fmt::print("\n");

    // The same client from other threads.
    const auto ask = [&](const char* what) {
        auto heard = loop.wait(client.chat(llmkit::chat_request("gpt-4o-mini").user(what)));
        fmt::print("{}\n", heard ? heard->text() : heard.error().to_string());
    };
    std::thread one(ask, "One");
    std::thread two(ask, "Two");
    one.join();
    two.join();
}
