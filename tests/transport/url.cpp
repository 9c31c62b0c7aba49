#include <llmkit/transport/url.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "test.hpp"

namespace test_transport_url {

using llmkit::url;

namespace {
url good(std::string_view text) {
    std::string why;
    auto parsed = url::parse(text, why);
    INFO(text << ": " << why);
    REQUIRE(parsed.has_value());
    CHECK(why.empty());
    return *parsed;
}

std::string refused(std::string_view text) {
    std::string why;
    const auto parsed = url::parse(text, why);
    INFO(text);
    CHECK_FALSE(parsed.has_value());
    CHECK_FALSE(why.empty());
    return why;
}

std::string joined(std::string_view base, std::string_view operation) {
    std::string why;
    const auto out = good(base).join(operation, why);
    INFO(base << " + " << operation << ": " << why);
    REQUIRE(out.has_value());
    return out->text();
}

bool says(const std::string& why, std::string_view word) {
    return why.find(word) != std::string::npos;
}
}  // namespace

TEST_CASE("a URL falls into its parts", "[url]") {
    const url u = good("https://API.OpenAI.com:8443/v1/chat?a=b&c=%20");
    CHECK(u.scheme() == "https");
    CHECK(u.secure());
    CHECK(u.host() == "api.openai.com");
    CHECK(u.port() == 8443);
    CHECK(u.path() == "/v1/chat");
    CHECK(u.query() == "a=b&c=%20");
    CHECK(u.target() == "/v1/chat?a=b&c=%20");
    CHECK(u.authority() == "api.openai.com:8443");
    CHECK(u.origin() == "https://api.openai.com:8443");
    CHECK(u.text() == "https://api.openai.com:8443/v1/chat?a=b&c=%20");
    CHECK(good(u.text()) == u);
}

TEST_CASE("a URL's port and path have defaults", "[url]") {
    CHECK(good("http://h").port() == 80);
    CHECK(good("https://h").port() == 443);
    CHECK(good("HTTPS://h").secure());
    CHECK(good("http://h").path() == "/");
    CHECK(good("http://h?x").target() == "/?x");
    CHECK(good("http://h/?").target() == "/");
    CHECK(good("http://h:80").authority() == "h");
    CHECK(good("https://h:80").authority() == "h:80");
    CHECK(good("http://h:443").authority() == "h:443");
    CHECK(good("http://h:65535").port() == 65535);
    CHECK(good("http://h:00080").port() == 80);
    CHECK(good("http://my_host-1.local./x").host() == "my_host-1.local.");
    CHECK(good("http://h/a[0]/~x;y=@:!$&'()*+,").path() == "/a[0]/~x;y=@:!$&'()*+,");
}

TEST_CASE("a URL takes IPv4 and IPv6 addresses", "[url]") {
    CHECK(good("http://127.0.0.1:9/x").host() == "127.0.0.1");
    CHECK(good("http://127.0.0.1").host_is_ip());
    CHECK_FALSE(good("http://a127.0.0.1x").host_is_ip());
    for (const std::string_view address :
         {"::", "::1", "1::", "fe80::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1::8",
          "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "abcd:ef01::"}) {
        const url u = good("http://[" + std::string(address) + "]:81/p");
        CHECK(u.host() == address);
        CHECK(u.host_is_ip());
        CHECK(u.authority() == "[" + std::string(address) + "]:81");
        CHECK(u.path() == "/p");
    }
    CHECK(good("http://[FE80::A]").host() == "fe80::a");
    CHECK(good("https://[::1]").authority() == "[::1]");
}

TEST_CASE("malformed addresses are refused", "[url]") {
    for (const std::string_view address : {"",
                                           ":",
                                           ":::",
                                           "1",
                                           "1:2:3:4:5:6:7",
                                           "1:2:3:4:5:6:7:8:9",
                                           "1::2::3",
                                           "12345::",
                                           "g::",
                                           "1:2:3:4:5:6:7:",
                                           ":1:2:3:4:5:6:7",
                                           "::1.2.3",
                                           "::1.2.3.256",
                                           "1.2.3.4",
                                           "::01.2.3.4",
                                           "1:2:3:4:5:6:7:1.2.3.4",
                                           "1:2:3:4:5:6:7:8::",
                                           "::1%25eth0",
                                           "fe80::1%eth0",
                                           "::1.2.3.4:5"})
        refused("http://[" + std::string(address) + "]/");
    for (const std::string_view host : {"127.1", "1.2.3.256", "01.2.3.4", "2130706433", "0x7f.1",
                                        "0x7f000001", "1.2.3.4.5", "1.2.3.4.", "example.1"})
        CHECK(says(refused("http://" + std::string(host)), "IPv4"));
    refused("http://[::1");
    refused("http://[::1]x");
    refused("http://[::1]8080");
    CHECK(says(refused("http://::1/"), "brackets"));
    CHECK(says(refused("http://[fe80::1%25eth0]/"), "zone"));
}

TEST_CASE("a URL without a sound scheme, host or port is refused with advice", "[url]") {
    CHECK(says(refused(""), "empty"));
    CHECK(says(refused("api.openai.com/v1"), "https://"));
    CHECK(says(refused("localhost:8080"), "https://"));
    CHECK(says(refused("//h/x"), "https://"));
    CHECK(says(refused("ftp://h"), "scheme"));
    CHECK(says(refused("httpss://h"), "scheme"));
    CHECK(says(refused("://h"), "scheme"));
    CHECK(says(refused("http:/h"), "scheme"));
    CHECK(says(refused("http://"), "no host"));
    CHECK(says(refused("http:///v1"), "no host"));
    CHECK(says(refused("http://:80"), "no host"));
    for (const std::string_view port :
         {"", "0", "65536", "99999999999999999999", "8a", "-1", "+80"})
        CHECK(says(refused("http://h:" + std::string(port) + "/"), "port"));
    for (const std::string& host : {std::string("a..b"), std::string(".a"), std::string("."),
                                    std::string("a,b"), std::string("a%41"), std::string("a!b"),
                                    std::string(64, 'a'), std::string("a]"), std::string("a[b")})
        CHECK(says(refused("http://" + host + "/"), "host"));
    std::string longest;
    for (int i = 0; i < 5; ++i) longest += std::string(63, 'a') + '.';
    refused("http://" + longest);
}

TEST_CASE("a URL with a user name or password is refused and not shown", "[url]") {
    for (const std::string_view text : {"https://user:hunter2@h/v1", "https://hunter2@h",
                                        "https://@h", "http://h:80@hunter2/", "http://good@evil"}) {
        const std::string why = refused(text);
        CHECK(says(why, "user name"));
        CHECK_FALSE(says(why, "hunter2"));
    }
    CHECK(good("http://h/@x?@y").path() == "/@x");
}

TEST_CASE("spaces, controls, backslashes and other letters in a URL are refused", "[url]") {
    CHECK(says(refused("http://h/a b"), "%20"));
    CHECK(says(refused(" http://h"), "space"));
    CHECK(says(refused("http://h/v1\n"), "newline"));
    CHECK(says(refused("http://h/\r\nHost: evil"), "control"));
    refused(std::string_view("http://h/\0", 10));
    refused("http://h/\x7f");
    refused("http://h/\t");
    CHECK(says(refused("http://h/\xC3\xA9"), "ASCII"));
    CHECK(says(refused("http://b\xC3\xBC"
                       "cher.example"),
               "xn--"));
    CHECK(says(refused("http://h\\@evil/"), "'\\'"));
    CHECK(says(refused("http://h/{tenant}/v1"), "placeholder"));
    for (const char c : std::string_view("\"<>^`|}")) refused(std::string("http://h/?q=") + c);
    CHECK(says(refused("http://h/#top"), "fragment"));
    refused("http://h#top");
    CHECK(says(refused("http://h/100%"), "%25"));
    refused("http://h/%2");
    refused("http://h/%zz");
}

TEST_CASE("what is wrong with a URL never shows its path or query", "[url]") {
    for (const std::string_view text :
         {"http://h/sk-secret x", "http://h/?key=sk-secret\n", "http://h/?key=sk-secret#x",
          "http://h/sk-secret%", "http://h:x/?key=sk-secret", "ftp://h/?key=sk-secret"})
        CHECK_FALSE(says(refused(text), "secret"));
}

TEST_CASE("an operation joins a base path with one slash", "[url]") {
    const std::string chat = "https://h/v1/chat/completions";
    CHECK(joined("https://h/v1", "chat/completions") == chat);
    CHECK(joined("https://h/v1/", "chat/completions") == chat);
    CHECK(joined("https://h/v1", "/chat/completions") == chat);
    CHECK(joined("https://h/v1/", "/chat/completions") == chat);
    CHECK(joined("https://h", "models") == "https://h/models");
    CHECK(joined("https://h/v1", "") == "https://h/v1");
    CHECK(joined("https://h/v1", "models/a%2Fb") == "https://h/v1/models/a%2Fb");
    CHECK(joined("https://h/v1", "..a/b..c/...") == "https://h/v1/..a/b..c/...");
}

TEST_CASE("joining keeps the queries of both", "[url]") {
    CHECK(joined("https://h/d/x?api-version=1", "chat") == "https://h/d/x/chat?api-version=1");
    CHECK(joined("https://h/v1", "files?limit=2") == "https://h/v1/files?limit=2");
    CHECK(joined("https://h/v1?a=1", "f?b=2") == "https://h/v1/f?a=1&b=2");
    CHECK(joined("https://h/v1?a=1", "?b=2") == "https://h/v1?a=1&b=2");
}

TEST_CASE("an operation cannot leave its base or smuggle anything in", "[url]") {
    const url base = good("https://h/v1");
    for (const std::string_view operation :
         {"../admin", "a/../../admin", "..", "a/..", "./a", "%2e%2E/admin", ".%2e", "/../x", "a b",
          "a\r\nX: y", "a#b", "a\\b", "a%", "%2", "a?b c"}) {
        std::string why;
        INFO(operation);
        CHECK_FALSE(base.join(operation, why).has_value());
        CHECK_FALSE(why.empty());
    }
    // It stays a path, whatever it looks like.
    CHECK(joined("https://h/v1", "//evil/x") == "https://h/v1//evil/x");
    CHECK(joined("https://h/v1", "https://evil/x") == "https://h/v1/https://evil/x");
}

}  // namespace test_transport_url
