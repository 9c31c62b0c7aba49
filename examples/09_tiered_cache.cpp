// Answers kept in memory and, behind it, in a file: what was asked before a restart is not paid again.
//
//     09_tiered_cache [FILE]        run it twice
#include <string>

#include <fmt/format.h>

#include <llmkit/cache/sqlite.hpp>
#include <llmkit/cache/tiered.hpp>
#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

using namespace std::chrono_literals;

namespace {

llmkit::task<void> ask(std::string file) {
    auto http = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
    llmkit::metrics figures;

    // [quote:tiers]
    auto answers = llmkit::tiered(llmkit::level(llmkit::memory_cache(10'000)).ttl(10min),
                                  llmkit::level(llmkit::sqlite_cache(file)).limit(20ms))
                       .write_behind();
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() | llmkit::dedup() |
                  llmkit::cache(answers, {.ttl = 24h}) | llmkit::monitor(figures);
    figures.watch("cache", answers);
    // [quote:tiers]

    for (const char* question : {"One", "Two", "One"}) {
        auto answer = co_await client.chat(llmkit::chat_request("gpt-4o-mini").user(question));
        if (!answer) {
            fmt::print("{}\n", answer.error());
            continue;
        }
        const auto from = answer->came_by().cache_level;
        fmt::print("from {}: {}\n", from.empty() ? "the provider" : from, answer->text());
    }
    fmt::print("\n{}", llmkit::to_table(figures.snapshot()));

    // Waits for what is still to be written, two seconds at most.
    co_await client.close(2s);
}

}  // namespace

int main(int argc, char** argv) { return llmkit::run(ask(argc > 1 ? argv[1] : "answers.db")); }
