// What the monitor has seen: as a table, as JSON, for Prometheus, and line by line while it runs.
#include <chrono>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

using namespace std::chrono_literals;

namespace {

llmkit::task<void> measured() {
    // [quote:monitor]
    llmkit::metrics figures;     // a handle: copies share what was counted
    llmkit::price_table prices;  // yours, in dollars per million tokens; llmkit knows none
    prices.add("gpt-4o-mini", {.input = 0.15, .output = 0.60});

    auto http = llmkit::http(co_await asio::this_coro::executor, llmkit::tls());
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry() |
                  llmkit::cache(llmkit::memory_cache(10'000)) | llmkit::monitor(figures, prices);
    // [quote:monitor]

    // [quote:periodic]
    // A line each 100 ms, as long as `lines` lives.
    auto lines = llmkit::report_every(
        figures, client.clock(), 100ms,
        [](const llmkit::metrics_snapshot& now) { fmt::print("{}\n", llmkit::to_line(now)); });
    // [quote:periodic]

    for (const char* question : {"One", "Two", "One", "Three", "One"}) {
        auto stream = co_await client.stream(llmkit::chat_request("gpt-4o-mini").user(question));
        while (auto delta = co_await stream.next()) {
        }
    }
    auto wrong = co_await client.chat(llmkit::chat_request("error-401").user("Who am I?"));
    fmt::print("{}\n\n", wrong.error());

    // [quote:read]
    const llmkit::metrics_snapshot seen = figures.snapshot();
    fmt::print("{}\n", llmkit::to_table(seen));
    fmt::print("{}\n", llmkit::to_json(seen).dump(2));
    fmt::print("{}\n", llmkit::to_prometheus(seen));
    fmt::print("p95 of {} calls: {} ms\n", seen.ended, seen.latency.p95() / 1ms);
    // [quote:read]
}

}  // namespace

int main() { return llmkit::run(measured()); }
