// llmkit/core/run.hpp: runs a program's main task, or lets a program without coroutines wait.
#pragma once

#include <cstdio>
#include <exception>
#include <future>
#include <optional>
#include <thread>
#include <utility>

#include <asio/executor_work_guard.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_future.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>

namespace llmkit {

/// Runs `program` on an io_context of its own until it ends; for `main`.
///
///     int main() { return llmkit::run(hello()); }
///
/// Ctrl-C (SIGINT) and SIGTERM cancel it: what it waits for throws, its destructors run. A second
/// one ends the process at once. Returns 0, or what an int task returns; 130 when cancelled by a
/// signal; 1 after printing the exception that escaped.
template <class T>
    requires(std::is_void_v<T> || std::is_same_v<T, int>)
int run(task<T> program) {
    asio::io_context context(1);
    one_thread(context);
    asio::cancellation_signal cancel;
    asio::signal_set signals(context, SIGINT, SIGTERM);
    std::exception_ptr escaped;
    int status = 0;
    bool interrupted = false;

    signals.async_wait([&](const std::error_code& failed, int) {
        if (failed) return;
        interrupted = true;
        signals.clear();  // a second signal has its default effect
        cancel.emit(asio::cancellation_type::terminal);
    });
    const auto end = [&](std::exception_ptr failure) {
        escaped = std::move(failure);
        context.stop();
    };
    if constexpr (std::is_void_v<T>) {
        asio::co_spawn(context, std::move(program),
                       asio::bind_cancellation_slot(cancel.slot(), end));
    } else {
        asio::co_spawn(context, std::move(program),
                       asio::bind_cancellation_slot(cancel.slot(),
                                                    [&](std::exception_ptr failure, int result) {
                                                        status = result;
                                                        end(std::move(failure));
                                                    }));
    }
    context.run();

    if (!escaped) return interrupted ? 130 : status;
    try {
        std::rethrow_exception(escaped);
    } catch (const asio::system_error& failure) {
        if (interrupted && is_cancellation(failure)) return 130;
        std::fprintf(stderr, "%s\n", failure.what());
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
    }
    return 1;
}

/// A thread that runs tasks, for programs without coroutines.
///
///     llmkit::background_loop loop;
///     auto client = llmkit::pipeline(llmkit::openai(llmkit::http(loop.get_executor(), tls())));
///     auto answer = loop.wait(client.chat(llmkit::chat_request("gpt-4o-mini").user("Hi")));
///
/// `wait` blocks the calling thread until the task has ended and returns or throws what it did. It
/// may be called by many threads at once, but not on the loop's own thread. The destructor ends
/// what still runs; no other thread may be waiting then.
class background_loop {
public:
    background_loop() : work_(context_.get_executor()), thread_([this] { context_.run(); }) {
        one_thread(context_);
    }
    background_loop(const background_loop&) = delete;
    background_loop& operator=(const background_loop&) = delete;
    ~background_loop() {
        context_.stop();
        thread_.join();
    }

    asio::io_context::executor_type get_executor() { return context_.get_executor(); }

    template <class T>
    T wait(task<T> work) {
        return asio::co_spawn(context_, std::move(work), asio::use_future).get();
    }

private:
    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::thread thread_;
};

}  // namespace llmkit
