// llmkit/transport/concept.hpp: what moves bytes: an HTTP request in, an HTTP response out.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/bytes.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/headers.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit {

/// One HTTP request: where, what, and how long each part of the exchange may last.
///
///     http_request ask("POST", *base.join("chat/completions", why), fields, body);
///     ask.deadline = call.wait_limit(http.clock().now(), 30s);
///     auto answer = co_await http.send(std::move(ask));
///
/// The transport writes `Host` and `Content-Length`; everything else is the sender's. Limits only
/// shorten what the transport's own policy allows.
class http_request {
public:
    http_request(std::string method, llmkit::url target, headers fields = {}, bytes body = {})
        : method_(std::move(method)),
          target_(std::move(target)),
          fields_(std::move(fields)),
          body_(std::move(body)) {}

    const std::string& method() const { return method_; }
    const llmkit::url& target() const { return target_; }
    const headers& fields() const { return fields_; }
    headers& fields() { return fields_; }
    const bytes& body() const { return body_; }

    /// "POST https://api.openai.com/v1/embeddings": for messages, so without the query.
    std::string where() const { return method_ + ' ' + target_.origin() + target_.path(); }

    limit deadline;  ///< until when everything must be over, the last byte of the answer included
    duration connect = duration::max();      ///< address, connection and TLS handshake together
    duration first_event = duration::max();  ///< from sending to the answer's head
    duration idle = duration::max();  ///< between two pieces of the body, while someone waits
    std::uint64_t max_body = std::numeric_limits<std::uint64_t>::max();  ///< bytes of the answer

private:
    std::string method_;
    llmkit::url target_;
    headers fields_;
    bytes body_;
};

/// Where an answer's body comes from, piece by piece. Written by transports.
///
/// `read` gives the next piece, never an empty one before the end; at the end it gives empty bytes.
/// It is called by one reader at a time; after the end or an error it gives the same again. The
/// destructor frees at once what stands behind the body, without waiting.
///
/// `finish` may be left out. It is called at most once, by the reader, just before he destroys the
/// body, and not while a `read` runs: he has all he wants, and nothing but the end of the message
/// should follow. A transport may look for that end by itself, for a short while and few bytes, to
/// keep the connection. It must not wait, and what the call's limit points to may be gone once it
/// has returned.
class http_body {
public:
    virtual ~http_body() = default;
    virtual task<result<bytes>> read() = 0;
    virtual void finish() {}
};

/// An answer: its head is there, its body is pulled. Move-only.
///
///     auto answer = co_await http.send(std::move(ask));
///     if (!answer) co_return answer.error();
///     for (;;) {
///         auto piece = co_await answer->read();
///         if (!piece) co_return piece.error();
///         if (piece->empty()) break;
///         use(piece->view());
///     }
///
/// Nothing is read ahead of the reader, so a slow reader slows the server. Destroying the response
/// frees its connection at once: back to the pool when the body has ended, closed otherwise. Where
/// the reader knows by what he read that nothing follows, `finish` saves a connection whose end of
/// message is still on its way. Time limits run while nobody reads; the next `read` tells. `read`
/// throws only when the caller is cancelled. The response must stay where it is while a `read`
/// runs.
class http_response {
public:
    http_response(int status, std::shared_ptr<const headers> fields,
                  std::unique_ptr<http_body> body)
        : status_(status), fields_(std::move(fields)), body_(std::move(body)) {}
    /// An answer that is there as a whole.
    http_response(int status, std::shared_ptr<const headers> fields, bytes body)
        : status_(status), fields_(std::move(fields)), ready_(std::move(body)) {}
    /// The same, for scripted transports.
    http_response(int status, headers fields, bytes body)
        : status_(status),
          fields_(std::make_shared<const headers>(std::move(fields))),
          ready_(std::move(body)) {}
    http_response(http_response&&) noexcept = default;
    http_response& operator=(http_response&&) noexcept = default;

    /// 200 to 999.
    int status() const { return status_; }
    const headers& fields() const { return *fields_; }
    const std::shared_ptr<const headers>& shared_fields() const { return fields_; }

    /// The next piece of the body; empty at the end.
    task<result<bytes>> read() {
        if (body_) return body_->read();
        return ready(std::exchange(ready_, bytes()));
    }
    /// All that is left of the body, which the size limits bound.
    task<result<std::string>> read_all() {
        std::string whole;
        for (;;) {
            auto piece = co_await read();
            if (!piece) co_return piece.error();
            if (piece->empty()) break;
            whole += piece->view();
        }
        co_return whole;
    }
    /// Lets go of the body, of which nothing more is wanted and nothing more should come: `read`
    /// gives the end from now on. Does not wait. Not while a `read` runs.
    void finish() {
        ready_ = bytes();
        if (const auto body = std::exchange(body_, nullptr)) body->finish();
    }

private:
    static task<result<bytes>> ready(bytes piece) { co_return piece; }

    int status_;
    std::shared_ptr<const headers> fields_;
    std::unique_ptr<http_body> body_;
    bytes ready_;
};

/// A transport: a handle, cheap to copy, usable by many calls and threads at once.
///
///     class canned {                                        // a whole transport
///     public:
///         explicit canned(llmkit::clock_handle time) : time_(time) {}
///         llmkit::clock_handle clock() const { return time_; }
///         llmkit::task<llmkit::result<llmkit::http_response>> send(llmkit::http_request) {
///             co_return llmkit::http_response(200, {}, llmkit::bytes::literal("{}"));
///         }
///     private:
///         llmkit::clock_handle time_;
///     };
///
/// `send` ends when the answer's head is there, whatever its status: 4xx and 5xx are answers.
/// Failures are errors of kind configuration, invalid_request, resolve, connect, tls,
/// connection_lost, timeout, protocol, truncated, too_large, refused or closed, with `where()` set.
/// The only exception is the caller's cancellation; then nothing is left behind.
template <class T>
concept transport = std::copy_constructible<T> && requires(T& t, const T& c, http_request ask) {
    { t.send(std::move(ask)) } -> std::same_as<task<result<http_response>>>;
    { c.clock() } -> std::same_as<clock_handle>;
};

}  // namespace llmkit
