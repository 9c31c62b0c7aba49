#include <llmkit/detail/http_date.hpp>

#include <cstdint>
#include <string_view>

#include "test.hpp"

namespace test_detail_http_date {

using llmkit::detail::read_http_date;
using llmkit::detail::read_rfc3339;

TEST_CASE("HTTP's three forms of a date name the same second", "[http_date]") {
    CHECK(read_http_date("Sun, 06 Nov 1994 08:49:37 GMT", 2026) == 784111777);
    CHECK(read_http_date("Sunday, 06-Nov-94 08:49:37 GMT", 2026) == 784111777);
    CHECK(read_http_date("Sun Nov  6 08:49:37 1994", 2026) == 784111777);
    CHECK(read_http_date("Sun Nov 16 08:49:37 1994", 2026) == 784111777 + 10 * 86400);
    CHECK(read_http_date("Thu, 01 Jan 1970 00:00:00 GMT", 2026) == 0);
    CHECK(read_http_date("Thu, 29 Feb 2024 23:59:60 GMT", 2026) == 1709251200);
    CHECK(read_http_date("Fri, 31 Dec 9999 23:59:59 GMT", 2026) == 253402300799);
}

TEST_CASE("a year of two digits lies at most 50 years ahead", "[http_date]") {
    CHECK(read_http_date("Sunday, 01-Jan-76 00:00:00 GMT", 2026) ==
          read_http_date("Sun, 01 Jan 2076 00:00:00 GMT", 2026));
    CHECK(read_http_date("Sunday, 01-Jan-77 00:00:00 GMT", 2026) ==
          read_http_date("Sun, 01 Jan 1977 00:00:00 GMT", 2026));
}

TEST_CASE("what is no HTTP date is refused", "[http_date]") {
    for (const std::string_view bad : {"",
                                       "Sun",
                                       "Sun,",
                                       "Sun, 06 Nov 1994 08:49:37",
                                       "Sun, 06 Nov 1994 08:49:37 CET",
                                       "Sun, 06 Nov 1994 08:49:37 GMT+1",
                                       "Sun, 6 Nov 1994 08:49:37 GMT",
                                       "Sun, 06 Nov 94 08:49:37 GMT",
                                       "Sun, 06 Nix 1994 08:49:37 GMT",
                                       "Sun, 31 Nov 1994 08:49:37 GMT",
                                       "Wed, 29 Feb 2023 00:00:00 GMT",
                                       "Sun, 00 Nov 1994 08:49:37 GMT",
                                       "Sun, 06 Nov 1994 24:00:00 GMT",
                                       "Sun, 06 Nov 1994 08:60:37 GMT",
                                       "Sun, 06 Nov 1994 08:49:61 GMT",
                                       "Sun, 06 Nov 1994 8:49:37 GMT",
                                       "Xyz, 06 Nov 1994 08:49:37 GMT",
                                       "Sunday, 06 Nov 1994 08:49:37 GMT",
                                       "Sun Nov 6 08:49:37 1994",
                                       "Sun Nov  6 08:49:37 94",
                                       "Sun Nov  6 08:49:37 1994 GMT",
                                       " Sun Nov  6 08:49:37 1994",
                                       "06 Nov 1994 08:49:37 GMT",
                                       "1994-11-06T08:49:37Z"})
        if (read_http_date(bad, 2026)) FAIL(bad);
}

TEST_CASE("RFC 3339 dates take offsets and fractions", "[http_date]") {
    CHECK(read_rfc3339("1994-11-06T08:49:37Z") == 784111777);
    CHECK(read_rfc3339("1994-11-06t08:49:37z") == 784111777);
    CHECK(read_rfc3339("1994-11-06 10:49:37+02:00") == 784111777);
    CHECK(read_rfc3339("1994-11-06T03:19:37-05:30") == 784111777);
    CHECK(read_rfc3339("1994-11-06T08:49:37.000Z") == 784111777);
    CHECK(read_rfc3339("1994-11-06T08:49:37.0001Z") == 784111778);
    CHECK(read_rfc3339("0000-01-01T00:00:00Z") == -62167219200);
    for (const std::string_view bad :
         {"", "1994-11-06", "1994-11-06T08:49:37", "1994-11-06T08:49Z", "1994-11-06T08:49:37.Z",
          "1994-13-06T08:49:37Z", "1994-00-06T08:49:37Z", "1994-02-30T08:49:37Z",
          "1994-11-06T08:49:37+0200", "1994-11-06T08:49:37+24:00", "1994-11-06T08:49:37+02:60",
          "1994-11-06T08:49:37ZZ", "94-11-06T08:49:37Z", "-1994-11-06T08:49:37Z",
          "1994-11-06T24:49:37Z"})
        if (read_rfc3339(bad)) FAIL(bad);
}

}  // namespace test_detail_http_date
