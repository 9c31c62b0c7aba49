#include <llmkit/transport/no_proxy.hpp>

#include "test.hpp"

namespace test_transport_no_proxy {

using namespace llmkit;

namespace {

url to(std::string_view where) {
    std::string why;
    return url::parse("http://" + std::string(where), why).value();
}
bool covers(std::string_view list, std::string_view where) {
    return detail::no_proxy_list(list).covers(to(where));
}

}  // namespace

TEST_CASE("a name covers the host and all below it", "[no_proxy]") {
    CHECK(covers("example.com", "example.com"));
    CHECK(covers("example.com", "api.example.com"));
    CHECK(covers("example.com", "a.b.example.com"));
    CHECK(covers("Example.COM", "api.example.com."));
    CHECK(covers("example.com.", "example.com"));
    CHECK(!covers("example.com", "notexample.com"));
    CHECK(!covers("example.com", "example.com.evil.org"));
    CHECK(!covers("api.example.com", "example.com"));
}

TEST_CASE("a name with a leading dot covers only what is below it", "[no_proxy]") {
    CHECK(covers(".example.com", "api.example.com"));
    CHECK(!covers(".example.com", "example.com"));
    CHECK(!covers(".example.com", "notexample.com"));
    CHECK(covers("*.example.com", "api.example.com"));
    CHECK(!covers("*.example.com", "example.com"));
}

TEST_CASE("a star covers everything, an empty list nothing", "[no_proxy]") {
    CHECK(covers("*", "example.com"));
    CHECK(covers("*", "192.0.2.1"));
    CHECK(covers("a.org, *", "[2001:db8::1]"));
    for (const char* nothing : {"", " ", ",", ",, ,"}) CHECK(!covers(nothing, "example.com"));
}

TEST_CASE("entries are separated by commas or spaces", "[no_proxy]") {
    for (const char* list : {"a.org,b.org", "a.org b.org", " a.org , b.org ", "a.org,\tb.org,"}) {
        CHECK(covers(list, "a.org"));
        CHECK(covers(list, "b.org"));
        CHECK(!covers(list, "c.org"));
    }
}

TEST_CASE("addresses and networks cover hosts that are written as addresses", "[no_proxy]") {
    CHECK(covers("192.0.2.1", "192.0.2.1"));
    CHECK(!covers("192.0.2.1", "192.0.2.10"));
    CHECK(covers("10.0.0.0/8", "10.200.3.4"));
    CHECK(!covers("10.0.0.0/8", "11.0.0.1"));
    CHECK(covers("192.168.4.0/22", "192.168.7.255"));
    CHECK(!covers("192.168.4.0/22", "192.168.8.0"));
    CHECK(covers("0.0.0.0/0", "8.8.8.8"));
    CHECK(!covers("0.0.0.0/0", "[2001:db8::1]"));
    CHECK(covers("2001:db8::/32", "[2001:db8:1::5]"));
    CHECK(!covers("2001:db8::/32", "[2001:db9::5]"));
    CHECK(covers("2001:db8::1", "[2001:0db8:0::1]"));
    CHECK(covers("[2001:db8::1]", "[2001:db8::1]"));
    CHECK(covers("10.0.0.0/8", "[::ffff:10.1.1.1]"));
    CHECK(!covers("10.0.0.0/8", "host10.example.com"));
}

TEST_CASE("an entry with a port covers that port alone", "[no_proxy]") {
    CHECK(covers("example.com:8080", "example.com:8080"));
    CHECK(covers("example.com:80", "example.com"));
    CHECK(!covers("example.com:8080", "example.com"));
    CHECK(covers("192.0.2.1:81", "192.0.2.1:81"));
    CHECK(!covers("192.0.2.1:81", "192.0.2.1:82"));
    CHECK(covers("[2001:db8::1]:81", "[2001:db8::1]:81"));
    CHECK(!covers("[2001:db8::1]:81", "[2001:db8::1]:82"));
}

TEST_CASE("what is no entry covers nothing", "[no_proxy]") {
    for (const char* list : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "example.com/8",
                             "2001:db8::/129", "example.com:0", "example.com:70000",
                             "example.com:x", "[2001:db8::1", ".", ":80", "http://example.com"}) {
        INFO(list);
        CHECK(!covers(list, "example.com"));
        CHECK(!covers(list, "10.0.0.0"));
        CHECK(!covers(list, "[2001:db8::1]"));
    }
}

TEST_CASE("this machine is told by its names and addresses", "[no_proxy]") {
    for (const char* here : {"localhost", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9:80",
                             "[::1]", "[::ffff:127.0.0.1]"})
        CHECK(detail::no_proxy_list::loopback(to(here)));
    for (const char* away : {"localhost.org", "notlocalhost", "128.0.0.1", "[::2]", "0.0.0.0"})
        CHECK(!detail::no_proxy_list::loopback(to(away)));
}

}  // namespace test_transport_no_proxy
