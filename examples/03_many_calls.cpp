// Many calls at once, with a progress bar. Ctrl-C cancels those under way.
//
//     03_many_calls [CALLS] [AT_ONCE]
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

namespace {

void draw_bar(const llmkit::batch_progress& now) {
    const std::size_t width = 40;
    const std::size_t filled = now.total == 0 ? width : now.done * width / now.total;
    fmt::print("\r[{:.<{}}] {} of {}, {} failed", std::string(filled, '#'), width, now.done,
               now.total, now.failed);
    std::fflush(stdout);
}

llmkit::task<int> ask_all(std::size_t calls, std::size_t at_once) {
    // As many connections as calls at once, or some would wait for others.
    auto http = llmkit::http(co_await asio::this_coro::executor, llmkit::tls(),
                             {.max_connections = at_once, .max_per_host = at_once});
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry();

    // [quote:map]
    std::vector<llmkit::chat_request> asks;
    for (std::size_t i = 1; i <= calls; ++i) {
        asks.push_back(llmkit::chat_request("gpt-4o-mini").user(fmt::format("Count to {}.", i)));
    }
    auto answers =
        co_await llmkit::batch::map(client, std::move(asks), {.concurrency = at_once}, draw_bar);
    // [quote:map]

    fmt::print("\n");
    int failed = 0;
    for (std::size_t i = 0; i < answers.size(); ++i) {  // in the order of the questions
        if (answers[i]) continue;
        fmt::print("question {}: {}\n", i + 1, answers[i].error());
        failed = 1;
    }
    if (!answers.empty() && answers.back()) fmt::print("{}\n", answers.back()->text());
    co_return failed;
}

}  // namespace

int main(int argc, char** argv) {
    const auto number = [&](int which, std::size_t otherwise) {
        return argc > which ? std::strtoul(argv[which], nullptr, 10) : otherwise;
    };
    return llmkit::run(ask_all(number(1, 100), number(2, 25)));
}
