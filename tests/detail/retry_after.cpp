#include <llmkit/detail/retry_after.hpp>

#include <chrono>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "test.hpp"

namespace test_detail_retry_after {

using namespace llmkit::detail;
using namespace std::chrono_literals;

namespace {
using wait = std::optional<std::chrono::nanoseconds>;
constexpr auto most = longest_server_wait;
// Sun, 22 Nov 2026 20:32:12 GMT
constexpr std::chrono::system_clock::time_point now{std::chrono::seconds(1795379532)};

wait after(std::string_view text) { return parse_retry_after(text, now); }
wait reset(std::string_view text) { return parse_rate_reset(text, now); }

using reading = std::pair<std::string_view, std::chrono::nanoseconds>;
void check(wait (*read)(std::string_view), std::initializer_list<reading> expected) {
    for (const auto& [text, span] : expected) {
        INFO(text);
        CHECK(read(text) == span);
    }
}
}  // namespace

TEST_CASE("Retry-After is read as seconds, with or without a fraction", "[retry_after]") {
    check(after, {{"1", 1s},
                  {"120", 120s},
                  {" \t7 ", 7s},
                  {"0", 0s},
                  {"0.0", 0s},
                  {"007", 7s},
                  {"1.5", 1500ms},
                  {"0.25", 250ms},
                  {"0.000001", 1us}});
}

TEST_CASE("a fraction is rounded up, so that nobody comes too early", "[retry_after]") {
    check(after, {{"0.0000001", 1us},
                  {"1.0000000000000000000000000000000001", 1s + 1us},
                  {"1.9999999", 2s}});
    CHECK(parse_retry_after_ms("0.0000001") == 1ns);
}

TEST_CASE("Retry-After takes a date in each of HTTP's forms", "[retry_after]") {
    check(after, {{"Sun, 22 Nov 2026 20:32:42 GMT", 30s},
                  {"Sunday, 22-Nov-26 20:33:12 GMT", 60s},
                  {"Sun Nov 22 20:32:13 2026", 1s},
                  {"2026-11-22T20:32:42Z", 30s},
                  {"2026-11-22T21:32:42+01:00", 30s}});
    CHECK(parse_retry_after("Sun, 22 Nov 2026 20:32:42 GMT", now + 250ms) == 29750ms);
    CHECK(after("30s") == 30s);
}

TEST_CASE("a date that has passed means no wait, a far one means the longest", "[retry_after]") {
    check(after, {{"Sun, 22 Nov 2026 20:32:12 GMT", 0s},
                  {"Sun, 22 Nov 2026 20:32:11 GMT", 0s},
                  {"Sun, 06 Nov 1994 08:49:37 GMT", 0s},
                  {"Sat, 01 Jan 0000 00:00:00 GMT", 0s},
                  {"Mon, 23 Nov 2026 20:32:12 GMT", 24h},
                  {"Mon, 23 Nov 2026 20:32:13 GMT", most},
                  {"Fri, 31 Dec 9999 23:59:59 GMT", most},
                  {"9999-12-31T23:59:59.9-23:59", most}});
    using clock = std::chrono::system_clock;
    CHECK(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", clock::time_point::min()) == most);
    CHECK(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", clock::time_point::max()) == most);
    CHECK(parse_retry_after("Sat, 01 Jan 0000 00:00:00 GMT", clock::time_point::max()) == 0s);
}

TEST_CASE("a huge Retry-After is cut to the longest wait and never overflows", "[retry_after]") {
    check(after, {{"86400", most},
                  {"86401", most},
                  {"9223372036854775807", most},
                  {"18446744073709551616", most}});
    CHECK(after(std::string(1000, '9')) == most);
    CHECK(after("0." + std::string(1000, '9')) == 1s);
    CHECK(parse_retry_after_ms(std::string(100, '9')) == most);
    CHECK(reset(std::string(1000, '9') + "h") == most);
    CHECK(reset("999999999999h999999999999m99999999999999s") == most);
}

TEST_CASE("what is no wait is ignored: negative, NaN, infinite, nonsense", "[retry_after]") {
    for (const std::string_view bad :
         {"",         " ",   "-1",    "-0",   "+1", "nan",   "NaN",   "inf", "-inf",
          "Infinity", "1e3", "1e999", "0x10", "1.", ".5",    "1.2.3", "1,5", "1 2",
          "soon",     "--",  "1\n",   "\x01", "١",  "-6m0s", "6m-1s"}) {
        if (after(bad)) FAIL("Retry-After " << bad);
        if (parse_retry_after_ms(bad)) FAIL("retry-after-ms " << bad);
        if (reset(bad)) FAIL("reset " << bad);
    }
}

TEST_CASE("retry-after-ms is read as milliseconds and counts before Retry-After", "[retry_after]") {
    CHECK(parse_retry_after_ms("1500") == 1500ms);
    CHECK(parse_retry_after_ms("0.5") == 500us);
    CHECK(parse_retry_after_ms("0") == 0s);
    CHECK_FALSE(parse_retry_after_ms("1s").has_value());
    CHECK(server_wait("20", "1", now) == 20ms);
    CHECK(server_wait("", "1", now) == 1s);
    CHECK(server_wait("junk", "1", now) == 1s);
    CHECK_FALSE(server_wait("", "", now).has_value());
    CHECK_FALSE(server_wait("-1", "NaN", now).has_value());
}

TEST_CASE("rate limit resets come as durations, seconds or dates", "[retry_after]") {
    check(reset, {{"6m0s", 6min},
                  {"1s", 1s},
                  {"120ms", 120ms},
                  {"1h2m3.5s", 1h + 2min + 3500ms},
                  {"17.32ms", 17320us},
                  {"5\xC2\xB5s", 5us},
                  {"5us", 5us},
                  {"7ns", 7ns},
                  {"0s", 0s},
                  {"30h", most},
                  {"59.88", 59880ms},
                  {"60", 60s},
                  {"2026-11-22T20:33:12Z", 1min},
                  {"1795379542", 10s},
                  {"1795379542001", 11s},
                  {"1795379500", 0s},
                  {"999999999999999999", most}});
    for (const std::string_view bad : {"6m0", "m", "6x", "6 m", "6m 0s", "ms", "s6", "1m2"})
        if (reset(bad)) FAIL(bad);
}

}  // namespace test_detail_retry_after
