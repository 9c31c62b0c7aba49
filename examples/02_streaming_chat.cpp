// Talk to a model in the terminal: words appear as they come.
//
//     02_streaming_chat [MODEL]
//
// Ctrl-C stops an answer and keeps the conversation; at the prompt it leaves, as Ctrl-D does.
#include <csignal>
#include <cstdio>
#include <optional>
#include <string>
#include <variant>

#include <fcntl.h>

#include <fmt/format.h>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_future.hpp>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

using namespace asio::experimental::awaitable_operators;

namespace {

// The next line, without its newline; nothing at the end of input.
llmkit::task<std::optional<std::string>> read_line(asio::posix::stream_descriptor& input,
                                                   std::string& ahead) {
    fmt::print("> ");
    std::fflush(stdout);
    std::error_code failed;
    const std::size_t size =
        co_await asio::async_read_until(input, asio::dynamic_buffer(ahead), '\n',
                                        asio::redirect_error(asio::use_awaitable, failed));
    std::optional<std::string> line;
    if (failed) co_return line;
    line = ahead.substr(0, size - 1);
    ahead.erase(0, size);
    co_return line;
}

// [quote:say]
// Asks, prints the answer as it comes, and returns it; nothing if it failed.
template <class Client>
llmkit::task<std::optional<std::string>> say(Client client, llmkit::chat_request ask) {
    std::optional<std::string> answer;
    auto stream = co_await client.stream(std::move(ask));
    std::string text;
    while (auto delta = co_await stream.next()) {
        fmt::print("{}", delta.text());
        std::fflush(stdout);
        text += delta.text();
    }
    fmt::print("\n");
    if (stream.failed()) {
        fmt::print("{}\n", stream.error());
        co_return answer;
    }
    answer = std::move(text);
    co_return answer;
}
// [quote:say]

llmkit::task<void> talk(std::string model) {
    const auto here = co_await asio::this_coro::executor;
    auto client =
        llmkit::pipeline(llmkit::openai(llmkit::http(here, llmkit::tls()))) | llmkit::retry();

    asio::signal_set interrupts(here, SIGINT);
    // Opened anew: Asio makes it non-blocking, which the terminal's other users must not notice.
    asio::posix::stream_descriptor input(here, ::open("/dev/stdin", O_RDONLY));
    std::string ahead;
    llmkit::chat_request conversation(std::move(model));

    for (;;) {
        // [quote:race]
        auto line =
            co_await (read_line(input, ahead) || interrupts.async_wait(asio::use_awaitable));
        if (line.index() == 1 || !std::get<0>(line)) break;  // Ctrl-C at the prompt, or Ctrl-D

        auto ask = conversation;
        ask.user(*std::get<0>(line));
        auto said = co_await (say(client, ask) || interrupts.async_wait(asio::use_awaitable));
        if (said.index() == 1) {
            fmt::print("\n(stopped)\n");  // the stream is destroyed, the connection closed
        } else if (std::get<0>(said)) {
            conversation = ask.assistant(*std::get<0>(said));
        }
        // [quote:race]
    }
    fmt::print("\n");
}

}  // namespace

// Not llmkit::run, for which Ctrl-C means the end of the program.
int main(int argc, char** argv) {
    asio::io_context context(1);
    auto ended =
        asio::co_spawn(context, talk(argc > 1 ? argv[1] : "gpt-4o-mini"), asio::use_future);
    context.run();
    try {
        ended.get();
    } catch (const std::exception& failure) {
        fmt::print(stderr, "{}\n", failure.what());
        return 1;
    }
}
