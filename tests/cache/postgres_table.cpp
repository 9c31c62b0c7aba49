#include <llmkit/cache/postgres_table.hpp>

#include <optional>
#include <string>
#include <string_view>

#include "test.hpp"

namespace test_cache_postgres_table {

using namespace llmkit;
using detail::postgres_table;

TEST_CASE("a table's name is quoted, whatever it holds", "[postgres_cache]") {
    CHECK(postgres_table("llmkit_answers").regclass() == "\"llmkit_answers\"");
    CHECK(postgres_table("Own.answers.x").regclass() == "\"Own\".\"answers.x\"");
    CHECK(postgres_table("a\"; DROP TABLE b; --").regclass() == "\"a\"\"; DROP TABLE b; --\"");
    CHECK(postgres_table("a").take_lock() != postgres_table("b").take_lock());
    CHECK(postgres_table("a.b").erase() == "DELETE FROM \"a\".\"b\" WHERE key = $1::uuid");
}

TEST_CASE("a table is made, used or refused by what its comment says", "[postgres_cache]") {
    const postgres_table table("answers");
    const auto verdict = [&](bool there, std::optional<std::string_view> comment) {
        const auto missing = table.missing(there, comment);
        if (!missing) return missing.error().to_string();
        return std::string(*missing ? "make" : "use");
    };
    CHECK(verdict(false, std::nullopt) == "make");
    CHECK(verdict(true, "llmkit answers, schema 1") == "use");
    CHECK(verdict(true, "llmkit answers, schema 1, ours") == "use");
    CHECK(verdict(true, "llmkit answers, schema 2").find("newer llmkit (schema 2") !=
          std::string::npos);
    CHECK(verdict(true, "llmkit answers, schema 99999999999999999999").find("newer llmkit") !=
          std::string::npos);
    for (const char* other :
         {"llmkit answers, schema ", "llmkit answers, schema x", "accounts", ""})
        CHECK(verdict(true, other).find("not one of llmkit's answers") != std::string::npos);
    CHECK(verdict(true, std::nullopt).find("not one of llmkit's") != std::string::npos);
}

}  // namespace test_cache_postgres_table
