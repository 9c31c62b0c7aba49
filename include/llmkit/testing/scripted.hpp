// llmkit/testing/scripted.hpp: a provider that says what its test tells it to say.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/service.hpp>
#include <llmkit/testing/scripted_answer.hpp>
#include <llmkit/testing/scripted_stream.hpp>

namespace llmkit::testing {

/// A service without network: each call takes the next answer of its script.
///
///     llmkit::simulation::world world;
///     llmkit::testing::scripted provider(world.get_executor());
///     provider.then(fails(error_kind::overloaded)).then(says("Hello there").every(20ms));
///
///     auto client = llmkit::pipeline(provider) | llmkit::retry();
///     auto answer = world.wait(client.chat(llmkit::chat_request("m").user("Hi")));
///     CHECK(answer->text() == "Hello there");
///     CHECK(provider.counts().begun == 2);
///
/// Behaves as providers must: honours deadlines and limits also while nobody reads, appends an
/// attempt to the trail for each call, stops at once when the caller leaves. Without an answer left
/// a call fails with an error of kind `configuration`. A handle: copies share script and counts.
/// Thread-safe.
class scripted {
public:
    explicit scripted(const executor& where) : scripted(clock_handle(where)) {}
    explicit scripted(clock_handle time) : core_(std::make_shared<core>(std::move(time))) {}

    /// Queues an answer: text, an error, or what `says`, `fails`, `never_answers`, `sends` make.
    const scripted& then(scripted_answer next) const {
        std::lock_guard lock(core_->mutex);
        core_->queue.push_back(std::move(next));
        return *this;
    }
    /// Answers all calls that find the queue empty.
    const scripted& always(std::function<scripted_answer(const request&)> decide) const {
        std::lock_guard lock(core_->mutex);
        core_->otherwise = std::move(decide);
        return *this;
    }
    const scripted& always(scripted_answer same) const {
        return always([same = std::move(same)](const request&) { return same; });
    }
    /// Which provider it claims to be: "scripted" unless told otherwise.
    const scripted& set_origin(std::string who) const {
        std::lock_guard lock(core_->mutex);
        core_->origin = std::move(who);
        return *this;
    }

    scripted_counts counts() const { return core_->tally->counts(); }
    /// Copies of what was asked, in order. They keep nothing of the calls alive.
    std::vector<request> requests() const {
        std::lock_guard lock(core_->mutex);
        return core_->requests;
    }
    request last_request() const { return requests().back(); }
    /// When each call came, since the first call.
    std::vector<duration> times() const {
        std::lock_guard lock(core_->mutex);
        std::vector<duration> spans;
        for (time_point at : core_->times) spans.push_back(at - core_->times.front());
        return spans;
    }

    task<result<response>> operator()(request ask) const { return call(core_, std::move(ask)); }
    clock_handle clock() const { return core_->time; }
    std::string origin() const {
        std::lock_guard lock(core_->mutex);
        return core_->origin;
    }

private:
    struct core {
        explicit core(clock_handle passing) : time(std::move(passing)) {}
        clock_handle time;
        std::shared_ptr<scripted_tally> tally = std::make_shared<scripted_tally>();
        std::mutex mutex;
        std::deque<scripted_answer> queue;
        std::function<scripted_answer(const request&)> otherwise;
        std::vector<request> requests;
        std::vector<time_point> times;
        std::string origin = "scripted";
    };

    static scripted_answer take(core& from, const request& ask) {
        std::function<scripted_answer(const request&)> decide;
        {
            std::lock_guard lock(from.mutex);
            request copy = ask;
            // A copy must not keep the call in flight, nor point into it.
            copy.options().link = nullptr;
            copy.options().deadline = limit();
            copy.options().deadline.until = ask.options().deadline.effective();
            from.requests.push_back(std::move(copy));
            from.times.push_back(from.time.now());
            if (!from.queue.empty()) {
                scripted_answer next = std::move(from.queue.front());
                from.queue.pop_front();
                return next;
            }
            decide = from.otherwise;
        }
        if (decide) return decide(ask);
        return fails(error(error_kind::configuration, "the script has no answer left")
                         .with_advice("Queue one more with then(), or set always()."));
    }

    static task<result<response>> call(std::shared_ptr<core> shared, request ask) {
        const clock_handle time = shared->time;
        const time_point sent = time.now();
        auto counted = std::make_shared<scripted_call>(shared->tally);
        scripted_answer script = take(*shared, ask);
        const auto& options = ask.options();
        std::string who;
        {
            std::lock_guard lock(shared->mutex);
            who = shared->origin;
        }
        const bool streamed = options.streamed && !script.refusal_;
        duration thinking = script.head_after_;
        // A unary answer comes when it is whole, and fails when it breaks.
        if (!streamed && !script.refusal_ && thinking != duration::max()) {
            const duration rest = script.unary_time();
            thinking = rest == duration::max() ? rest : thinking + rest;
        }
        auto wrong = co_await scripted_wait(time, ask, sent, after(sent, thinking),
                                            after(sent, options.first_event), options.first_event,
                                            "first event");
        if (!wrong) wrong = script.refusal_;
        if (!wrong && !streamed) wrong = script.failure_;
        provenance how = script.head_.came_by;
        const int status = wrong ? wrong->status() : script.head_.status;
        const error_kind failure = wrong ? wrong->kind() : error_kind::unset;
        how.attempts =
            options.attempts.with(attempt(who, sent, time.now() - sent, status, failure));
        if (wrong) {
            counted->end();
            co_return wrong->with_provenance(std::move(how));
        }
        response_head head = script.head_;
        head.streamed = streamed;
        head.came_by = how;
        if (!streamed) {
            counted->end();
            co_return response(std::move(head), event_stream(script.whole()));
        }
        auto source = std::make_unique<scripted_stream>(
            time, std::move(ask), sent, std::move(script), std::move(counted), std::move(how));
        co_return response(std::move(head), event_stream(std::move(source)));
    }

    std::shared_ptr<core> core_;
};

}  // namespace llmkit::testing
