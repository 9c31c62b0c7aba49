// llmkit/detail/retry_after.hpp: how long a server asks us to wait, from its headers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/detail/http_date.hpp>

namespace llmkit::detail {

/// No wait that a server asks for counts as longer than this; it is far beyond any deadline.
inline constexpr std::chrono::nanoseconds longest_server_wait = std::chrono::hours(24);

/// Takes an unsigned decimal number of `unit`s off the front of `text`, as nanoseconds: rounded up
/// to a millionth of the unit, so that nobody comes too early, and at most `longest_server_wait`.
/// No sign, no exponent, no "nan" and no "inf". `unit` is at most an hour, lest it overflow.
inline bool take_amount(std::string_view& text, std::chrono::nanoseconds unit,
                        std::chrono::nanoseconds& out) {
    const std::int64_t one = unit.count();
    const std::int64_t most = longest_server_wait.count() / one + 1;
    std::string_view in = text;
    if (in.empty() || !is_digit(in.front())) return false;
    std::int64_t whole = 0;
    for (; !in.empty() && is_digit(in.front()); in.remove_prefix(1))
        whole = std::min(whole * 10 + (in.front() - '0'), most);
    std::int64_t part = 0;
    if (in.starts_with('.')) {
        in.remove_prefix(1);
        if (in.empty() || !is_digit(in.front())) return false;
        std::int64_t millionths = 0;
        std::int64_t weight = 100'000;
        bool more = false;
        for (; !in.empty() && is_digit(in.front()); in.remove_prefix(1), weight /= 10) {
            millionths += (in.front() - '0') * weight;
            more = more || (weight == 0 && in.front() != '0');
        }
        if (more) ++millionths;
        part = (millionths * one + 999'999) / 1'000'000;
    }
    out = std::min(longest_server_wait, std::chrono::nanoseconds(whole * one + part));
    text = in;
    return true;
}

/// Go's way to write a duration, as OpenAI's reset headers do: "6m0s", "1s", "120ms", "1h2m3.5s".
inline std::optional<std::chrono::nanoseconds> read_duration(std::string_view text) {
    using namespace std::chrono_literals;
    static constexpr std::pair<std::string_view, std::chrono::nanoseconds> units[] = {
        // those that begin like another come first
        {"ms", 1ms}, {"us", 1us}, {"\xC2\xB5s", 1us}, {"\xCE\xBCs", 1us},
        {"ns", 1ns}, {"h", 1h},   {"m", 1min},        {"s", 1s}};
    if (text.empty()) return std::nullopt;
    std::chrono::nanoseconds sum{0};
    while (!text.empty()) {
        std::string_view after = text;
        std::chrono::nanoseconds amount{0};
        if (!take_amount(after, 1ns, amount)) return std::nullopt;
        const auto* unit = std::find_if(std::begin(units), std::end(units),
                                        [&](const auto& u) { return after.starts_with(u.first); });
        if (unit == std::end(units)) return std::nullopt;
        take_amount(text, unit->second, amount);
        text.remove_prefix(unit->first.size());
        sum = std::min(longest_server_wait, sum + amount);
    }
    return sum;
}

/// From `now` until that many seconds after 1970: none when it has passed, at most
/// `longest_server_wait`.
inline std::chrono::nanoseconds wait_until(std::int64_t unix_second,
                                           std::chrono::system_clock::time_point now) {
    using namespace std::chrono;
    const auto whole = floor<std::chrono::seconds>(now);
    const std::int64_t away = unix_second - std::int64_t{whole.time_since_epoch().count()};
    const std::int64_t most = duration_cast<std::chrono::seconds>(longest_server_wait).count();
    if (away <= 0) return nanoseconds(0);
    if (away > most) return longest_server_wait;
    return duration_cast<nanoseconds>(std::chrono::seconds(away)) -
           duration_cast<nanoseconds>(now - whole);
}

inline std::optional<std::chrono::nanoseconds> read_date_wait(
    std::string_view text, std::chrono::system_clock::time_point now) {
    const std::chrono::year_month_day today(std::chrono::floor<std::chrono::days>(now));
    auto date = read_http_date(text, static_cast<int>(today.year()));
    if (!date) date = read_rfc3339(text);
    if (!date) return std::nullopt;
    return wait_until(*date, now);
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, also with a fraction; a date in any of HTTP's forms
/// or RFC 3339's; or a duration such as "30s". From 0 (also for a date that has passed) to
/// `longest_server_wait`. Nothing for anything else, negative and infinite numbers included: then
/// the caller's own pause counts. 0 does not mean "without pause" either: the caller's own pause is
/// the least.
inline std::optional<std::chrono::nanoseconds> parse_retry_after(
    std::string_view text, std::chrono::system_clock::time_point now) {
    text = trim_blanks(text);
    std::string_view rest = text;
    std::chrono::nanoseconds amount{0};
    if (take_amount(rest, std::chrono::seconds(1), amount) && rest.empty()) return amount;
    if (const auto duration = read_duration(text)) return duration;
    return read_date_wait(text, now);
}

/// `retry-after-ms`, which OpenAI and Azure send: milliseconds, also with a fraction. The same
/// bounds.
inline std::optional<std::chrono::nanoseconds> parse_retry_after_ms(std::string_view text) {
    text = trim_blanks(text);
    std::chrono::nanoseconds amount{0};
    if (!take_amount(text, std::chrono::milliseconds(1), amount) || !text.empty())
        return std::nullopt;
    return amount;
}

/// What the headers ask for: `retry-after-ms` when it can be read, as it is the finer one, else
/// `Retry-After`. Give an empty text for a header that is not there.
inline std::optional<std::chrono::nanoseconds> server_wait(
    std::string_view retry_after_ms, std::string_view retry_after,
    std::chrono::system_clock::time_point now) {
    if (const auto fine = parse_retry_after_ms(retry_after_ms)) return fine;
    return parse_retry_after(retry_after, now);
}

/// When a rate limit starts anew, from now: OpenAI's durations ("6m0s"), seconds, Anthropic's
/// RFC 3339 dates; numbers from 10⁹ on are seconds since 1970, from 10¹¹ on milliseconds since
/// then. The same bounds.
inline std::optional<std::chrono::nanoseconds> parse_rate_reset(
    std::string_view text, std::chrono::system_clock::time_point now) {
    text = trim_blanks(text);
    std::int64_t number = 0;
    bool whole = text.size() >= 10 && text.size() <= 18;
    for (const char c : text) {
        whole = whole && is_digit(c);
        if (whole) number = number * 10 + (c - '0');
    }
    if (whole && number >= 100'000'000'000) return wait_until((number + 999) / 1000, now);
    if (whole && number >= 1'000'000'000) return wait_until(number, now);
    return parse_retry_after(text, now);
}

}  // namespace llmkit::detail
