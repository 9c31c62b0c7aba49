#include <llmkit/transport/proxy_address.hpp>

#include "test.hpp"

namespace test_transport_proxy_address {

using namespace llmkit;

namespace {

result<detail::proxy_address> parse(std::string_view text) {
    return detail::proxy_address::parse(text, "HTTPS_PROXY");
}

}  // namespace

TEST_CASE("base64 is that of RFC 4648", "[proxy]") {
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"},
                                                           {"\xff\xfe", "//4="}};
    for (const auto& [in, out] : vectors) CHECK(detail::base64(in) == out);
}

TEST_CASE("a proxy's URL gives its host, its port and how to log in", "[proxy]") {
    const auto whole = parse("http://Aladdin:open%20sesame@Proxy.example:3128/");
    REQUIRE(whole);
    CHECK(whole->host() == "proxy.example");
    CHECK(whole->port() == 3128);
    CHECK(whole->name() == "http://proxy.example:3128");
    CHECK(whole->authorization() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");  // of RFC 7617

    CHECK(parse("proxy.example:3128")->name() == "http://proxy.example:3128");
    CHECK(parse("HTTP://proxy.example")->port() == 80);
    CHECK(parse("http://[::1]:8080")->host() == "::1");
    CHECK(parse("[::1]:8080")->port() == 8080);
    CHECK(parse("10.0.0.1:3128")->authorization().empty());
    CHECK(parse("user@host")->authorization() == "Basic dXNlcjo=");
    CHECK(parse("u:p%40ss%3A@host")->authorization() == "Basic " + detail::base64("u:p@ss:"));
    CHECK(parse("u:a:b@c@host")->authorization() == "Basic " + detail::base64("u:a:b@c"));
}

TEST_CASE("what is no HTTP proxy's URL is an error that holds none of it", "[proxy]") {
    for (const char* text :
         {"", "http://", "https://u:secret@proxy.example", "socks5://u:secret@proxy.example",
          "ftp://secret", "http://u:secret@proxy.example:port", "http://u:secret@",
          "u:secret@ho st", "http://u:secret%4@host", "http://u:secret%zz@host",
          "http://u%3A:secret@host", "http://u:sec/ret@host", "http://u:sec#ret@host",
          "http://host/secret", "http://host?secret", "http://u:secret@host:0"}) {
        INFO(text);
        const auto got = parse(text);
        REQUIRE(!got);
        CHECK(got.error().kind() == error_kind::configuration);
        const std::string told = got.error().to_string();
        CHECK(told.find("HTTPS_PROXY") != std::string::npos);
        CHECK(told.find("sec") == std::string::npos);
    }
    CHECK(parse("https://proxy").error().message().find("over TLS") != std::string_view::npos);
    CHECK(parse("socks5h://proxy").error().advice().find("SOCKS") != std::string_view::npos);
}

}  // namespace test_transport_proxy_address
