// llmkit/testing/scripted_transport.hpp: a transport without network, for tests of providers.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/clock.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/testing/http_answer.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit::testing {

/// Answers each request with the next answer of its script, and remembers what was sent.
///
///     llmkit::simulation::world world;
///     llmkit::testing::scripted_transport http(world.get_executor());
///     http.then(http_answer(200, R"({"choices":[{"message":{"content":"Hi"}}]})"));
///
///     auto client = llmkit::pipeline(llmkit::openai(http, "key"));
///     auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hello")));
///     CHECK(http.sent(0).target().path() == "/v1/chat/completions");
///
/// Keeps deadlines and the limits for the head and between pieces, on its clock. Without an answer
/// left it fails with an error of kind `configuration`. A handle: copies share the script.
/// Thread-safe.
class scripted_transport {
public:
    explicit scripted_transport(const executor& where) : scripted_transport(clock_handle(where)) {}
    explicit scripted_transport(clock_handle time)
        : core_(std::make_shared<core>(std::move(time))) {}

    const scripted_transport& then(http_answer next) const {
        std::lock_guard lock(core_->mutex);
        core_->queue.push_back(std::move(next));
        return *this;
    }
    /// Answers whatever finds the script at its end.
    const scripted_transport& always(std::function<http_answer(const http_request&)> decide) const {
        std::lock_guard lock(core_->mutex);
        core_->otherwise = std::move(decide);
        return *this;
    }

    /// How many requests came.
    std::size_t calls() const {
        std::lock_guard lock(core_->mutex);
        return core_->sent.size();
    }
    /// One of them. Precondition: it came.
    http_request sent(std::size_t which) const {
        std::lock_guard lock(core_->mutex);
        return core_->sent.at(which);
    }
    /// Answers whose body is neither read to its end nor let go of.
    std::size_t open() const {
        std::lock_guard lock(core_->mutex);
        return core_->open;
    }
    /// Answers that were read to their end, or finished just before it: a real connection would be
    /// used again.
    std::size_t finished() const {
        std::lock_guard lock(core_->mutex);
        return core_->finished;
    }

    clock_handle clock() const { return core_->time; }
    task<result<http_response>> send(http_request ask) { return answer(core_, std::move(ask)); }

private:
    struct core {
        explicit core(clock_handle t) : time(std::move(t)) {}

        http_answer take(const http_request& ask) {
            std::lock_guard lock(mutex);
            sent.push_back(ask);
            if (!queue.empty()) {
                http_answer next = std::move(queue.front());
                queue.pop_front();
                return next;
            }
            if (otherwise) return otherwise(ask);
            return error(error_kind::configuration, "the script has no answer left");
        }

        const clock_handle time;
        std::mutex mutex;
        std::deque<http_answer> queue;
        std::function<http_answer(const http_request&)> otherwise;
        std::vector<http_request> sent;
        std::size_t open = 0, finished = 0;
    };

    /// Lets `pause` pass, unless a limit comes first.
    static task<result<void>> wait_for(clock_handle time, duration pause, limit deadline,
                                       duration span, const char* code) {
        const time_point now = time.now();
        const time_point ready = llmkit::after(now, pause);
        const time_point given_up = llmkit::after(now, span);
        if (pause > duration::zero()) {
            const limit until = deadline.earliest(std::min(ready, given_up));
            if (co_await sleep_until(time, until) == woke::by_close) {
                co_return error(error_kind::closed, "the pipeline was closed");
            }
        }
        if (time.now() >= ready) co_return result<void>();
        const bool total = time.now() >= deadline.effective();
        co_return error(error_kind::timeout, "the script was slower than a limit")
            .with_code(total ? "total_limit" : code);
    }

    class body final : public http_body {
    public:
        body(std::shared_ptr<core> shared, http_answer script, limit deadline, duration idle)
            : shared_(std::move(shared)),
              script_(std::move(script)),
              deadline_(deadline),
              idle_(idle) {
            std::lock_guard lock(shared_->mutex);
            ++shared_->open;
        }
        ~body() override {
            std::lock_guard lock(shared_->mutex);
            --shared_->open;
            if (ended_) ++shared_->finished;
        }

        task<result<bytes>> read() override {
            const std::string_view whole = script_.body();
            const std::size_t begin = at_;
            const bool more = begin < whole.size();
            const duration pause = more                   ? script_.before_piece()
                                   : script_.silent_end() ? duration::max()
                                                          : duration::zero();
            auto waited = co_await wait_for(shared_->time, pause, deadline_,
                                            begin == 0 ? duration::max() : idle_, "idle_limit");
            if (!waited) co_return waited.error();
            if (more) {
                at_ = script_.piece_end(begin);
                // A buffer of its own, so that sanitizers see a view that outlives it.
                co_return bytes::copy(whole.substr(begin, at_ - begin));
            }
            if (script_.ending()) co_return *script_.ending();
            ended_ = true;
            co_return bytes();
        }
        void finish() override {
            const bool more = at_ < script_.body().size();
            ended_ = ended_ || !(more || script_.silent_end() || script_.ending());
        }

    private:
        std::shared_ptr<core> shared_;
        http_answer script_;
        limit deadline_;
        duration idle_;
        std::size_t at_ = 0;
        bool ended_ = false;
    };

    static task<result<http_response>> answer(std::shared_ptr<core> shared, http_request ask) {
        auto script = shared->take(ask);
        auto waited = co_await wait_for(shared->time, script.before_head(), ask.deadline,
                                        ask.first_event, "first_event_limit");
        if (!waited) co_return waited.error().with_where(ask.where());
        if (script.failure()) co_return script.failure()->with_where(ask.where());
        const int status = script.status();
        auto fields = std::make_shared<const headers>(script.fields());
        auto pulled = std::make_unique<body>(shared, std::move(script), ask.deadline, ask.idle);
        co_return http_response(status, std::move(fields), std::move(pulled));
    }

    std::shared_ptr<core> core_;
};

}  // namespace llmkit::testing
