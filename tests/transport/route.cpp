#include <llmkit/transport/route.hpp>

#include <map>

#include "test.hpp"

namespace test_transport_route {

using namespace llmkit;

namespace {

using variables = std::map<std::string, std::string>;

// "direct", the proxy's name, or "error".
std::string towards(const route& way, std::string_view where) {
    std::string why;
    const auto by = way.towards(url::parse(where, why).value());
    if (!by) return "error";
    return by->proxy ? by->proxy->name() : "direct";
}
route set_to(const variables& all) {
    return environment_proxies([&all](const char* name) -> const char* {
        const auto it = all.find(name);
        return it == all.end() ? nullptr : it->second.c_str();
    });
}

}  // namespace

TEST_CASE("without proxies in the environment the way is direct", "[route]") {
    CHECK(towards(set_to({}), "http://a.org") == "direct");
    CHECK(towards(set_to({{"HTTP_PROXY", ""}, {"https_proxy", ""}}), "https://a.org") == "direct");
    CHECK(towards(direct(), "http://a.org") == "direct");
}

TEST_CASE("each scheme has its proxy, and ALL_PROXY stands in for those that have none",
          "[route]") {
    const auto both = set_to({{"HTTP_PROXY", "plain:1"}, {"HTTPS_PROXY", "http://secure:2"}});
    CHECK(towards(both, "http://a.org") == "http://plain:1");
    CHECK(towards(both, "https://a.org") == "http://secure:2");
    const auto one = set_to({{"HTTPS_PROXY", "secure:2"}});
    CHECK(towards(one, "http://a.org") == "direct");
    const auto all = set_to({{"https_proxy", "secure:2"}, {"ALL_PROXY", "all:3"}});
    CHECK(towards(all, "http://a.org") == "http://all:3");
    CHECK(towards(all, "https://a.org") == "http://secure:2");
}

TEST_CASE("lower case comes before upper case, unless it is empty", "[route]") {
    CHECK(towards(set_to({{"http_proxy", "low:1"}, {"HTTP_PROXY", "up:1"}}), "http://a.org") ==
          "http://low:1");
    CHECK(towards(set_to({{"http_proxy", ""}, {"HTTP_PROXY", "up:1"}}), "http://a.org") ==
          "http://up:1");
    const auto way = set_to({{"all_proxy", "p:1"}, {"no_proxy", "a.org"}, {"NO_PROXY", "b.org"}});
    CHECK(towards(way, "http://a.org") == "direct");
    CHECK(towards(way, "http://b.org") == "http://p:1");
}

TEST_CASE("a CGI program takes no proxy from a request's headers", "[route]") {
    const variables cgi = {{"REQUEST_METHOD", "GET"}, {"HTTP_PROXY", "evil:1"}};
    CHECK(towards(set_to(cgi), "http://a.org") == "direct");
    variables lower = cgi;
    lower["http_proxy"] = "good:1";
    lower["HTTPS_PROXY"] = "good:2";
    CHECK(towards(set_to(lower), "http://a.org") == "http://good:1");
    CHECK(towards(set_to(lower), "https://a.org") == "http://good:2");
}

TEST_CASE("this machine is never reached through the environment's proxies", "[route]") {
    const auto way = set_to({{"ALL_PROXY", "p:1"}});
    for (const char* here : {"http://localhost:80", "http://127.0.0.1:1", "https://[::1]"})
        CHECK(towards(way, here) == "direct");
    CHECK(towards(proxy("p:1"), "http://localhost") == "http://p:1");
    CHECK(towards(proxy("p:1", "localhost"), "http://localhost") == "direct");
}

TEST_CASE("a proxy that cannot be used is an error where it would be used", "[route]") {
    const auto way = set_to({{"HTTPS_PROXY", "socks5://p"}, {"NO_PROXY", "b.org"}});
    CHECK(towards(way, "https://a.org") == "error");
    CHECK(towards(way, "https://b.org") == "direct");
    CHECK(towards(way, "http://a.org") == "direct");
    CHECK(towards(proxy("https://p"), "http://a.org") == "error");
}

TEST_CASE("a Unix socket's path must fit and be one", "[route]") {
    std::string why;
    const url any = url::parse("http://localhost/v1", why).value();
    const auto good = unix_socket("/run/llm.sock").towards(any);
    CHECK(good);
    const auto longest = unix_socket(std::string(107, 'x')).towards(any);
    CHECK(longest);
    const auto longer = unix_socket(std::string(108, 'x')).towards(any);
    REQUIRE(!longer);
    CHECK(longer.error().kind() == error_kind::configuration);
    CHECK(longer.error().message().find("107") != std::string_view::npos);
    CHECK(!unix_socket("").towards(any));
    CHECK(!unix_socket(std::string("/run\0/llm", 9)).towards(any));
}

TEST_CASE("what shares connections is told by the way it goes", "[route]") {
    std::string why;
    const url plain = url::parse("http://a.org/x", why).value();
    const url other = url::parse("http://b.org", why).value();
    const url secure = url::parse("https://a.org", why).value();
    const auto by = proxy("p:1");
    const auto key = [](const route& way, const url& to) {
        const auto hop = way.towards(to);
        return hop->pool_key(to);
    };
    CHECK(key(direct(), plain) == "http://a.org");
    CHECK(key(by, plain) == key(by, other));
    CHECK(key(by, plain) != key(direct(), plain));
    CHECK(key(by, secure) == "https://a.org");
}

}  // namespace test_transport_route
