// llmkit/detail/http1_message.hpp: the part of an HTTP/1.1 parser that answers and requests share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <llmkit/detail/http1_chunked.hpp>
#include <llmkit/detail/http1_error.hpp>
#include <llmkit/detail/http1_fields.hpp>
#include <llmkit/detail/http1_line.hpp>
#include <llmkit/detail/http1_step.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

/// How the body of a message is delimited (RFC 9112 §6.3).
enum class http1_delimiter : unsigned char { none, length, chunked, close };

/// A strict parser for one message at a time that arrives in pieces of any size. What it decides
/// depends on the bytes alone, never on how they were cut. `StartLine` reads the first line and
/// says how the body is delimited; see http1_parser.hpp for the two there are and for how to use
/// the whole. Holds at most the limits' worth of memory; bodies are passed through, never kept.
template <class StartLine>
class http1_message {
public:
    /// Does one thing with the front of `in` and says what; call it in a loop, also with empty
    /// input. After `complete` and `failed` it repeats itself and consumes nothing.
    http1_progress step(std::string_view in) {
        const std::size_t given = in.size();
        const auto result = [&](http1_step what, std::string_view data = {}) {
            return http1_progress{what, given - in.size(), data};
        };
        if (given != 0 && state_ != state::complete) started_ = true;
        for (;;) {
            switch (state_) {
                case state::start_line:
                    if (in.empty()) return result(http1_step::need_more);
                    if (!start_.plausible(in, line_.pending() ? line_.size() : 0))
                        fail(http1_error::not_http);
                    else if (!read_line(in))
                        return result(http1_step::need_more);
                    else if (state_ != state::failed)
                        read_start_line();
                    break;
                case state::fields:
                    if (!read_fields(in)) return result(http1_step::need_more);
                    if (state_ != state::failed && end_head()) return result(http1_step::head);
                    break;
                case state::sized: {
                    if (left_ == 0) {
                        state_ = state::complete;
                        break;
                    }
                    if (in.empty()) return result(http1_step::need_more);
                    const auto size = std::min<std::uint64_t>(left_, in.size());
                    const std::string_view data = in.substr(0, static_cast<std::size_t>(size));
                    in.remove_prefix(data.size());
                    left_ -= size;
                    if (left_ == 0) state_ = state::complete;
                    return result(http1_step::data, data);
                }
                case state::chunked: {
                    const http1_progress inner = chunks_.step(in, limits_);
                    in.remove_prefix(inner.consumed);
                    if (inner.step == http1_step::complete) state_ = state::complete;
                    if (inner.step == http1_step::failed) fail(chunks_.error());
                    return result(inner.step, inner.data);
                }
                case state::until_close: {
                    if (in.empty()) return result(http1_step::need_more);
                    if (left_ == 0) {
                        fail(http1_error::body_too_large);
                        break;
                    }
                    const auto size = std::min<std::uint64_t>(left_, in.size());
                    const std::string_view data = in.substr(0, static_cast<std::size_t>(size));
                    in.remove_prefix(data.size());
                    left_ -= size;
                    return result(http1_step::data, data);
                }
                case state::complete:
                    return result(http1_step::complete);
                case state::failed:
                    return result(http1_step::failed);
            }
        }
    }

    /// Says that the input is over: `complete` for a body that lasts until then, otherwise
    /// `failed` with `truncated`.
    http1_progress finish() {
        if (state_ == state::until_close || (state_ == state::sized && left_ == 0))
            state_ = state::complete;
        if (state_ != state::complete && state_ != state::failed) fail(http1_error::truncated);
        return {state_ == state::complete ? http1_step::complete : http1_step::failed, 0, {}};
    }

    /// Whether any byte of this message was seen.
    bool started() const { return started_; }
    bool complete() const { return state_ == state::complete; }
    bool failed() const { return state_ == state::failed; }
    http1_error error() const { return error_; }

    // From the `head` step on:

    /// 0 or 1, of HTTP/1.0 or HTTP/1.1.
    int minor_version() const { return start_.minor_version; }
    const headers& fields() const { return fields_; }
    /// The headers, to keep; `fields()` is empty afterwards.
    headers take_fields() { return std::exchange(fields_, {}); }
    /// What came after a chunked body; never merged with the headers.
    const headers& trailers() const { return chunks_.trailers(); }
    /// The size of the body that follows, when it was announced.
    std::optional<std::uint64_t> content_length() const { return framing_.length(); }
    /// How the body that follows is delimited.
    http1_delimiter delimiter() const { return delimiter_; }

    /// Whether another message may follow on the connection. False until this one is complete.
    bool keep_alive() const { return complete() && persistent(); }
    /// The same as far as the head tells, once that is there.
    bool persistent() const {
        return delimiter_ != http1_delimiter::close && framing_.keeps_alive(start_.minor_version);
    }

protected:
    explicit http1_message(const http1_limits& limits) : limits_(limits) {}

    void restart() {
        begin_head();
        chunks_.reset();
        line_.reset();
        error_ = http1_error::none;
        head_bytes_ = 0;
        interim_ = 0;
        left_ = 0;
        delimiter_ = http1_delimiter::none;
        started_ = false;
    }

    StartLine start_;
    http1_framing framing_;

private:
    enum class state : unsigned char {
        start_line,
        fields,
        sized,
        chunked,
        until_close,
        complete,
        failed
    };

    void begin_head() {
        start_.clear();
        framing_ = {};
        fields_.clear();
        state_ = state::start_line;
    }

    void fail(http1_error why) {
        error_ = why;
        state_ = state::failed;
    }

    // False while the line is not whole; a line that may not be fails.
    bool read_line(std::string_view& in) {
        const std::size_t left = limits_.head_bytes - head_bytes_;
        switch (line_.take(in, std::min(limits_.line_bytes, left))) {
            case http1_line::state::partial:
                return false;
            case http1_line::state::too_long:
                fail(left < limits_.line_bytes ? http1_error::head_too_large
                                               : http1_error::line_too_long);
                break;
            case http1_line::state::bare:
                fail(http1_error::bare_line_break);
                break;
            case http1_line::state::whole:
                head_bytes_ += line_.size();
                break;
        }
        return true;
    }

    void read_start_line() {
        if (line_.text().empty() && start_.skips_empty_line()) return;
        const http1_error wrong = start_.read(line_.text());
        if (wrong != http1_error::none) return fail(wrong);
        fields_.reserve(24, 1024);
        state_ = state::fields;
    }

    // Up to the empty line, or one that may not be; false when it has not come yet.
    bool read_fields(std::string_view& in) {
        while (!in.empty() && read_line(in)) {
            if (state_ == state::failed || line_.text().empty()) return true;
            read_field_line();
            if (state_ == state::failed) return true;
        }
        return false;
    }

    void read_field_line() {
        header field;
        http1_error wrong = read_field(line_.text(), field);
        if (wrong == http1_error::none) wrong = framing_.note(field.name, field.value);
        if (wrong == http1_error::none && fields_.size() == limits_.fields)
            wrong = http1_error::too_many_fields;
        if (wrong != http1_error::none) return fail(wrong);
        fields_.add_line(line_.with_end(), field.name.size(), field.value);
    }

    // Whether the head is to be shown; not so for interim answers and failures.
    bool end_head() {
        http1_error wrong = framing_.check(start_.minor_version);
        if (wrong == http1_error::none) wrong = start_.check(framing_);
        if (wrong == http1_error::none && start_.interim()) {
            if (++interim_ <= limits_.interim_responses) {
                head_bytes_ = 0;
                begin_head();
                return false;
            }
            wrong = http1_error::too_many_interim;
        }
        delimiter_ = start_.delimiter(framing_);
        if (wrong == http1_error::none && delimiter_ == http1_delimiter::length &&
            *framing_.length() > limits_.body_bytes)
            wrong = http1_error::body_too_large;
        if (wrong != http1_error::none) {
            fail(wrong);
            return false;
        }
        switch (delimiter_) {
            case http1_delimiter::none:
                left_ = 0;
                state_ = state::sized;
                break;
            case http1_delimiter::length:
                left_ = *framing_.length();
                state_ = state::sized;
                break;
            case http1_delimiter::chunked:
                state_ = state::chunked;
                break;
            case http1_delimiter::close:
                left_ = limits_.body_bytes;
                state_ = state::until_close;
                break;
        }
        return true;
    }

    http1_limits limits_;
    http1_line line_;
    headers fields_;
    http1_chunked chunks_;
    state state_ = state::start_line;
    http1_error error_ = http1_error::none;
    http1_delimiter delimiter_ = http1_delimiter::none;
    bool started_ = false;
    std::size_t head_bytes_ = 0;
    std::size_t interim_ = 0;
    std::uint64_t left_ = 0;
};

}  // namespace llmkit::detail
