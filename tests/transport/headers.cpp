#include <llmkit/transport/headers.hpp>

#include <string>
#include <utility>

#include "test.hpp"

namespace test_transport_headers {

using llmkit::headers;

namespace {
std::string all(const headers& h) {
    std::string out;
    for (const auto [name, value] : h) out.append(name).append("=").append(value).append(";");
    return out;
}
}  // namespace

TEST_CASE("headers keep their order and spelling, and look names up without regard to case",
          "[headers]") {
    headers h;
    h.add("X-B", "1").add("Content-Type", "text/plain").add("x-a", "");
    CHECK(all(h) == "X-B=1;Content-Type=text/plain;x-a=;");
    CHECK(h.get("content-TYPE").value() == "text/plain");
    CHECK(h.get("X-A").value().empty());
    CHECK_FALSE(h.get("X-C").has_value());
    CHECK_FALSE(h.get("").has_value());
    CHECK_FALSE(h.get("Content-Typ").has_value());
    CHECK(h.size() == 3);
    CHECK_FALSE(h.empty());
    CHECK(h[1].name == "Content-Type");
}

TEST_CASE("names that differ by more than the case of letters are different", "[headers]") {
    headers h;
    h.add("a^b", "1").add("a~b", "2").add("a`b", "3");
    CHECK(h.get("a~b").value() == "2");
    CHECK(h.get("a`b").value() == "3");
    CHECK(h.get("A^B").value() == "1");
    CHECK_FALSE(h.contains("a@b"));
}

TEST_CASE("a name may occur several times and the first is found", "[headers]") {
    headers h;
    h.add("Set-Cookie", "a").add("x", "y").add("set-cookie", "b");
    CHECK(h.get("SET-COOKIE").value() == "a");
    CHECK(all(h) == "Set-Cookie=a;x=y;set-cookie=b;");
    CHECK(h.remove("set-COOKIE") == 2);
    CHECK(all(h) == "x=y;");
    CHECK(h.remove("set-cookie") == 0);
}

TEST_CASE("set changes the first field in its place and drops the others", "[headers]") {
    headers h;
    h.add("a", "1").add("B", "two").add("c", "3").add("b", "again").add("d", "4").add("b", "");
    h.set("b", "longer than before");
    CHECK(all(h) == "a=1;B=longer than before;c=3;d=4;");
    h.set("b", "s");
    CHECK(all(h) == "a=1;B=s;c=3;d=4;");
    h.set("b", "");
    h.set("A", "one");
    CHECK(all(h) == "a=one;B=;c=3;d=4;");
    h.set("e", "5");
    CHECK(all(h) == "a=one;B=;c=3;d=4;e=5;");
}

TEST_CASE("setting the same header ten thousand times grows nothing", "[headers]") {
    headers h;
    h.add("first", "x").add("token", "0").add("last", "y");
    for (int i = 0; i < 10'000; ++i) h.set("Token", std::to_string(i));
    CHECK(all(h) == "first=x;token=9999;last=y;");
}

TEST_CASE("a view into the headers may be put back into them", "[headers]") {
    headers h;
    h.add("a", std::string(100, 'v'));
    for (int i = 0; i < 20; ++i) h.add(h[0].name, *h.get("a"));
    CHECK(h.size() == 21);
    CHECK(h[20].value == std::string(100, 'v'));
    h.add("other", "o");
    h.set("a", *h.get("other"));
    CHECK(all(h) == "a=o;other=o;");
    h.set(h[1].name, "changed");
    CHECK(all(h) == "a=o;other=changed;");
    headers moving;  // what is erased before would move the text that the view sees
    moving.add("a", "1").add("a", "22").add("other", "value");
    moving.set(moving[1].name, moving[2].value);
    CHECK(all(moving) == "a=value;other=value;");
    CHECK(h.remove(h[0].name) == 1);
    CHECK(all(h) == "other=changed;");
}

TEST_CASE("the lines of a message follow every change", "[headers]") {
    headers h;
    CHECK(h.lines().empty());
    h.add("first", "1").add("Name", "value").add("Empty", "").add("last", "2");
    CHECK(h.lines() == "first: 1\r\nName: value\r\nEmpty: \r\nlast: 2\r\n");
    h.set("name", "longer value").set("empty", "e").set("first", "");
    CHECK(h.lines() == "first: \r\nName: longer value\r\nEmpty: e\r\nlast: 2\r\n");
    CHECK(all(h) == "first=;Name=longer value;Empty=e;last=2;");
    CHECK(h.remove("NAME") == 1);
    CHECK(h.lines() == "first: \r\nEmpty: e\r\nlast: 2\r\n");
    CHECK(all(h) == "first=;Empty=e;last=2;");
}

TEST_CASE("a field taken out of a message behaves like any other", "[headers]") {
    headers h;
    const std::string line = "Name:  value  \r\n";
    h.add("first", "1");
    h.add_line(line, 4, std::string_view(line).substr(7, 5));
    const std::string_view none = "Empty:\r\n";
    h.add_line(none, 5, none.substr(6, 0));
    h.add_line(line, 4, std::string_view(line).substr(7, 0)).add("last", "2");
    CHECK(all(h) == "first=1;Name=value;Empty=;Name=;last=2;");
    CHECK(h.lines() == "first: 1\r\n" + line + "Empty:\r\n" + line + "last: 2\r\n");
    h.set("name", "longer value");
    CHECK(all(h) == "first=1;Name=longer value;Empty=;last=2;");
    CHECK(h.remove("NAME") == 1);
    h.set("empty", "e").set("first", "");
    CHECK(all(h) == "first=;Empty=e;last=2;");
    CHECK(h.lines() == "first: \r\nEmpty:e\r\nlast: 2\r\n");
}

TEST_CASE("copies are independent and a moved-from set can be used again", "[headers]") {
    headers h;
    h.add("a", "1");
    headers copy = h;
    copy.set("a", "2");
    CHECK(h.get("a").value() == "1");
    headers moved = std::move(h);
    CHECK(all(moved) == "a=1;");
    h.clear();
    CHECK(h.empty());
    h.add("b", "2");
    CHECK(all(h) == "b=2;");
}

TEST_CASE("only tokens are valid header names", "[headers]") {
    CHECK(headers::valid_name("X-Request_Id.2"));
    CHECK(headers::valid_name("!#$%&'*+-.^_`|~09azAZ"));
    for (const std::string& bad :
         {std::string(), std::string("a b"), std::string("a:"), std::string("a\n"),
          std::string("a\0", 2), std::string("\xC3\xA9"), std::string("a\t"), std::string("(a)"),
          std::string("a\x7f"), std::string("a\"")})
        CHECK_FALSE(headers::valid_name(bad));
}

TEST_CASE("header values refuse every control but the tab, at every place", "[headers]") {
    CHECK(headers::valid_value(""));
    CHECK(headers::valid_value("Bearer abc\tdef \xC3\xA9\xFF\x80\xA0~"));
    for (std::size_t size = 1; size < 20; ++size)
        for (std::size_t at = 0; at < size; ++at)
            for (int c = 0; c < 256; ++c) {
                std::string value(size, '\xff');
                value[at] = static_cast<char>(c);
                const bool good = c == '\t' || (c >= 0x20 && c != 0x7f);
                if (headers::valid_value(value) != good) FAIL("byte " << c << " at " << at);
            }
    // next to one another
    for (int a = 0; a < 256; ++a)
        for (int b = 0; b < 256; ++b) {
            const auto good = [](int c) { return c == '\t' || (c >= 0x20 && c != 0x7f); };
            std::string value = "abcdefgh";
            value[3] = static_cast<char>(a);
            value[4] = static_cast<char>(b);
            if (headers::valid_value(value) != (good(a) && good(b))) FAIL(a << ' ' << b);
        }
}

TEST_CASE("a header problem names the field and never shows the value", "[headers]") {
    headers h;
    h.add("Content-Type", "application/json");
    CHECK(h.problem().empty());
    h.add("Authorization", "Bearer sk-secret\n");
    const std::string why = h.problem();
    CHECK(why.find("Authorization") != std::string::npos);
    CHECK(why.find("line break") != std::string::npos);
    CHECK(why.find("secret") == std::string::npos);
    CHECK(headers::problem("a", std::string_view("x\0y", 3)).find("NUL") != std::string::npos);
    CHECK(headers::problem("a", "x\x01").find("control") != std::string::npos);
    CHECK(headers::problem("a", "fine").empty());
}

TEST_CASE("a header problem does not repeat a bad name, which may be a swapped key", "[headers]") {
    CHECK(headers::problem("sk-secret key", "v").find("secret") == std::string::npos);
    CHECK(headers::problem("", "v").find("no name") != std::string::npos);
    headers h;
    h.add("Bearer sk-secret", "Authorization");
    CHECK_FALSE(h.problem().empty());
    CHECK(h.problem().find("secret") == std::string::npos);
}

}  // namespace test_transport_headers
