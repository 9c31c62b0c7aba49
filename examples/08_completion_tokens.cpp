// In a program that is built on Asio otherwise: every call takes a completion token as its last
// argument. It then starts at once, on the executor that the transport was made with.
#include <exception>
#include <future>

#include <fmt/format.h>
#include <asio/use_future.hpp>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

int main() {
    asio::io_context context;
    auto http = llmkit::http(context.get_executor(), llmkit::tls());
    auto client = llmkit::pipeline(llmkit::openai(http)) | llmkit::retry();

    // A future.
    std::future<llmkit::result<llmkit::completion>> later =
        client.chat(llmkit::chat_request("gpt-4o-mini").user("A future?"), asio::use_future);

    // A callback. The exception is the caller's cancellation; failures of the call are in the
    // result.
    client.chat(llmkit::chat_request("gpt-4o-mini").user("A callback?"),
                [](std::exception_ptr, llmkit::result<llmkit::completion> answer) {
                    fmt::print("{}\n", answer ? answer->text() : answer.error().to_string());
                });

    // A callback that can be cancelled.
    asio::cancellation_signal stop;
    client.chat(llmkit::chat_request("gpt-4o-mini").user("Never mind."),
                asio::bind_cancellation_slot(stop.slot(), [](std::exception_ptr cancelled,
                                                             llmkit::result<llmkit::completion>) {
                    fmt::print("{}\n", cancelled ? "cancelled" : "too late to cancel");
                }));
    asio::post(context, [&] { stop.emit(asio::cancellation_type::terminal); });

    context.run();  // until nothing is left to do
    const auto answer = later.get();
    fmt::print("{}\n", answer ? answer->text() : answer.error().to_string());
    return answer ? 0 : 1;
}
