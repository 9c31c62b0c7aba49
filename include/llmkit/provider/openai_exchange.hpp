// llmkit/provider/openai_exchange.hpp: one try of one call: when it began, and how it is reported.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/clock.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/core/timed_out.hpp>
#include <llmkit/provider/openai_request.hpp>

namespace llmkit::detail {

/// What is known about one try: names its failures and writes it into the record of attempts.
class openai_exchange {
public:
    openai_exchange(std::shared_ptr<const openai_setup> setup, const openai_call& call, request ask,
                    clock_handle time)
        : setup_(std::move(setup)),
          ask_(std::move(ask)),
          time_(std::move(time)),
          began_(time_.now()),
          key_(call.key) {
        const auto& options = ask_.options();
        const duration usual =
            call.streamed ? setup_->options().stream_timeout() : setup_->options().unary_timeout();
        const bool own = options.deadline.effective() != time_point::max();
        total_ = ask_.wait_limit(began_, own ? duration::max() : usual);
        first_event_ = after(began_, options.first_event);
    }

    /// The limit to send with. The first event's limit is in it and falls away once that has come:
    /// a server may send its head long before its first token.
    limit deadline(bool streamed) {
        const time_point first = first_event_;
        // A later limit counts too where joined calls may move the total one behind it.
        if (first >= total_.effective() && !total_.extended) return total_;
        waits_for_first_ = first != time_point::max();
        if (!streamed || !waits_for_first_) return total_.earliest(first);
        moving_ = std::make_shared<limit::moving>(first.time_since_epoch().count());
        limit until = total_;
        until.provisional = moving_.get();
        return until;
    }
    /// The first event has come: from here on the total limit counts, wherever it moves.
    void first_event() {
        if (!std::exchange(waits_for_first_, false) || !moving_) return;
        moving_->store(time_point::max().time_since_epoch().count(), std::memory_order_relaxed);
    }

    const clock_handle& time() const { return time_; }
    const provenance& came_by() const { return came_by_; }
    int status() const { return status_; }

    /// The answer's head is there.
    void head(int status, std::shared_ptr<const headers> fields) {
        status_ = status;
        fields_ = std::move(fields);
        took_ = time_.now() - began_;
    }
    const std::shared_ptr<const headers>& fields() const { return fields_; }
    std::string request_id() const {
        return fields_ ? std::string(fields_->get("x-request-id").value_or("")) : std::string();
    }
    /// The try succeeded so far.
    void record() { record(error_kind::unset); }

    /// A failure of the transport, or of ours while reading, with all that is known about it. Once.
    error fail(error what) {
        const error_kind kind = what.kind();
        if (what.where().empty()) what = what.with_where(setup_->where(ask_));
        if (kind == error_kind::timeout && waits_for_first_ && time_.now() >= first_event_ &&
            first_event_ < total_.effective()) {
            what = timed_out("first event", first_event_ - began_)
                       .with_where(setup_->where(ask_))
                       .with_code("first_event_limit");
        }
        if (status_ != 0) {
            if (what.status() == 0) what = what.with_status(status_);
            if (what.request_id().empty()) what = what.with_request_id(request_id());
        }
        if (came_by_.attempts.empty()) {
            // What was refused on our side of the wire is no attempt.
            const bool left = kind != error_kind::configuration &&
                              kind != error_kind::invalid_request && kind != error_kind::refused &&
                              kind != error_kind::closed;
            if (left || status_ != 0) {
                record(kind);
            } else {
                came_by_.attempts = ask_.options().attempts;
            }
        }
        return what.with_provenance(came_by_);
    }
    /// A failure that the server describes: a non-2xx answer, or an error inside a 2xx one.
    error refuse(std::string_view body) {
        const secrets hide = hidden();
        scanned_error said = scan_error(hide.cleaned(std::string(body)));
        // Once more, because it may have been written with JSON's escapes.
        for (std::string* text : {&said.message, &said.type, &said.code})
            *text = hide.cleaned(std::move(*text));
        error what = openai_error(status_, said);
        if (fields_) what = with_fields(std::move(what), *fields_, time_.wall());
        return fail(std::move(what));
    }
    /// A 2xx answer that is not what the API promises; shows where it goes wrong.
    error nonsense(std::string_view what, std::string_view body) {
        constexpr std::size_t longest_excerpt = 200;
        std::string start = hidden().cleaned(std::string(body.substr(0, 4 * longest_excerpt)));
        start = utf8_prefix(start, longest_excerpt);
        for (char& c : start) {
            if (is_control(c)) c = ' ';
        }
        return fail(error(error_kind::protocol, fmt::format("{}: \"{}\"", what, start)));
    }

private:
    void record(error_kind failure) {
        const duration took = status_ != 0 ? took_ : time_.now() - began_;
        came_by_.attempts = ask_.options().attempts.with(
            attempt(setup_->shared_origin(), began_, took, status_, failure));
    }
    secrets hidden() const { return setup_->hidden(ask_, key_); }

    std::shared_ptr<const openai_setup> setup_;
    request ask_;
    clock_handle time_;
    time_point began_;
    duration took_{};
    std::string key_;
    limit total_;
    time_point first_event_;
    std::shared_ptr<limit::moving> moving_;
    bool waits_for_first_ = false;
    int status_ = 0;
    std::shared_ptr<const headers> fields_;
    provenance came_by_;
};

/// Puts the pieces of an answer together, at most `most` bytes. One piece is not copied.
class answer_pieces {
public:
    answer_pieces(bytes first, std::uint64_t most) : most_(most), first_(std::move(first)) {}

    bool more() const { return more_; }
    void add(result<bytes> piece) {
        if (!piece || piece->empty()) {
            more_ = false;
            if (!piece) failed_ = piece.error();
            return;
        }
        if (first_.empty() && joined_.empty()) {
            first_ = std::move(*piece);
        } else {
            if (joined_.empty()) joined_ = first_.view();
            joined_ += piece->view();
        }
        if (std::max(first_.size(), joined_.size()) <= most_) return;
        more_ = false;
        failed_ = error(error_kind::too_large, "the answer is over its size limit");
    }
    result<bytes> whole() {
        if (failed_) return *failed_;
        return joined_.empty() ? std::move(first_) : bytes(std::move(joined_));
    }

private:
    std::uint64_t most_;
    bytes first_;
    std::string joined_;
    bool more_ = true;
    std::optional<error> failed_;
};

/// Whether a body under another content type begins as server-sent events do.
inline bool looks_like_events(std::string_view start) {
    if (start.starts_with("\xEF\xBB\xBF")) start.remove_prefix(3);
    start.remove_prefix(std::min(start.find_first_not_of("\r\n"), start.size()));
    for (const std::string_view field : {":", "data:", "event:", "id:", "retry:"}) {
        if (start.starts_with(field)) return true;
        if (!start.empty() && field.starts_with(start)) return true;
    }
    return false;
}

}  // namespace llmkit::detail
