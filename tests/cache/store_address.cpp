#include <llmkit/cache/store_address.hpp>

#include <string>
#include <string_view>

#include "test.hpp"

namespace test_cache_store_address {

using namespace llmkit;
using detail::store_address;

namespace {

constexpr detail::store_schemes schemes{"redis", "rediss", "redis+unix", 6379};

result<store_address> parse(std::string_view text) { return store_address::parse(text, schemes); }

}  // namespace

TEST_CASE("a store's URL says host, port, TLS, user, password and what follows",
          "[store_address]") {
    const store_address full = parse("rediss://ann:p%40ss%3A@db.example:7000/3?a=b").value();
    CHECK(full.host == "db.example");
    CHECK(full.port == 7000);
    CHECK(full.secure);
    CHECK(full.user == "ann");
    CHECK(full.password == "p@ss:");
    CHECK(full.rest == "3");
    CHECK(full.query == "a=b");
    CHECK(full.name() == "rediss://db.example:7000");

    const store_address plain = parse("REDIS://localhost").value();
    CHECK(plain.port == 6379);
    CHECK_FALSE(plain.secure);
    CHECK(plain.user.empty());
    CHECK(plain.name() == "redis://localhost:6379");

    CHECK(parse("redis://:secret@10.0.0.1:80/").value().password == "secret");
    CHECK(parse("redis://:secret@10.0.0.1:80/").value().port == 80);
    CHECK(parse("redis://ann@h").value().user == "ann");
    const store_address v6 = parse("redis://[::1]:7001/0").value();
    CHECK(v6.host == "::1");
    CHECK(v6.name() == "redis://[::1]:7001");
    CHECK(parse("redis://[::1]").value().port == 6379);
    CHECK(v6.at("10.1.1.1", 7002).name() == "redis://10.1.1.1:7002");
}

TEST_CASE("a store may listen at a path of this machine", "[store_address]") {
    const store_address unix = parse("redis+unix://:pw@/run/redis%20it.sock?db=2").value();
    CHECK(unix.socket == "/run/redis it.sock");
    CHECK(unix.password == "pw");
    CHECK(unix.query == "db=2");
    CHECK(unix.name() == "the Unix socket /run/redis it.sock");
}

TEST_CASE("a store's URL that is wrong is refused in words that hold no secret",
          "[store_address]") {
    for (const std::string_view wrong :
         {"", "localhost:6379", "http://localhost", "redis://", "redis://h:0", "redis://h:70000",
          "redis://:secret%4@h", "redis://h/%", "redis://:se#cret@h", "redis://:secret@h/0#x",
          "redis+unix://h/path", "redis+unix://", "redis+unix:///%00", "redis://::1",
          "redis://a b"}) {
        INFO(wrong);
        auto got = parse(wrong);
        REQUIRE_FALSE(got);
        CHECK(got.error().kind() == error_kind::configuration);
        CHECK(got.error().to_string().find("secret") == std::string::npos);
    }
    CHECK_FALSE(parse("redis+unix:///" + std::string(200, 'x')));
}

}  // namespace test_cache_store_address
