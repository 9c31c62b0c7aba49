// llmkit/detail/http_date.hpp: reads the dates that stand in headers.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <llmkit/detail/http_chars.hpp>

namespace llmkit::detail {

/// Reads a text from its front; every step says whether it found what it wanted.
class date_cursor {
public:
    explicit constexpr date_cursor(std::string_view text) : text_(text) {}

    constexpr bool skip(std::string_view word) {
        if (!same_ignoring_case(text_.substr(0, word.size()), word)) return false;
        text_.remove_prefix(word.size());
        return true;
    }
    constexpr bool number(std::size_t digits, int& out) {
        if (text_.size() < digits) return false;
        out = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (!is_digit(text_[i])) return false;
            out = out * 10 + (text_[i] - '0');
        }
        text_.remove_prefix(digits);
        return true;
    }
    template <std::size_t N>
    constexpr bool one_of(const std::array<std::string_view, N>& words, int& out) {
        for (std::size_t i = 0; i < N; ++i) {
            if (!skip(words[i])) continue;
            out = static_cast<int>(i) + 1;
            return true;
        }
        return false;
    }
    /// "08:49:37"; 60 is a leap second.
    constexpr bool clock(int& seconds) {
        int h = 0;
        int m = 0;
        int s = 0;
        if (!number(2, h) || !skip(":") || !number(2, m) || !skip(":") || !number(2, s))
            return false;
        seconds = (h * 60 + m) * 60 + s;
        return h < 24 && m < 60 && s <= 60;
    }
    constexpr bool digit_next() const { return !text_.empty() && is_digit(text_.front()); }
    constexpr bool done() const { return text_.empty(); }

private:
    std::string_view text_;
};

/// Seconds since 1970, without the overflow that `system_clock::time_point` would have in 2262.
inline std::optional<std::int64_t> unix_seconds(int year, int month, int day, int second_of_day) {
    const std::chrono::year_month_day date(std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day)));
    if (!date.ok()) return std::nullopt;
    const auto days = std::chrono::sys_days(date).time_since_epoch().count();
    return static_cast<std::int64_t>(days) * 86400 + second_of_day;
}

/// Reads a date in one of HTTP's three forms (RFC 9110 §5.6.7) as seconds since 1970. The day's
/// name must be one, but is not compared with the date. `now_year` settles two-digit years.
///
///     Sun, 06 Nov 1994 08:49:37 GMT
///     Sunday, 06-Nov-94 08:49:37 GMT
///     Sun Nov  6 08:49:37 1994
inline std::optional<std::int64_t> read_http_date(std::string_view text, int now_year) {
    static constexpr std::array<std::string_view, 7> long_days = {
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
    static constexpr std::array<std::string_view, 7> short_days = {"Mon", "Tue", "Wed", "Thu",
                                                                   "Fri", "Sat", "Sun"};
    static constexpr std::array<std::string_view, 12> months = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    date_cursor at(text);
    int ignored = 0;
    int day = 0;
    int month = 0;
    int year = 0;
    int seconds = 0;
    if (at.one_of(long_days, ignored)) {
        if (!at.skip(", ") || !at.number(2, day) || !at.skip("-") || !at.one_of(months, month) ||
            !at.skip("-") || !at.number(2, year) || !at.skip(" ") || !at.clock(seconds) ||
            !at.skip(" GMT") || !at.done())
            return std::nullopt;
        year += now_year - now_year % 100;
        if (year > now_year + 50) year -= 100;
    } else if (!at.one_of(short_days, ignored)) {
        return std::nullopt;
    } else if (at.skip(", ")) {
        if (!at.number(2, day) || !at.skip(" ") || !at.one_of(months, month) || !at.skip(" ") ||
            !at.number(4, year) || !at.skip(" ") || !at.clock(seconds) || !at.skip(" GMT") ||
            !at.done())
            return std::nullopt;
    } else {
        if (!at.skip(" ") || !at.one_of(months, month) || !at.skip(" ") ||
            !(at.skip(" ") ? at.number(1, day) : at.number(2, day)) || !at.skip(" ") ||
            !at.clock(seconds) || !at.skip(" ") || !at.number(4, year) || !at.done())
            return std::nullopt;
    }
    return unix_seconds(year, month, day, seconds);
}

/// Reads an RFC 3339 date and time as seconds since 1970, a fraction rounded up.
///
///     2026-11-22T20:32:12Z     2026-11-22T20:32:12.5+02:00
inline std::optional<std::int64_t> read_rfc3339(std::string_view text) {
    date_cursor at(text);
    int year = 0;
    int month = 0;
    int day = 0;
    int seconds = 0;
    if (!at.number(4, year) || !at.skip("-") || !at.number(2, month) || !at.skip("-") ||
        !at.number(2, day) || !(at.skip("T") || at.skip(" ")) || !at.clock(seconds))
        return std::nullopt;
    std::int64_t shift = 0;
    if (at.skip(".")) {
        if (!at.digit_next()) return std::nullopt;
        for (int digit = 0; at.digit_next();) {
            at.number(1, digit);
            if (digit != 0) shift = 1;
        }
    }
    if (!at.skip("Z")) {
        const bool west = at.skip("-");
        int hours = 0;
        int minutes = 0;
        if ((!west && !at.skip("+")) || !at.number(2, hours) || !at.skip(":") ||
            !at.number(2, minutes) || hours > 23 || minutes > 59)
            return std::nullopt;
        const std::int64_t offset = (hours * 60 + minutes) * 60;
        shift += west ? offset : -offset;
    }
    const auto date = unix_seconds(year, month, day, seconds);
    if (!at.done() || !date) return std::nullopt;
    return *date + shift;
}

}  // namespace llmkit::detail
