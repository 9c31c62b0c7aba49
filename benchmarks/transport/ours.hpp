// llmkit: the transport alone, and six layers with typed requests and answers.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <llmkit/cache/memory.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/monitor.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/stream.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/transport/http.hpp>

#include "message.hpp"

namespace bench {

using namespace llmkit;

struct tally {
    std::size_t left = 0;
    std::size_t answered = 0;
};

inline http_policy roomy() { return {.max_idle = 2 * in_flight, .total = std::chrono::minutes(1)}; }

/// The transport; https URLs too when `options` say so.
class ours {
public:
    ours(http_options options, const std::string& base)
        : client_(http(io_.get_executor(), options.policy(roomy()))) {
        one_thread(io_);
        std::string why;
        target_.emplace(url::parse(base + "/v1/chat/completions", why).value());
    }
    std::size_t run(std::size_t calls) {
        tally sum{calls, 0};
        for (std::size_t i = 0; i < in_flight; ++i)
            asio::co_spawn(io_, caller(client_, *target_, body_, sum), told);
        io_.restart();
        io_.run();
        return sum.answered;
    }
    const http_transport& client() const { return client_; }
    asio::io_context& context() { return io_; }

private:
    static void told(std::exception_ptr escaped) {
        if (escaped) std::rethrow_exception(escaped);
    }
    static task<void> caller(http_transport client, url target, bytes body, tally& sum) {
        while (sum.left > 0) {
            --sum.left;
            headers fields;
            fields.add("Content-Type", "application/json");
            fields.add("Authorization", "Bearer sk-test");
            auto answer =
                co_await client.send(http_request("POST", target, std::move(fields), body));
            if (!answer) {
                std::fprintf(stderr, "%s\n", answer.error().to_string().c_str());
                continue;
            }
            auto text = co_await answer->read();
            if (text && text->size() == answer_size) ++sum.answered;
        }
    }

    asio::io_context io_{1};
    http_transport client_;
    std::optional<url> target_;
    bytes body_{request_body()};
};

/// The same by two threads, each caller on a strand.
class ours_by_two {
public:
    explicit ours_by_two(const std::string& base)
        : client_(http(io_.get_executor(), http_options().policy(roomy()))) {
        std::string why;
        target_.emplace(url::parse(base + "/v1/chat/completions", why).value());
    }
    std::size_t run(std::size_t calls) {
        std::atomic<std::size_t> answered = 0;
        for (std::size_t i = 0; i < in_flight; ++i)
            asio::co_spawn(asio::make_strand(io_),
                           caller(client_, *target_, body_, calls / in_flight, answered),
                           [](std::exception_ptr) {});
        io_.restart();
        std::thread other([this] { io_.run(); });
        io_.run();
        other.join();
        return answered;
    }

private:
    static task<void> caller(http_transport client, url target, bytes body, std::size_t calls,
                             std::atomic<std::size_t>& answered) {
        for (std::size_t i = 0; i < calls; ++i) {
            headers fields;
            fields.add("Content-Type", "application/json");
            fields.add("Authorization", "Bearer sk-test");
            auto answer =
                co_await client.send(http_request("POST", target, std::move(fields), body));
            if (answer) ++answered;
        }
    }

    asio::io_context io_{2};
    http_transport client_;
    std::optional<url> target_;
    bytes body_{request_body()};
};

inline auto six_layers(asio::io_context& io, const std::string& base) {
    one_thread(io);
    auto transport = http(io.get_executor(), http_options().policy(roomy()));
    auto provider = openai(transport, openai_options().base_url(base + "/v1").key("sk-test"));
    return pipeline(std::move(provider)) | retry() | dedup() | cache(memory_cache(1000)) |
           stream() | timeout(std::chrono::seconds(30)) | monitor();
}

/// Six layers; every call has a new prompt, so that nothing is cached.
class typed {
public:
    explicit typed(const std::string& base) : client_(six_layers(io_, base)) {}
    std::size_t run(std::size_t calls) {
        tally sum{calls, 0};
        for (std::size_t i = 0; i < in_flight; ++i)
            asio::co_spawn(io_, caller(client_, number_, sum), [](std::exception_ptr) {});
        io_.restart();
        io_.run();
        return sum.answered;
    }

private:
    using client = decltype(six_layers(std::declval<asio::io_context&>(), std::string()));

    static task<void> caller(client ask, std::size_t& number, tally& sum) {
        while (sum.left > 0) {
            --sum.left;
            std::string prompt = std::to_string(number++);
            prompt.resize(350, 'x');
            auto answer = co_await ask.chat(chat_request("gpt-4o-mini")
                                                .system("You are brief.")
                                                .user(std::move(prompt))
                                                .temperature(0));
            if (answer && !answer->text().empty()) ++sum.answered;
        }
    }

    asio::io_context io_{1};
    client client_;
    std::size_t number_ = 0;
};

}  // namespace bench
