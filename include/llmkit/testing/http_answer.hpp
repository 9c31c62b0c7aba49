// llmkit/testing/http_answer.hpp: an HTTP answer as a test wants it, bytes, pauses and failures.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/bytes.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::testing {

/// One answer of a `scripted_transport`.
///
///     http_answer(429, R"({"error":{"message":"slow down"}})").field("Retry-After", "1");
///     http_answer::raw(recorded).in_pieces(1);  // as it came over the wire, byte by byte
///     http_answer::events({R"({"choices":[…]})", "[DONE]"}).every(20ms).stays_open();
///     http_answer(error(error_kind::connect, "nobody there"));
class http_answer {
public:
    /// A JSON answer.
    http_answer(int status, std::string body) : status_(status), body_(std::move(body)) {
        fields_.add("Content-Type", "application/json");
    }
    /// No answer but a failure of the transport.
    http_answer(error failure) : failure_(std::move(failure)) {}

    /// A stream of server-sent events, one for each text.
    static http_answer events(const std::vector<std::string>& data) {
        std::string body;
        for (const std::string& one : data) body += "data: " + one + "\n\n";
        return std::move(http_answer(200, std::move(body)).type("text/event-stream"));
    }
    /// A recorded HTTP/1.1 answer. One that stops before its end, or breaks the protocol, ends in
    /// the error that a transport gives then.
    static http_answer raw(std::string_view recorded) {
        http_answer made(200, "");
        detail::http1_response_parser parser;
        parser.reset("POST");
        for (bool at_end = false;;) {
            const auto step = at_end ? parser.finish() : parser.step(recorded);
            recorded.remove_prefix(step.consumed);
            made.body_ += step.data;
            if (step.step == detail::http1_step::failed) {
                const bool cut = parser.error() == detail::http1_error::truncated;
                made.ending_ = error(cut ? error_kind::connection_lost : error_kind::protocol,
                                     std::string(detail::describe(parser.error())));
            }
            if (step.step == detail::http1_step::failed ||
                step.step == detail::http1_step::complete) {
                break;
            }
            at_end = step.step == detail::http1_step::need_more;
        }
        made.status_ = parser.status();
        made.fields_ = parser.fields();
        return made;
    }

    http_answer& type(std::string_view content_type) & {
        return field("Content-Type", content_type);
    }
    http_answer&& type(std::string_view content_type) && { return std::move(type(content_type)); }
    /// Sets a header field.
    http_answer& field(std::string_view name, std::string_view value) & {
        return fields_.set(name, value), *this;
    }
    http_answer&& field(std::string_view name, std::string_view value) && {
        return std::move(field(name, value));
    }
    /// The body comes in pieces of this many bytes; in one unless set.
    http_answer& in_pieces(std::size_t size) & { return piece_ = size, *this; }
    http_answer&& in_pieces(std::size_t size) && { return std::move(in_pieces(size)); }
    /// The body comes in two pieces, cut behind this many bytes.
    http_answer& cut_at(std::size_t place) & { return cut_ = place, *this; }
    http_answer&& cut_at(std::size_t place) && { return std::move(cut_at(place)); }
    /// How long the head lets wait.
    http_answer& after(duration pause) & { return before_head_ = pause, *this; }
    http_answer&& after(duration pause) && { return std::move(after(pause)); }
    /// How long each piece lets wait.
    http_answer& every(duration pause) & { return before_piece_ = pause, *this; }
    http_answer&& every(duration pause) && { return std::move(every(pause)); }
    /// After the last piece comes this failure instead of the end.
    http_answer& ends_in(error failure) & { return ending_ = std::move(failure), *this; }
    http_answer&& ends_in(error failure) && { return std::move(ends_in(std::move(failure))); }
    /// After the last piece the connection stays open and silent.
    http_answer& stays_open() & { return open_ = true, *this; }
    http_answer&& stays_open() && { return std::move(stays_open()); }

    int status() const { return status_; }
    const headers& fields() const { return fields_; }
    const std::string& body() const { return body_; }
    const std::optional<error>& failure() const { return failure_; }
    const std::optional<error>& ending() const { return ending_; }
    bool silent_end() const { return open_; }
    duration before_head() const { return before_head_; }
    duration before_piece() const { return before_piece_; }
    /// The end of the piece that begins there.
    std::size_t piece_end(std::size_t begin) const {
        std::size_t end = body_.size();
        if (begin < cut_ && cut_ < end) end = cut_;
        if (piece_ != 0 && piece_ < end - begin) end = begin + piece_;
        return end;
    }

private:
    int status_ = 0;
    headers fields_;
    std::string body_;
    std::optional<error> failure_, ending_;
    bool open_ = false;
    std::size_t piece_ = 0, cut_ = 0;
    duration before_head_{}, before_piece_{};
};

}  // namespace llmkit::testing
