// The pipelines of the demo.
#include "after.hpp"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

namespace demo {

namespace {

llmkit::duration scaled(const workload& how, double seconds) {
    return std::chrono::duration_cast<llmkit::duration>(
        std::chrono::duration<double>(seconds * how.time_scale));
}

class after final : public contender {
public:
    after(llmkit::any_service client, const workload& how, bool streamed)
        : core_(std::make_shared<core>(std::move(client))) {
        core_->options.streamed = streamed;
        core_->options.timeout = scaled(how, how.total_limit);
        // An answer in one piece has its first event with its last token.
        if (streamed) core_->options.first_event = scaled(how, how.first_event_limit);
    }

    bool streams() const override { return core_->options.streamed; }
    task<call_outcome> call(std::string body) override { return answer(core_, std::move(body)); }

private:
    struct core {
        explicit core(llmkit::any_service made) : client(std::move(made)) {}
        llmkit::any_service client;
        llmkit::call_options options;
    };

    static task<call_outcome> answer(std::shared_ptr<core> self, std::string body) {
        llmkit::request ask("chat/completions", std::move(body));
        ask.options() = self->options;
        const auto time = self->client.clock();
        call_outcome outcome;
        auto got = co_await self->client(std::move(ask));
        if (!got) {
            outcome.join = got.error().came_by().role == llmkit::dedup_role::joined;
            outcome.error = to_string(got.error().kind());
            co_return outcome;
        }
        const llmkit::provenance& how = got->head().came_by;
        outcome.hit = !how.cache_level.empty();
        outcome.join = !outcome.hit && how.role == llmkit::dedup_role::joined;
        auto& events = got->events();
        while (auto item = co_await events.next()) {
            if (!outcome.first_event) outcome.first_event = time.now();
        }
        if (!events.failed()) {
            outcome.how = ending::answered;
        } else {
            outcome.error = to_string(events.error().kind());
            if (outcome.first_event) outcome.how = ending::cut;
        }
        co_return outcome;
    }

    std::shared_ptr<core> core_;
};

llmkit::retry_policy retries(const workload& how) {
    llmkit::retry_policy policy;
    for (auto* wait : {&policy.first_wait, &policy.longest_wait}) {
        *wait = std::chrono::duration_cast<llmkit::duration>(*wait * how.time_scale);
    }
    return policy;
}

llmkit::http_policy pool_of(std::size_t connections) {
    llmkit::http_policy policy;
    policy.max_connections = policy.max_per_host = policy.max_idle = connections;
    return policy;
}

llmkit::memory_cache answers_of(const workload& how) {
    return llmkit::memory_cache(2 * how.prompts);
}
llmkit::cache_policy by_meaning() {
    llmkit::cache_policy policy;
    policy.ignore_user = true;
    return policy;
}
llmkit::dedup_policy sharing() {
    llmkit::dedup_policy policy;
    policy.ignore_user = true;
    return policy;
}

/// Everything, as the guide recommends it.
template <class Provider>
auto full_pipeline(Provider upstream, const llmkit::retry_policy& again,
                   const llmkit::memory_cache& answers, const llmkit::metrics& figures,
                   const llmkit::price_table& prices) {
    return llmkit::pipeline(std::move(upstream)) | llmkit::retry(again) | llmkit::dedup(sharing()) |
           llmkit::cache(answers, by_meaning()) | llmkit::stream() |
           llmkit::monitor(figures, prices);
}

template <class S>
llmkit::any_service any(S client) {
    return llmkit::any_service(std::move(client));
}

auto upstream(asio::io_context& context, std::uint16_t port, std::size_t connections) {
    return llmkit::openai(
        llmkit::http(context.get_executor(), pool_of(connections)),
        llmkit::openai_options().base_url(fmt::format("http://127.0.0.1:{}/v1", port)).no_key());
}

llmkit::openai_options options_for(const real_server& where) {
    llmkit::openai_options options;
    options.base_url(where.base_url);
    if (!where.key_variable.empty()) {
        options.key_from(where.key_variable);
    } else if (std::getenv("OPENAI_API_KEY") == nullptr) {
        options.no_key();
    }
    return options;
}

}  // namespace

std::shared_ptr<contender> make_client(asio::io_context& context, std::uint16_t port,
                                       std::size_t connections, const workload& how,
                                       const layers& with) {
    // Chosen at run time, so each layer is compiled once.
    llmkit::any_service client(upstream(context, port, connections));
    if (with.retry) client = any(llmkit::pipeline(client) | llmkit::retry(retries(how)));
    if (with.dedup) client = any(llmkit::pipeline(client) | llmkit::dedup(sharing()));
    client = any(llmkit::pipeline(client) | llmkit::cache(answers_of(how), by_meaning()));
    if (with.streamed) client = any(llmkit::pipeline(client) | llmkit::stream());
    return std::make_shared<after>(client, how, with.streamed);
}

std::shared_ptr<contender> make_full_client(asio::io_context& context, std::uint16_t port,
                                            std::size_t connections, const workload& how,
                                            const llmkit::metrics& seen) {
    llmkit::price_table prices;
    prices.add("demo-1", {.input = how.usd_input, .output = how.usd_output});
    auto client = full_pipeline(upstream(context, port, connections), retries(how), answers_of(how),
                                seen, prices);
    return std::make_shared<after>(any(client), how, true);
}

task<int> run_real(real_server where) {
    auto http = llmkit::http(co_await llmkit::asio::this_coro::executor, llmkit::tls());
    llmkit::metrics figures;
    llmkit::price_table no_prices;
    auto client = full_pipeline(llmkit::openai(http, options_for(where)), llmkit::retry_policy(),
                                llmkit::memory_cache(1000), figures, no_prices);

    const std::array<const char*, 4> prompts = {
        "In one sentence: what is a coroutine?", "In one sentence: what is a cache?",
        "In one sentence: what is backpressure?",
        "In one sentence: what is a coroutine?"};  // once more: from the cache
    int failed = 0;
    for (const char* prompt : prompts) {
        fmt::print("> {}\n", prompt);
        auto stream = co_await client.stream(llmkit::chat_request(where.model).user(prompt));
        while (auto delta = co_await stream.next()) {
            fmt::print("{}", delta.text());
            std::fflush(stdout);
        }
        const bool hit = !stream.head().came_by.cache_level.empty();
        fmt::print("{}\n\n", hit ? "  (from the cache)" : "");
        if (stream.failed()) {
            fmt::print(stderr, "{}\n", stream.error());
            ++failed;
        }
    }
    fmt::print("{}", llmkit::to_table(figures.snapshot()));
    co_return failed == 0 ? 0 : 1;
}

}  // namespace demo
