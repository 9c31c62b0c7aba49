// llmkit/metrics/monitored_call.hpp: one call as the monitor sees it, from its start to its end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/clock.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/detail/json_edit.hpp>
#include <llmkit/metrics/call_log.hpp>
#include <llmkit/metrics/registry.hpp>
#include <llmkit/token/pricing.hpp>

namespace llmkit::detail {

/// What all calls through one monitor share.
struct monitor_state {
    metrics figures;
    price_table prices;
    call_log_sink log;
};

/// Counts its call once, whatever becomes of it: ended by the stream it is attached to, by an
/// error, or by its destructor, which means that the caller left.
class monitored_call final : public stream_tap {
public:
    monitored_call(std::shared_ptr<const monitor_state> shared, clock_handle time,
                   const request& ask)
        : state_(std::move(shared)),
          time_(std::move(time)),
          began_(time_.now()),
          before_(began_),
          asked_(ask.shared_body()),
          tried_before_(ask.options().attempts.size()),
          streamed_(ask.options().streamed) {
        state_->figures.call_started(began_);
        if (state_->log) operation_ = ask.operation();
    }
    monitored_call(monitored_call&&) noexcept = default;  // leaves no state behind, so is silent
    monitored_call& operator=(monitored_call&&) = delete;
    ~monitored_call() override {
        if (state_) finish(outcome::abandoned, nullptr);
    }

    /// The head has come.
    void answered(const response_head& head) {
        model_ = head.model;
        request_id_ = head.request_id;
        came_by_ = head.came_by;
        answered_ = true;
    }
    void failed(const error& why) { finish(outcome::failed, &why); }

    /// A whole answer: watched without being attached.
    void whole(const event& body, response_head& head) {
        answered(head);
        on_event(body);
        head.came_by.cost = came_by_.cost = cost();
        finish(outcome::complete, nullptr);
    }

    void on_event(const event& passing) override {
        const event_facts& facts = passing.facts();
        if (facts.usage.known) usage_ = facts.usage;  // the latest is the sum
        if (facts.finish != finish_reason::none) finished_ = true;
        if (facts.injected) return;
        bytes_ += passing.data().size();
        content_ = content_ || facts.content || facts.tool_call;
        const time_point now = time_.now();
        if (first_event_) {
            state_->figures.event_gap(now - before_);
        } else {
            first_event_ = now - began_;
        }
        before_ = now;
    }
    void on_end(outcome how, const error* why) override { finish(how, why); }

private:
    void finish(outcome how, const error* why) noexcept {
        const auto state = std::exchange(state_, nullptr);
        if (!state) return;
        try {
            end(*state, how, why);
        } catch (...) {  // a monitor out of memory must not end the program
        }
    }
    void end(const monitor_state& state, outcome how, const error* why) {
        if (why && !answered_) came_by_ = why->came_by();
        // Of a stream that broke, its error knows what was tried; that it was joined or missed in a
        // cache only its head has told.
        if (why && why->came_by().attempts.size() > came_by_.attempts.size()) {
            came_by_.attempts = why->came_by().attempts;
        }
        // A reader may leave as soon as the model has said why it stopped.
        if (how == outcome::abandoned && finished_) how = outcome::complete;

        const time_point now = time_.now();
        call_record record;
        const std::string named = model_.empty() ? asked_model() : std::string();
        record.model = model_.empty() ? named : model_;
        record.latency = now - began_;
        record.first_event = first_event_;
        if (how == outcome::failed && why) record.error = to_string(why->kind());
        record.after_content = how == outcome::failed && content_;
        record.abandoned = how == outcome::abandoned;
        const std::size_t tried = came_by_.attempts.size();
        record.attempts = static_cast<unsigned>(tried > tried_before_ ? tried - tried_before_ : 0);
        record.cache_level = came_by_.cache_level;
        record.stale = came_by_.stale;
        record.missed = came_by_.missed;
        record.joined = came_by_.role == dedup_role::joined;
        record.usage = usage_;
        record.cost = came_by_.cost ? came_by_.cost : cost(state, record);
        record.bytes = bytes_;
        state.figures.call_ended(record, now);
        if (!state.log) return;
        call_log_entry entry;
        entry.record = record;
        entry.wall = time_.wall();
        entry.operation = operation_;
        entry.request_id = why && !why->request_id().empty() ? why->request_id() : request_id_;
        entry.streamed = streamed_;
        if (why) {
            entry.status = why->status();
            entry.code = why->code();
        }
        state.log(call_log_line(entry));
    }
    static std::optional<double> cost(const monitor_state& state, const call_record& record) {
        const bool free = record.joined || !record.cache_level.empty() || record.stale;
        return free ? std::nullopt : state.prices.cost(record.model, record.usage);
    }
    /// Of a whole answer, for its reader.
    std::optional<double> cost() const {
        if (came_by_.cost) return came_by_.cost;
        call_record record;
        record.model = model_;
        record.joined = came_by_.role == dedup_role::joined;
        record.cache_level = came_by_.cache_level;
        record.stale = came_by_.stale;
        record.usage = usage_;
        return cost(*state_, record);
    }
    /// Only looked for when no answer named one.
    std::string asked_model() const {
        std::string_view name = find_member(asked_.view(), "model").value_or("");
        if (name.size() >= 2 && name.front() == '"') name = name.substr(1, name.size() - 2);
        return std::string(name);
    }

    std::shared_ptr<const monitor_state> state_;
    clock_handle time_;
    time_point began_;
    time_point before_;  // when the last event came
    bytes asked_;
    std::size_t tried_before_;
    bool streamed_;
    bool answered_ = false;
    bool content_ = false;
    bool finished_ = false;
    std::uint64_t bytes_ = 0;
    std::optional<duration> first_event_;
    token_usage usage_;
    provenance came_by_;
    std::string model_;
    std::string request_id_;
    std::string operation_;
};

}  // namespace llmkit::detail
