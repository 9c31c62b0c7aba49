#include <llmkit/detail/label_table.hpp>

#include <exception>
#include <string>
#include <thread>

#include "test.hpp"

namespace test_detail_label_table {

using table = llmkit::detail::label_table<4>;

TEST_CASE("names are numbered in the order they come, and keep their numbers", "[label_table]") {
    table names;
    CHECK(names.number_of("a") == 0);
    CHECK(names.number_of("b") == 1);
    CHECK(names.number_of("a") == 0);
    CHECK(names.name_of(1) == "b");
    CHECK(names.size() == 2);
}

TEST_CASE("names beyond the bound are other, and known ones stay known", "[label_table]") {
    table names;
    for (const char* name : {"a", "b", "c", "d", "e", "f", "e"}) (void)names.number_of(name);
    CHECK(names.size() == 4);
    CHECK(names.number_of("e") == table::other());
    CHECK(names.number_of("d") == 3);
    CHECK(names.name_of(table::other()) == "other");
}

TEST_CASE("names are cut and cleaned, and found again in either spelling", "[label_table]") {
    table names;
    CHECK(names.number_of("a\tb") == 0);
    CHECK(names.number_of("a?b") == 0);
    CHECK(names.name_of(0) == "a?b");
    CHECK(names.number_of(std::string(121, 'x')) == 1);
    CHECK(names.number_of(std::string(9000, 'x')) == 1);
    CHECK(names.name_of(1).size() == 120);
    CHECK(names.number_of("") == 2);
}

TEST_CASE("threads that bring the same names agree on the numbers", "[label_table]") {
    llmkit::detail::label_table<64> names;
    auto work = [&] {
        for (int i = 0; i < 5'000; ++i) {
            const std::string name = "name " + std::to_string(i % 70);
            const std::size_t number = names.number_of(name);
            if (number < 64 && names.name_of(number) != name) std::terminate();
        }
    };
    std::thread other(work);
    work();
    other.join();
    CHECK(names.size() == 64);
}

}  // namespace test_detail_label_table
