// llmkit/detail/json_scan.hpp: read the few fields that matter out of JSON, without building it.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <llmkit/detail/json_string.hpp>

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
    static constexpr std::size_t max_depth = 256;

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
                return *p_ == '-' || is_digit(*p_) ? json_kind::number : json_kind::invalid;
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

    /// Takes any value.
    bool skip() {
        if (!ok_ || done_ || p_ == end_) return fail();
        const bool nested = *p_ == '{' || *p_ == '[';
        return advance(nested ? past_nested(p_, end_, max_depth - depth_) : past_scalar(p_, end_));
    }

private:
    static constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

    [[gnu::always_inline]] static const char* past_space(const char* p, const char* end) {
        while (p != end && static_cast<unsigned char>(*p) <= ' ' &&
               (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
            ++p;
        return p;
    }

    // The functions named past_ take a place and give the one behind what stands there, or null
    // when that is malformed. They work on copies of the place, which the compiler keeps in a
    // register; p_ in the object costs a store and a load a step.

    static const char* past_digits(const char* p, const char* end) {
        if (p == end || !is_digit(*p)) return nullptr;
        while (p != end && is_digit(*p)) ++p;
        return p;
    }

    static const char* past_number(const char* p, const char* end) {
        if (*p == '-') ++p;
        if (p != end && *p == '0') {
            ++p;
            if (p != end && is_digit(*p)) return nullptr;
        } else {
            p = past_digits(p, end);
        }
        if (p != nullptr && p != end && *p == '.') p = past_digits(p + 1, end);
        if (p != nullptr && p != end && (*p == 'e' || *p == 'E')) {
            ++p;
            if (p != end && (*p == '+' || *p == '-')) ++p;
            p = past_digits(p, end);
        }
        return p;
    }

    static const char* past_word(const char* p, const char* end, std::string_view word) {
        const bool here = std::string_view(p, static_cast<std::size_t>(end - p)).starts_with(word);
        return here ? p + word.size() : nullptr;
    }

    static const char* past_scalar(const char* p, const char* end) {
        if (p == end) return nullptr;
        if (*p == '"') {
            bool escaped = false;
            const char* const close = scan_json_string(p + 1, end, escaped);
            return close == nullptr ? nullptr : close + 1;
        }
        if (*p == '-' || is_digit(*p)) return past_number(p, end);
        if (*p == 't') return past_word(p, end, "true");
        if (*p == 'f') return past_word(p, end, "false");
        return past_word(p, end, "null");
    }

    /// Past a member's name, its colon and the space around.
    static const char* past_key(const char* p, const char* end, json_string& name) {
        if (p == end || *p != '"') return nullptr;
        const char* const close = scan_json_string(p + 1, end, name.escaped);
        if (close == nullptr) return nullptr;
        name.raw = {p + 1, static_cast<std::size_t>(close - p - 1)};
        p = past_space(close + 1, end);
        return p != end && *p == ':' ? past_space(p + 1, end) : nullptr;
    }

    /// Past an object or array, without recursion: one bit a level tells which of the two it is.
    static const char* past_nested(const char* p, const char* end, std::size_t levels) {
        std::array<std::uint64_t, max_depth / 64> objects{};
        json_string key;
        std::size_t level = 0;
        bool object = false;
        const auto look_up = [&] {
            const std::size_t top = level - 1;
            object = level != 0 && ((objects[top / 64] >> (top % 64)) & 1U) != 0;
        };
        for (;;) {
            bool value_ended = true;
            if (p != end && (*p == '{' || *p == '[')) {
                if (level == levels) return nullptr;
                object = *p == '{';
                const std::uint64_t bit = std::uint64_t{1} << (level % 64);
                std::uint64_t& word = objects[level / 64];
                word = object ? word | bit : word & ~bit;
                ++level;
                p = past_space(p + 1, end);
                if (p != end && *p == (object ? '}' : ']')) {
                    ++p;
                    --level;
                    look_up();
                } else {
                    value_ended = false;
                    if (object) p = past_key(p, end, key);
                }
            } else {
                p = past_scalar(p, end);
            }
            if (p == nullptr) return nullptr;
            while (value_ended) {
                if (level == 0) return p;
                p = past_space(p, end);
                if (p == end) return nullptr;
                if (*p == ',') {
                    p = past_space(p + 1, end);
                    if (object) p = past_key(p, end, key);
                    if (p == nullptr) return nullptr;
                    value_ended = false;
                } else if (*p == (object ? '}' : ']')) {
                    ++p;
                    --level;
                    look_up();
                } else {
                    return nullptr;
                }
            }
        }
    }

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
