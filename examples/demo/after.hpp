// The programs built with llmkit, from the bare transport with a cache to the full pipeline.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <llmkit/llmkit.hpp>

#include "callers.hpp"
#include "workload.hpp"

namespace demo {

/// Which layers a stage adds to transport and cache.
struct layers {
    bool retry = false;
    bool dedup = false;
    bool streamed = false;
};

class after final : public contender {
public:
    after(llmkit::any_service client, const workload& how, bool streamed)
        : core_(std::make_shared<core>(std::move(client))) {
        const auto scaled = [&how](double seconds) {
            return std::chrono::duration_cast<llmkit::duration>(
                std::chrono::duration<double>(seconds * how.time_scale));
        };
        core_->options.streamed = streamed;
        core_->options.timeout = scaled(how.total_limit);
        // An answer in one piece has its first event with its last token.
        if (streamed) core_->options.first_event = scaled(how.first_event_limit);
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

inline llmkit::retry_policy retries(const workload& how) {
    const auto scaled = [&how](llmkit::duration span) {
        return std::chrono::duration_cast<llmkit::duration>(span * how.time_scale);
    };
    llmkit::retry_policy policy;
    policy.first_wait = scaled(policy.first_wait);
    policy.longest_wait = scaled(policy.longest_wait);
    return policy;
}

inline llmkit::http_policy pool_of(std::size_t connections) {
    llmkit::http_policy policy;
    policy.max_connections = policy.max_per_host = policy.max_idle = connections;
    return policy;
}

inline llmkit::memory_cache answers_of(const workload& how) {
    return llmkit::memory_cache(2 * how.prompts);
}
inline llmkit::cache_policy by_meaning() {
    llmkit::cache_policy policy;
    policy.ignore_user = true;
    return policy;
}
inline llmkit::dedup_policy sharing() {
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

}  // namespace demo
