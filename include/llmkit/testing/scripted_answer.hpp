// llmkit/testing/scripted_answer.hpp: what a scripted service says to one call, and when.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/response.hpp>
#include <llmkit/testing/plain_dialect.hpp>

namespace llmkit::testing {

/// One answer of a script: text in pieces with pauses, or a failure at any point.
///
///     says("Hello there").after(300ms).every(20ms).usage(12, 2)
///     says("Hello there").fails_after(1, error(error_kind::connection_lost, "reset by peer"))
///     fails(error(error_kind::rate_limited, "slow down").with_retry_after(2s))
///     never_answers()
///
/// The same answer serves both shapes: a streamed call gets the pieces one by one, a unary one gets
/// them together at the time of the last. The service's `then` takes it.
class scripted_answer {
public:
    /// Said word by word when streamed.
    scripted_answer(std::string_view text) { split(text); }
    scripted_answer(const char* text) : scripted_answer(std::string_view(text)) {}
    scripted_answer(const std::string& text) : scripted_answer(std::string_view(text)) {}
    /// The call fails: no answer at all.
    scripted_answer(error why) : refusal_(std::move(why)) {}
    /// Exactly these events, the last of them marked `last` or followed by a failure.
    explicit scripted_answer(std::vector<event> exactly)
        : events_(std::move(exactly)), exact_(true) {}

    /// How long the service thinks before it answers or fails.
    scripted_answer& after(duration thinking) & { return head_after_ = thinking, *this; }
    /// The pause between the answer's head and its first event.
    scripted_answer& first_after(duration span) & { return first_after_ = span, *this; }
    /// The pause before every further event.
    scripted_answer& every(duration span) & { return every_ = span, *this; }
    /// Breaks off after `count` pieces, 0: before the first. A unary call fails with it then.
    scripted_answer& fails_after(std::size_t count, error why) & {
        failure_at_ = count;
        failure_ = std::move(why);
        return *this;
    }
    /// Says nothing more after `count` pieces, and does not end.
    scripted_answer& stalls_after(std::size_t count) & { return stall_at_ = count, *this; }
    /// Begins a stream with `count` events that carry nothing, as chunks with only a role do.
    scripted_answer& opens_bare(std::size_t count = 1) & { return bare_ = count, *this; }
    scripted_answer& usage(std::int64_t input, std::int64_t output) & {
        usage_.input = input;
        usage_.output = output;
        usage_.known = true;
        return *this;
    }
    /// Streams carry usage although no layer asked: the caller wants it.
    scripted_answer& usage_for_caller() & { return usage_asked_ = true, *this; }
    scripted_answer& finish(finish_reason why) & { return finish_ = why, *this; }
    scripted_answer& model(std::string name) & { return head_.model = std::move(name), *this; }
    scripted_answer& status(int code) & { return head_.status = code, *this; }
    /// Changes anything else of the head: `head([](response_head& h) { … })`.
    template <class F>
    scripted_answer& head(F change) & {
        change(head_);
        return *this;
    }

    scripted_answer&& after(duration span) && { return std::move(after(span)); }
    scripted_answer&& first_after(duration span) && { return std::move(first_after(span)); }
    scripted_answer&& every(duration span) && { return std::move(every(span)); }
    scripted_answer&& fails_after(std::size_t count, error why) && {
        return std::move(fails_after(count, std::move(why)));
    }
    scripted_answer&& stalls_after(std::size_t count) && { return std::move(stalls_after(count)); }
    scripted_answer&& opens_bare(std::size_t n = 1) && { return std::move(opens_bare(n)); }
    scripted_answer&& usage(std::int64_t input, std::int64_t output) && {
        return std::move(usage(input, output));
    }
    scripted_answer&& usage_for_caller() && { return std::move(usage_for_caller()); }
    scripted_answer&& finish(finish_reason why) && { return std::move(finish(why)); }
    scripted_answer&& model(std::string name) && { return std::move(model(std::move(name))); }
    scripted_answer&& status(int code) && { return std::move(status(code)); }
    template <class F>
    scripted_answer&& head(F change) && {
        return std::move(head(std::move(change)));
    }

    void set_silent() { head_after_ = duration::max(); }
    void set_pieces(std::vector<std::string> texts) { pieces_ = std::move(texts); }

private:
    friend class scripted;
    friend class scripted_stream;

    static response_head plain_head() {
        response_head head;
        head.speaks = &speaks_plain();
        head.model = "scripted";
        return head;
    }
    void split(std::string_view text) {
        while (!text.empty()) {
            const std::size_t end = text.find(' ', 1);
            pieces_.emplace_back(text.substr(0, end));
            text = end == std::string_view::npos ? std::string_view() : text.substr(end);
        }
    }
    /// The stream's events; a failure or stall among them is by number of pieces.
    std::vector<event> stream(bool metered) const {
        if (exact_) return events_;
        std::vector<event> all(bare_);
        for (const std::string& text : pieces_) all.push_back(plain_dialect::delta(text));
        event_facts facts;
        facts.finish = finish_;
        all.push_back(event(bytes(), facts));
        if (usage_.known && (metered || usage_asked_)) {
            event_facts counted;
            counted.usage = usage_;
            counted.injected = !usage_asked_;
            all.push_back(event(bytes(), counted));
        }
        all.push_back(plain_dialect::last());
        return all;
    }
    event whole() const {
        if (exact_) {
            auto folded = speaks_plain().fold(events_);
            return folded ? *folded : event();
        }
        std::string text;
        for (const std::string& one : pieces_) text += one;
        event_facts facts;
        facts.finish = finish_;
        facts.usage = usage_;
        return plain_dialect::body(std::move(text), facts);
    }
    /// From the head to the last piece, or to the failure; `max` when it never comes.
    duration unary_time() const {
        if (stall_at_) return duration::max();
        const std::size_t pieces = failure_at_ ? *failure_at_ + 1 : pieces_.size();
        return first_after_ + every_ * static_cast<duration::rep>(pieces > 1 ? pieces - 1 : 0);
    }

    std::optional<error> refusal_;
    std::vector<std::string> pieces_;
    std::vector<event> events_;
    bool exact_ = false;
    duration head_after_{};
    duration first_after_{};
    duration every_{};
    std::size_t bare_ = 0;
    std::optional<std::size_t> failure_at_;
    std::optional<error> failure_;
    std::optional<std::size_t> stall_at_;
    token_usage usage_;
    bool usage_asked_ = false;
    finish_reason finish_ = finish_reason::stop;
    response_head head_ = plain_head();
};

/// An answer of this text: word by word when streamed.
inline scripted_answer says(std::string_view text) { return scripted_answer(text); }
/// An answer in these pieces.
inline scripted_answer says_pieces(std::vector<std::string> texts) {
    scripted_answer made("");
    made.set_pieces(std::move(texts));
    return made;
}
/// An answer of exactly these events.
inline scripted_answer sends(std::vector<event> events) {
    return scripted_answer(std::move(events));
}
/// A call that fails.
inline scripted_answer fails(error why) { return scripted_answer(std::move(why)); }
inline scripted_answer fails(error_kind kind) {
    return scripted_answer(error(kind, "scripted to fail"));
}
/// A call that is accepted and then met with silence, until a limit or its caller ends it.
inline scripted_answer never_answers() {
    scripted_answer made("");
    made.set_silent();
    return made;
}

}  // namespace llmkit::testing
