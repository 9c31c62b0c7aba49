// llmkit/core/chat_stream.hpp: an answer's text, piece by piece as the model writes it.
#pragma once

#include <optional>
#include <utility>

#include <llmkit/core/chat.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// A chat answer being written.
///
///     auto stream = co_await client.stream(chat_request("gpt-4o-mini").user("Tell me a story"));
///     while (auto delta = co_await stream.next()) fmt::print("{}", delta.text());
///     if (stream.failed()) fmt::print("{}\n", stream.error());
///
/// Move-only; one reader. Destroying it cancels the call. A call that failed before its first
/// event is a stream that fails at once.
class chat_stream {
public:
    chat_stream() = default;  // empty: ends at once
    explicit chat_stream(result<response> answer) {
        if (!answer) {
            error_ = answer.error();
        } else {
            head_ = std::move(answer->head());
            events_ = std::move(answer->events());
        }
    }

    /// The next piece; false at the end and after a failure.
    task<chat_delta> next() {
        chat_delta delta;
        if (error_) co_return delta;
        for (;;) {
            stream_item item;
            if (!events_.try_next(item)) item = co_await events_.next();
            if (!item) break;
            if (head_.speaks && head_.speaks->read_delta(*item, delta)) {
                delta.set_present(true);
                if (delta.finish() != finish_reason::none) finish_ = delta.finish();
                if (delta.usage().known) usage_ = delta.usage();
                co_return delta;
            }
        }
        if (events_.failed()) error_ = events_.error();
        co_return delta;
    }

    bool failed() const { return error_.has_value(); }
    /// Why it failed. Precondition: `failed()`.
    const llmkit::error& error() const { return *error_; }
    /// Why the model stopped; `none` until it has said so.
    finish_reason finish() const { return finish_; }
    /// Known once the provider has sent it, usually with the last piece.
    const token_usage& usage() const { return usage_; }
    const response_head& head() const { return head_; }

private:
    response_head head_;
    event_stream events_;
    std::optional<llmkit::error> error_;
    finish_reason finish_ = finish_reason::none;
    token_usage usage_;
};

}  // namespace llmkit
