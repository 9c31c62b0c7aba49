// llmkit/transport/http1.hpp: the steps of one request and its answer over one connection.
#pragma once

#include <algorithm>
#include <array>
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
#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/hold.hpp>

namespace llmkit::detail {

/// Takes in what a read into the connection's empty buffer brought, or why it brought nothing. An
/// error when there is no more; a body that lasts until the end of the connection ends well. Throws
/// on the caller's cancellation.
inline result<void> http1_came(connection_hold& hold, std::size_t count,
                               const std::error_code& failed, const exchange_limits& limits,
                               std::string_view doing) {
    if (hold.why() != cut_why::none) return cut_error(hold.why(), limits, doing);
    http1_connection& on = hold.connection();
    if (!failed) {
        on.came(count);
        return {};
    }
    if (failed == asio::error::operation_aborted) throw_cancelled();
    const bool started = on.parser.started();
    if (failed == asio::error::eof && started && on.parser.finish().step == http1_step::complete)
        return {};
    return lost_error(failed, started);
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
    connection_hold::use reading(*hold);
    if (!reading) co_return;
    http1_connection& on = hold->connection();
    std::string rest;
    for (std::size_t count = 0; count <= http1_rest_bytes; count += on.unread().size()) {
        const http1_step step = http1_take(on, rest);
        if (step == http1_step::complete) reading.release(http1_reusable(on));
        if (step == http1_step::complete || step == http1_step::failed) co_return;
        rest.clear();
        std::error_code failed;
        const std::size_t more = co_await on.line.read_some(on.room(), failed);
        if (!http1_came(*hold, more, failed, exchange_limits(), "reading the answer's end"))
            co_return;
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
        connection_hold::use reading(*hold_);
        if (!reading) co_return fail(taken_away());
        http1_connection& on = hold_->connection();
        for (;;) {
            const http1_step step = http1_take(on, piece_);
            if (step == http1_step::complete) {
                reading.release(http1_reusable(on));
                ended_ = true;
                break;
            }
            // What came before the mistake is delivered first.
            if (!piece_.empty()) {
                reading.pass_on();
                break;
            }
            if (step == http1_step::failed) co_return fail(parse_error(on.parser.error()));
            // Between two pieces: until the first one the caller's limit for that counts.
            const duration pause = count_ == 0 ? duration::max() : limits_.idle;
            connection_hold::span patience(*hold_, pause, cut_why::idle);
            std::error_code failed;
            const std::size_t count = co_await on.line.read_some(on.room(), failed);
            auto more = http1_came(*hold_, count, failed, limits_, "reading the answer");
            if (!more) co_return fail(more.error());
        }
        if (count_ + piece_.size() > limits_.max_body) {
            piece_.clear();
            hold_->abandon();
            co_return fail(body_too_large(limits_.max_body));
        }
        co_return deliver();
    }
    void finish() override {
        std::shared_ptr<connection_pool> in;
        if (connection_hold::use still(*hold_); still) {
            if (hold_->connection().parser.persistent()) in = hold_->outlive_call(http1_rest_time);
            still.pass_on();
        }
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

/// Sends as much of a request as goes at once.
inline sent http1_send(connection_hold& hold, const http1_request_head& head, const bytes& body) {
    // Copying little is cheaper than a system call, or a record of TLS, for each of two pieces.
    std::array<char, 4096> piece;
    if (head.size() + body.size() <= piece.size()) {
        const char* const end = put_all(head.put(piece.data()), {body.view()});
        return hold.write(std::string_view(piece.data(), end), bytes());
    }
    std::string text;
    head.append_to(text);
    return hold.write(text, body);
}

/// Goes on after a read, as `http1_came`: true when the head of the answer is there.
inline result<bool> http1_head(connection_hold& hold, std::size_t count,
                               const std::error_code& failed, const exchange_limits& limits) {
    auto came = http1_came(hold, count, failed, limits, "waiting for the answer");
    if (!came) return came.error();
    http1_connection& on = hold.connection();
    const http1_progress got = on.parser.step(on.unread());
    on.take(got.consumed);
    if (got.step == http1_step::failed) return parse_error(on.parser.error());
    return got.step == http1_step::head;
}

/// The answer whose head is there. When it is there as a whole, the connection is free again.
inline result<http_response> http1_answer(const std::shared_ptr<connection_hold>& hold,
                                          connection_hold::use& reading, const http_request& ask,
                                          const exchange_limits& limits) {
    http1_connection& on = hold->connection();
    const auto length = on.parser.content_length();
    const bool has_body = on.parser.delimiter() != http1_delimiter::none;
    if (has_body && length && *length > limits.max_body) return body_too_large(limits.max_body);

    const int status = on.parser.status();
    auto fields = std::make_shared<const headers>(on.parser.take_fields());
    const http1_progress got = on.parser.step(on.unread());
    on.take(got.consumed);
    if (got.data.size() > limits.max_body) return body_too_large(limits.max_body);
    if (on.parser.complete()) {
        bytes body = bytes::copy(got.data);
        reading.release(http1_reusable(on));
        return http_response(status, std::move(fields), std::move(body));
    }
    std::string first(got.data);
    const bool whole = http1_take(on, first) == http1_step::complete;
    if (first.size() > limits.max_body) return body_too_large(limits.max_body);
    if (whole) {
        reading.release(http1_reusable(on));
        return http_response(status, std::move(fields), bytes(std::move(first)));
    }
    auto body = std::make_unique<http1_answer_body>(hold, limits, ask.where(), std::move(first));
    reading.pass_on();
    return http_response(status, std::move(fields), std::move(body));
}

}  // namespace llmkit::detail
