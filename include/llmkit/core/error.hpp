// llmkit/core/error.hpp: what went wrong, where, after how many attempts, and what to do.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/error_kind.hpp>
#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// A failure as a value. Cheap to copy (one shared, immutable pointer); the `with_…` functions
/// return an annotated copy and leave the original alone.
///
///     if (!answer) fmt::print("{}\n", answer.error());
///     // rate limited: slow down (HTTP 429, rate_limit_exceeded) at POST https://…, after 3
///     // attempts. Send less at once, or add retry() to wait.
///
/// Never holds a key, a prompt or a header value. Safe to read from any thread.
class error {
public:
    error() = default;
    error(error_kind kind, std::string message) : data_(make(kind, std::move(message))) {}

    error_kind kind() const { return data_ ? data_->kind : error_kind::unset; }
    /// What happened, in words: the provider's own when it gave any.
    std::string_view message() const { return data_ ? data_->message : std::string_view(); }
    /// Which step it happened at, such as "POST https://api.openai.com/v1/embeddings".
    std::string_view where() const { return data_ ? data_->where : std::string_view(); }
    int status() const { return data_ ? data_->status : 0; }  ///< HTTP status, 0 when none came
    /// The provider's own code or type, such as "rate_limit_exceeded".
    std::string_view code() const { return data_ ? data_->code : std::string_view(); }
    /// The provider's id of the call, to quote to its support.
    std::string_view request_id() const { return data_ ? data_->request_id : std::string_view(); }
    /// How long the provider asked to wait, counted from the answer.
    std::optional<duration> retry_after() const {
        return data_ ? data_->retry_after : std::nullopt;
    }
    /// The provider's own word on whether to ask again (`x-should-retry`).
    std::optional<bool> should_retry() const { return data_ ? data_->should_retry : std::nullopt; }
    /// What the reader should do.
    std::string_view advice() const {
        return data_ && !data_->advice.empty() ? data_->advice : llmkit::advice(kind());
    }
    const provenance& came_by() const {
        static const provenance none;
        return data_ ? data_->came_by : none;
    }
    std::size_t attempts() const { return came_by().attempts.size(); }

    error with_where(std::string text) const { return with(&data::where, std::move(text)); }
    error with_status(int status) const { return with(&data::status, status); }
    error with_code(std::string text) const { return with(&data::code, std::move(text)); }
    error with_request_id(std::string text) const {
        return with(&data::request_id, std::move(text));
    }
    error with_retry_after(std::optional<duration> wait) const {
        return with(&data::retry_after, wait);
    }
    error with_should_retry(std::optional<bool> yes) const {
        return with(&data::should_retry, yes);
    }
    error with_advice(std::string text) const { return with(&data::advice, std::move(text)); }
    error with_provenance(provenance how) const { return with(&data::came_by, std::move(how)); }

    /// One line, complete: what, where, after how many attempts, what to do.
    std::string to_string() const {
        std::string text = fmt::format("{}: {}", llmkit::to_string(kind()), message());
        if (status() != 0 && !code().empty()) {
            text += fmt::format(" (HTTP {}, {})", status(), code());
        } else if (status() != 0) {
            text += fmt::format(" (HTTP {})", status());
        } else if (!code().empty()) {
            text += fmt::format(" ({})", code());
        }
        if (!where().empty()) text += fmt::format(" at {}", where());
        if (attempts() > 1) text += fmt::format(", after {} attempts", attempts());
        if (!request_id().empty()) text += fmt::format(", request id {}", request_id());
        if (!text.ends_with('.')) text += '.';
        return fmt::format("{} {}", text, advice());
    }

    friend std::ostream& operator<<(std::ostream& out, const error& e) {
        return out << e.to_string();
    }

private:
    struct data {
        error_kind kind = error_kind::unset;
        int status = 0;
        std::string message, where, code, request_id, advice;
        std::optional<duration> retry_after;
        std::optional<bool> should_retry;
        provenance came_by;
    };
    static std::shared_ptr<const data> make(error_kind kind, std::string message) {
        auto made = std::make_shared<data>();
        made->kind = kind;
        made->message = std::move(message);
        return made;
    }
    template <class Member, class Value>
    error with(Member data::* member, Value&& value) const {
        auto copy = data_ ? std::make_shared<data>(*data_) : std::make_shared<data>();
        (*copy).*member = std::forward<Value>(value);
        error annotated;
        annotated.data_ = std::move(copy);
        return annotated;
    }

    std::shared_ptr<const data> data_;
};

}  // namespace llmkit

template <>
struct fmt::formatter<llmkit::error> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const llmkit::error& e, Context& context) const {
        return fmt::formatter<std::string_view>::format(e.to_string(), context);
    }
};
