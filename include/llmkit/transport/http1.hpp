// llmkit/transport/http1.hpp: one request and its answer over one connection.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/bytes.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>

namespace llmkit::detail {

/// Reads more from the connection into its empty buffer. An error when there is no more; a body
/// that lasts until the end of the connection ends well. Throws on the caller's cancellation.
inline task<result<void>> http1_fill(connection_hold& hold, exchange_limits limits,
                                     std::string_view doing) {
    http1_connection& on = hold.connection();
    std::error_code failed;
    const std::size_t count = co_await on.line.read_some(on.room(), failed);
    if (hold.why() != cut_why::none) co_return cut_error(hold.why(), limits, doing);
    if (!failed) {
        on.came(count);
        co_return result<void>();
    }
    if (failed == asio::error::operation_aborted) throw_cancelled();
    const bool started = on.parser.started();
    if (failed == asio::error::eof && started && on.parser.finish().step == http1_step::complete)
        co_return result<void>();
    co_return lost_error(failed, started);
}

/// Takes what the buffer holds of the body. `need_more` with an empty `piece` means: read on.
inline http1_step http1_take(http1_connection& on, std::string& piece) {
    for (;;) {
        const http1_progress got = on.parser.step(on.unread());
        on.take(got.consumed);
        if (got.step != http1_step::data) return got.step;
        if (piece.empty()) piece.reserve(got.data.size() + on.unread().size());
        piece += got.data;
    }
}

/// The connection may serve again: the answer says so and nothing came after it.
inline bool http1_reusable(const http1_connection& on) {
    return on.parser.keep_alive() && on.unread().empty();
}

/// How long and how far is read for the end of a message when all that was wanted is there.
inline constexpr duration http1_rest_time = std::chrono::milliseconds(50);
inline constexpr std::size_t http1_rest_bytes = 4096;

/// Reads the rest of a message that nobody wants, so that its connection serves again. Any
/// disappointment closes it; the time is the hold's.
inline task<void> http1_read_rest(std::shared_ptr<connection_hold> hold) {
    connection_hold::user reading(*hold);
    if (!reading) co_return;
    connection_hold::guard unfinished(*hold);
    http1_connection& on = hold->connection();
    std::string rest;
    for (std::size_t count = 0; count <= http1_rest_bytes; count += on.unread().size()) {
        const http1_step step = http1_take(on, rest);
        if (step == http1_step::complete) {
            unfinished.dismiss();
            hold->release(http1_reusable(on));
            co_return;
        }
        if (step == http1_step::failed) co_return;
        rest.clear();
        auto more = co_await http1_fill(*hold, exchange_limits(), "reading the answer's end");
        if (!more) co_return;
    }
}

/// The body of an answer that did not arrive together with its head.
class http1_answer_body final : public http_body {
public:
    http1_answer_body(std::shared_ptr<connection_hold> hold, exchange_limits limits,
                      std::string where, std::string first)
        : hold_(std::move(hold)),
          limits_(limits),
          where_(std::move(where)),
          piece_(std::move(first)) {}
    ~http1_answer_body() override {
        if (hold_) hold_->abandon();
    }

    task<result<bytes>> read() override {
        if (!piece_.empty()) co_return deliver();
        if (ended_) co_return bytes();
        if (failed_) co_return *failed_;
        connection_hold::user reading(*hold_);
        if (!reading) co_return fail(taken_away());
        connection_hold::guard unfinished(*hold_);
        http1_connection& on = hold_->connection();
        for (;;) {
            const http1_step step = http1_take(on, piece_);
            if (step == http1_step::complete) {
                unfinished.dismiss();
                hold_->release(http1_reusable(on));
                ended_ = true;
                break;
            }
            // What came before the mistake is delivered first.
            if (!piece_.empty()) break;
            if (step == http1_step::failed) co_return fail(parse_error(on.parser.error()));
            // Between two pieces: until the first one the caller's limit for that counts.
            const duration pause = count_ == 0 ? duration::max() : limits_.idle;
            connection_hold::span patience(*hold_, pause, cut_why::idle);
            auto more = co_await http1_fill(*hold_, limits_, "reading the answer");
            if (!more) co_return fail(more.error());
        }
        unfinished.dismiss();
        if (count_ + piece_.size() > limits_.max_body) {
            piece_.clear();
            hold_->abandon();
            co_return fail(body_too_large(limits_.max_body));
        }
        co_return deliver();
    }
    void finish() override {
        std::shared_ptr<connection_pool> in;
        if (connection_hold::user still(*hold_); still && hold_->connection().parser.persistent())
            in = hold_->outlive_call(http1_rest_time);
        if (!in) return;
        try {
            if (in->background().spawn(http1_read_rest(hold_))) hold_.reset();
        } catch (const asio::system_error&) {
            // The context is going down, and the connection goes with it.
        }
    }

private:
    error taken_away() const {
        const cut_why why = hold_->why();
        if (why != cut_why::none) return cut_error(why, limits_, "nobody was reading the answer");
        return error(error_kind::closed, "an earlier read of this answer was cancelled");
    }
    result<bytes> deliver() {
        count_ += piece_.size();
        if (piece_.empty()) return bytes();
        return bytes(std::exchange(piece_, std::string()));
    }
    error fail(const error& why) {
        failed_ = why.with_where(where_);
        return *failed_;
    }

    std::shared_ptr<connection_hold> hold_;
    exchange_limits limits_;
    std::string where_;
    std::string piece_;
    std::uint64_t count_ = 0;
    bool ended_ = false;
    std::optional<error> failed_;
};

/// Sends a request over a connected `hold` and waits for the head of the answer. The caller is a
/// user of the hold and keeps `ask`. An answer may come while the request is still being sent:
/// servers refuse large uploads that way.
inline task<result<http_response>> http1_exchange(std::shared_ptr<connection_hold> hold,
                                                  const http_request& ask, std::string head,
                                                  exchange_limits limits) {
    http1_connection& on = hold->connection();
    on.parser.reset(ask.method());
    const executor caller = co_await asio::this_coro::executor;
    hold->write(std::move(head), ask.body(), caller);
    {
        connection_hold::span patience(*hold, limits.first_event, cut_why::first_event);
        for (;;) {
            const http1_progress got = on.parser.step(on.unread());
            on.take(got.consumed);
            if (got.step == http1_step::head) break;
            if (got.step == http1_step::failed) co_return parse_error(on.parser.error());
            auto more = co_await http1_fill(*hold, limits, "waiting for the answer");
            if (!more) co_return more.error();
        }
    }
    const auto length = on.parser.content_length();
    const bool has_body = on.parser.delimiter() != http1_delimiter::none;
    if (has_body && length && *length > limits.max_body) co_return body_too_large(limits.max_body);

    const int status = on.parser.status();
    auto fields = std::make_shared<const headers>(on.parser.take_fields());
    std::string first;
    const bool whole = http1_take(on, first) == http1_step::complete;
    if (first.size() > limits.max_body) co_return body_too_large(limits.max_body);
    if (!whole) {
        auto body =
            std::make_unique<http1_answer_body>(hold, limits, ask.where(), std::move(first));
        co_return http_response(status, std::move(fields), std::move(body));
    }
    hold->release(http1_reusable(on));
    co_return http_response(status, std::move(fields), bytes(std::move(first)));
}

}  // namespace llmkit::detail
