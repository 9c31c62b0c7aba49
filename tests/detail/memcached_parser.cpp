#include <llmkit/detail/memcached_parser.hpp>

#include <string>
#include <string_view>

#include "test.hpp"

namespace test_detail_memcached_parser {

using namespace llmkit::detail;

namespace {
std::string shown(const memcached_reply& one) {
    static constexpr const char* names[] = {"value", "done", "absent", "kept", "error"};
    std::string out = names[static_cast<int>(one.kind)];
    if (one.ttl >= 0) out += " ttl " + std::to_string(one.ttl);
    if (one.client > 0) out += " client " + std::to_string(one.client);
    return one.text.empty() ? out : out + " '" + one.text + "'";
}
/// All replies, or what was wrong, whether the input comes whole, or byte by byte.
std::string replies(std::string_view input, const memcached_limits& limits = {}) {
    std::string all[2];
    for (const bool whole : {true, false}) {
        memcached_parser parser(limits);
        std::string& out = all[whole ? 0 : 1];
        const std::size_t size = whole ? std::max<std::size_t>(input.size(), 1) : 1;
        for (std::size_t at = 0; at < input.size() && parser.problem().empty(); at += size) {
            const std::string piece(input.substr(at, size));
            parser.feed(piece);
            memcached_reply one;
            while (parser.next(one) == reply_step::reply) out += shown(one) + '\n';
        }
        if (!parser.problem().empty()) out += parser.problem();
        if (parser.problem().empty() && parser.midway()) out += "midway";
    }
    CHECK(all[0] == all[1]);
    return all[0];
}
}  // namespace

TEST_CASE("memcached's replies are read, however they are cut", "[memcached]") {
    CHECK(replies("VA 5 t30 f60\r\nhello\r\nEN\r\n") == "value ttl 30 client 60 'hello'\nabsent\n");
    CHECK(replies("VA 4 t-1\r\n\r\n\r\n\r\nHD\r\n") == "value '\r\n\r\n'\ndone\n");
    CHECK(replies("VA 0\r\n\r\n") == "value\n");
    CHECK(replies("HD t9 x  y\r\nNF\r\nNS\r\nEX\r\nMN\r\nSTORED\r\nOK\r\n") ==
          "done ttl 9\nabsent\nkept\nkept\ndone\ndone\ndone\n");
    CHECK(replies("ERROR\r\nCLIENT_ERROR bad  data\r\nSERVER_ERROR out of memory\r\n") ==
          "error 'ERROR'\nerror 'CLIENT_ERROR bad  data'\nerror 'SERVER_ERROR out of memory'\n");
    CHECK(replies("VA 5 t1\r\nhel") == "midway");
    CHECK(replies("E") == "midway");
}

TEST_CASE("what memcached may not say ends the connection, within bounds", "[memcached]") {
    const std::string wrong = "it begins with a word that begins nothing";
    CHECK(replies("HELLO\r\n") == wrong);
    CHECK(replies("\r\n") == wrong);
    CHECK(replies("EN\r\nHTTP/1.1 400 Bad Request\r\n") == "absent\n" + wrong);
    CHECK(replies("EN\n") == "a line does not end as it should");
    CHECK(replies("\n") == "a line does not end as it should");
    for (const char* size : {"", "x", "-1", "1x", "99999999999999999999999"})
        CHECK(replies("VA " + std::string(size) + " t1\r\n") == "a length is none");
    CHECK(replies("VA 3\r\nabcde") == "an item does not end as it should");
    const memcached_limits small{10, 20};
    CHECK(replies("VA 10\r\n0123456789\r\n", small) == "value '0123456789'\n");
    CHECK(replies("VA 11\r\n01234567890\r\n", small) == "an item is too large");
    CHECK(replies("VA 18446744073709551615\r\n") == "an item is too large");
    CHECK(replies("ERROR " + std::string(100, 'x'), small) == "a line is too long");
}

}  // namespace test_detail_memcached_parser
