// llmkit/detail/json_scan.hpp: read the few fields that matter out of JSON, without building it.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <llmkit/detail/json_string.hpp>
#include <llmkit/detail/json_tokens.hpp>

namespace llmkit::detail {

enum class json_kind : std::uint8_t { invalid, object, array, string, number, boolean, null };

/// Walks over one JSON document (RFC 8259) in a single pass and validates all of it.
///
///     json_scanner json(R"({"id":"a","usage":{"total_tokens":7}})");
///     json_string id;
///     std::int64_t tokens = 0;
///     json.members([&](json_string key) {
///         if (key == "id") json.read(id);
///         if (key == "usage")
///             json.members([&](json_string name) {
///                 if (name == "total_tokens") json.read(tokens);
///             });
///     });
///     if (!json.finish()) …  // malformed: use nothing of what was read
///
/// The scanner stands before one value at a time. `read`, `members`, `elements` take that value
/// when it has the asked type and return true; else they return false and leave it in place, which
/// is no error. A member or element that the callback leaves in place is skipped, and validated.
/// After a malformed place every call returns false, and `ok()` does.
///
/// Nesting deeper than 256 is malformed. Nothing is allocated, no byte behind the text is read, and
/// whatever was handed out points into the text.
class json_scanner {
public:
    static constexpr std::size_t max_depth = max_json_depth;

    explicit json_scanner(std::string_view text)
        : begin_(text.data()), p_(begin_), end_(begin_ + text.size()) {
        p_ = past_space(p_, end_);
    }

    /// False once something malformed was met.
    bool ok() const { return ok_; }

    /// Takes what is left. True when the whole text was one well-formed value.
    bool finish() {
        if (!done_) skip();
        if (ok_ && depth_ == 0) {
            p_ = past_space(p_, end_);
            if (p_ == end_) return true;
        }
        return fail();
    }

    /// Bytes from the start of the text to the value before which the scanner stands, or to the
    /// malformed place.
    std::size_t offset() const { return static_cast<std::size_t>((ok_ ? p_ : bad_) - begin_); }

    /// What the next value seems to be, judged by its first byte.
    json_kind kind() const {
        if (!ok_ || done_ || p_ == end_) return json_kind::invalid;
        switch (*p_) {
            case '{':
                return json_kind::object;
            case '[':
                return json_kind::array;
            case '"':
                return json_kind::string;
            case 't':
            case 'f':
                return json_kind::boolean;
            case 'n':
                return json_kind::null;
            default:
                return *p_ == '-' || is_json_digit(*p_) ? json_kind::number : json_kind::invalid;
        }
    }

    /// Takes an object; calls `visit(json_string key)` before the value of each member, in order.
    template <class Visit>
    bool members(Visit&& visit) {
        if (!enter('{')) return false;
        if (closes('}')) return leave();
        for (;;) {
            json_string name;
            if (!take_key(name)) return false;
            visit(name);
            if (!done_) skip();
            if (!goes_on('}')) break;
        }
        return leave();
    }

    /// Takes an array; calls `visit()` before each element, in order.
    template <class Visit>
    bool elements(Visit&& visit) {
        if (!enter('[')) return false;
        if (closes(']')) return leave();
        for (;;) {
            done_ = false;
            visit();
            if (!done_) skip();
            if (!goes_on(']')) break;
        }
        return leave();
    }

    bool read(json_string& value) {
        if (kind() != json_kind::string) return false;
        const char* const close = scan_json_string(p_ + 1, end_, value.escaped);
        if (close == nullptr) return fail();
        value.raw = {p_ + 1, static_cast<std::size_t>(close - p_ - 1)};
        return advance(close + 1);
    }

    /// Takes a number that is a whole one and fits, also when written `12.0` or `1e3`.
    bool read(std::int64_t& value) {
        if (kind() != json_kind::number) return false;
        const char* const stop = past_number(p_, end_);
        if (stop == nullptr) return fail();
        std::int64_t whole = 0;
        const auto [parsed, problem] = std::from_chars(p_, stop, whole);
        if (problem != std::errc() || parsed != stop) {
            constexpr double limit = 9007199254740992.0;  // 2^53: beyond it doubles skip integers
            double wide = 0;
            if (std::from_chars(p_, stop, wide).ec != std::errc()) return false;
            if (!(wide >= -limit && wide <= limit)) return false;
            whole = static_cast<std::int64_t>(wide);
            if (static_cast<double>(whole) != wide) return false;
        }
        value = whole;
        return advance(stop);
    }

    /// Takes any number that a double can hold; one too large or too small is left in place.
    bool read(double& value) {
        if (kind() != json_kind::number) return false;
        const char* const stop = past_number(p_, end_);
        if (stop == nullptr) return fail();
        double parsed = 0;
        if (std::from_chars(p_, stop, parsed).ec != std::errc()) return false;
        value = parsed;
        return advance(stop);
    }

    bool read(bool& value) {
        if (kind() != json_kind::boolean) return false;
        const bool yes = *p_ == 't';
        if (!advance(past_word(p_, end_, yes ? "true" : "false"))) return false;
        value = yes;
        return true;
    }

    bool read_null() { return kind() == json_kind::null && advance(past_word(p_, end_, "null")); }

    /// Takes any value and gives its text, validated.
    bool read_raw(std::string_view& text) {
        const char* const start = p_;
        if (!skip()) return false;
        text = {start, static_cast<std::size_t>(p_ - start)};
        return true;
    }

    /// Enough was read: every further call returns false, and nothing more is validated.
    void stop() { fail(); }

    /// Takes any value.
    bool skip() {
        if (!ok_ || done_ || p_ == end_) return fail();
        return advance(past_value(p_, end_, max_depth - depth_));
    }

private:
    bool fail() {
        if (ok_) bad_ = p_;
        p_ = end_;
        done_ = true;
        return ok_ = false;
    }

    /// Goes on behind a value; null means that it was malformed.
    bool advance(const char* p) {
        if (p == nullptr) return fail();
        p_ = p;
        return done_ = true;
    }

    bool enter(char open) {
        if (!ok_ || done_ || p_ == end_ || *p_ != open) return false;
        if (depth_ == max_depth) return fail();
        ++depth_;
        p_ = past_space(p_ + 1, end_);
        return true;
    }

    bool leave() {
        if (ok_) --depth_;
        done_ = true;
        return ok_;
    }

    /// True when the container ends here.
    bool closes(char close) {
        if (p_ == end_ || *p_ != close) return false;
        ++p_;
        return true;
    }

    /// After a value: true when another one follows, false at the end of the container.
    [[gnu::always_inline]] bool goes_on(char close) {
        const char* const p = past_space(p_, end_);
        p_ = p;
        if (p != end_ && *p == ',') {
            p_ = past_space(p + 1, end_);
            return true;
        }
        if (!closes(close)) fail();
        return false;
    }

    bool take_key(json_string& name) {
        const char* const p = past_key(p_, end_, name);
        if (p == nullptr) return fail();
        p_ = p;
        done_ = false;
        return true;
    }

    const char* begin_;
    const char* p_;
    const char* end_;
    const char* bad_ = nullptr;
    std::size_t depth_ = 0;
    bool ok_ = true;
    bool done_ = false;  // the value before which the scanner stood has been taken
};

}  // namespace llmkit::detail
