// llmkit/transport/http2_exchange.hpp: one request and its answer as a stream of a shared connection.
#pragma once

#include <charconv>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/bytes.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/http2_session.hpp>

namespace llmkit::detail {

inline void http2_cut::operator()(expiry how) const {
    const auto stream = of.lock();
    if (!stream) return;
    // In words that fit whoever asks later.
    stream->on->abandon(*stream, cut_error(how == expiry::closed ? cut_why::closed : why, {},
                                           "nobody was reading the answer"));
}

/// Holds a stream that its caller still wants.
class http2_call {
public:
    explicit http2_call(std::shared_ptr<http2_stream> stream) : stream_(std::move(stream)) {}
    http2_call(http2_call&&) noexcept = default;
    http2_call& operator=(http2_call&&) = delete;
    ~http2_call() {
        if (stream_) stream_->on->abandon(*stream_, std::nullopt);
    }
    http2_stream& operator*() const { return *stream_; }
    http2_stream* operator->() const { return stream_.get(); }
    const std::shared_ptr<http2_stream>& get() const { return stream_; }
    /// The stream has ended, or something else sees to it.
    void dismiss() { stream_ = nullptr; }

private:
    std::shared_ptr<http2_stream> stream_;
};

/// How long and how far an answer may go on when its reader has all he wants (`http_body::finish`).
inline constexpr duration http2_rest_time = std::chrono::milliseconds(50);

/// The body of an answer that did not arrive together with its head.
class http2_answer_body final : public http_body {
public:
    http2_answer_body(http2_call call, exchange_limits limits, const limit& total,
                      std::string where)
        : call_(std::move(call)), limits_(limits), where_(std::move(where)) {
        if (total.effective() != time_point::max() || total.owner)
            total_.emplace(call_->on->time(), total, http2_cut{call_.get(), cut_why::total});
    }

    task<result<bytes>> read() override {
        http2_session& session = *call_->on;
        http2_stream& stream = *call_;
        const clock_handle time = session.time();
        abandoning unfinished(session, stream);
        std::unique_lock lock(session.mutex());
        while (stream.data.empty() && !stream.over()) {
            limit patience;
            if (limits_.idle != duration::max() && count_ > 0)
                patience.until = after(time.now(), limits_.idle);
            const woke why = co_await wait(lock, stream.changed, time, patience);
            if (why == woke::by_bell || !stream.data.empty() || stream.over()) continue;
            lock.unlock();
            session.abandon(stream, cut_error(cut_why::idle, limits_, "reading the answer"));
            lock.lock();
        }
        if (!stream.data.empty()) {
            std::string piece = std::exchange(stream.data, std::string());
            count_ += piece.size();
            if (count_ <= limits_.max_body) {
                session.taken(lock, stream, piece.size());
                unfinished.dismiss();
                co_return bytes(std::move(piece));
            }
            stream.failure = body_too_large(limits_.max_body);  // though it may all have come
            lock.unlock();
            session.abandon(stream, std::nullopt);
            lock.lock();
        }
        unfinished.dismiss();
        if (stream.failure) co_return stream.failure->with_where(where_);
        co_return bytes();
    }

    void finish() override {
        http2_session& session = *call_->on;
        {
            std::lock_guard lock(session.mutex());
            if (!call_->over()) {
                call_->unwanted = true;
                call_->data = std::string();
                limit until;
                until.until = after(session.time().now(), http2_rest_time);
                call_->last_words.emplace(session.time(), until,
                                          http2_cut{call_.get(), cut_why::total});
            }
        }
        call_.dismiss();
    }

private:
    /// A read that is cancelled leaves nothing to read.
    class abandoning {
    public:
        abandoning(http2_session& session, http2_stream& stream)
            : session_(&session), stream_(stream) {}
        abandoning(const abandoning&) = delete;
        abandoning& operator=(const abandoning&) = delete;
        ~abandoning() {
            if (session_)
                session_->abandon(stream_, error(error_kind::closed,
                                                 "an earlier read of this answer was cancelled"));
        }
        void dismiss() { session_ = nullptr; }

    private:
        http2_session* session_;
        http2_stream& stream_;
    };

    http2_call call_;
    exchange_limits limits_;
    std::string where_;
    std::uint64_t count_ = 0;
    std::optional<cutoff<http2_cut>> total_;
};

/// Waits for the head of the answer. An error may be one after which the request may be sent again:
/// the stream's `again` tells.
inline task<result<http_response>> http2_answer(http2_call call, const http_request& ask,
                                                exchange_limits limits, limit total) {
    http2_session& session = *call->on;
    const clock_handle time = session.time();
    limit until = total;
    if (limits.first_event != duration::max())
        until = total.earliest(after(time.now(), limits.first_event));

    std::unique_lock lock(session.mutex());
    while (!call->head && !call->over()) {
        const woke why = co_await wait(lock, call->changed, time, until);
        if (why == woke::by_bell || call->head || call->over()) continue;
        cut_why limit_passed = cut_why::closed;
        if (why == woke::by_limit)
            limit_passed =
                total.effective() <= until.effective() ? cut_why::total : cut_why::first_event;
        lock.unlock();
        session.abandon(*call, cut_error(limit_passed, limits, "waiting for the answer"));
        lock.lock();
    }
    if (!call->head) {
        error why = *call->failure;
        lock.unlock();
        co_return why;
    }
    const int status = call->status;
    std::shared_ptr<const headers> fields = std::move(call->fields);
    const bool whole = call->over() && !call->failure;
    std::string data;
    if (whole) data = std::move(call->data);
    lock.unlock();

    if (whole) {
        call.dismiss();
        if (data.size() > limits.max_body) co_return body_too_large(limits.max_body);
        co_return http_response(status, std::move(fields), bytes(std::move(data)));
    }
    if (const auto length = fields->get("content-length"); length && ask.method() != "HEAD") {
        std::uint64_t size = 0;
        std::from_chars(length->data(), length->data() + length->size(), size);
        if (size > limits.max_body) co_return body_too_large(limits.max_body);
    }
    auto body = std::make_unique<http2_answer_body>(std::move(call), limits, total, ask.where());
    co_return http_response(status, std::move(fields), std::move(body));
}

}  // namespace llmkit::detail
