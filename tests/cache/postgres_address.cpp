#include <llmkit/cache/postgres_address.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "test.hpp"

namespace test_cache_postgres_address {

using namespace llmkit;
using detail::addresses;
using detail::postgres_address;

namespace {
std::string value(const postgres_address::parameters& among, std::string_view name) {
    for (const auto& [key, value] : among)
        if (key == name) return value;
    return "-";
}
addresses some(std::initializer_list<const char*> texts) {
    addresses out;
    for (const char* text : texts) out.push_back(asio::ip::make_address(text));
    return out;
}
}  // namespace

TEST_CASE("a connection string is named without its password", "[postgres_cache]") {
    auto read =
        postgres_address::parse("postgresql://bob:secret@db.example:5433/app?sslmode=require");
    REQUIRE(read);
    CHECK(read->name() == "PostgreSQL bob@db.example:5433/app");
    read = postgres_address::parse("host=/run/db user=bob password='s e' dbname=app port=1");
    REQUIRE(read);
    CHECK(read->name() == "PostgreSQL bob@/run/db:1/app");
    CHECK(read->in_a_line("FATAL: s e is no password\nLOCATION:  auth.c:1\n\tas ever\nsecond\n") ==
          "FATAL: *** is no password; second");
}

TEST_CASE("a malformed connection string is refused without being repeated", "[postgres_cache]") {
    for (const char* text : {"", "postgresql://bob:se%cret@h/db", "host=a passwort=secret",
                             "postgresql://bob:secret@h/db?sslmod=require", "secret"}) {
        const auto read = postgres_address::parse(text);
        REQUIRE_FALSE(read);
        CHECK(read.error().kind() == error_kind::configuration);
        CHECK(read.error().to_string().find("secret") == std::string::npos);
        CHECK(read.error().to_string().find("se%") == std::string::npos);
    }
}

TEST_CASE("only names are looked up, and their addresses stand beside them", "[postgres_cache]") {
    const auto names = [](const char* text) {
        return postgres_address::parse(text).value().names();
    };
    using list = std::vector<std::string>;
    CHECK(names("postgresql://u@127.0.0.1/db") == list{});
    CHECK(names("postgresql://u@[::1]/db") == list{});
    CHECK(names("host=/run/db") == list{});
    CHECK(names("host=a hostaddr=10.0.0.1") == list{});
    CHECK(names("service=main host=a") == list{});
    CHECK(names("postgresql://a:1,10.0.0.1:2,b:3/db") == list{"a", "b"});

    const auto three = postgres_address::parse("postgresql://u:p@a:1,10.0.0.9:2,b:3/db").value();
    const auto all = three.with({some({"10.0.0.1", "::1"}), some({"10.0.0.2"})});
    CHECK(value(all, "host") == "a,a,10.0.0.9,b");
    CHECK(value(all, "hostaddr") == "10.0.0.1,::1,,10.0.0.2");
    CHECK(value(all, "port") == "1,1,2,3");
    CHECK(value(all, "password") == "p");
    const auto fewer = three.with({some({}), some({"10.0.0.2"})});
    CHECK(value(fewer, "host") == "10.0.0.9,b");
    CHECK(value(fewer, "port") == "2,3");

    const auto one = postgres_address::parse("host=a,b port=7").value();
    CHECK(value(one.with({some({"10.0.0.1"}), some({"10.0.0.2"})}), "port") == "7,7");
    CHECK(one.with({some({}), some({})}).empty());
}

}  // namespace test_cache_postgres_address
