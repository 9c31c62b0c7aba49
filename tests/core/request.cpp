#include "llmkit/core/request.hpp"

#include <string>
#include <thread>

#include "test.hpp"

namespace test_core_request {

TEST_CASE("a body that is canonical already is its own canonical form, not a copy", "[request]") {
    const llmkit::request ask("chat/completions", R"({"messages":[],"model":"m"})");
    CHECK(ask.canonical().data() == ask.body().data());
    const llmkit::request other("chat/completions", R"({"model":"m","messages":[]})");
    CHECK(other.canonical() == ask.body());
    CHECK(other.content_key() == ask.content_key());
}

TEST_CASE("a canonical form is the same at hand, after others, and from another thread",
          "[request]") {
    const auto sized = [](std::size_t size) {
        return R"({"model":"m","messages":[")" + std::string(size, 'x') + R"("],"user":"u"})";
    };
    for (const std::size_t size : {10U, 100'000U, 1'000'000U}) {
        for (const auto fields : {llmkit::key_fields::meaning, llmkit::key_fields::without_user}) {
            const auto user = fields == llmkit::key_fields::meaning ? R"(,"user":"u")" : "";
            const auto form =
                R"({"messages":[")" + std::string(size, 'x') + R"("],"model":"m")" + user + '}';
            const auto ask = [&] {
                llmkit::request made("chat/completions", sized(size));
                static_cast<void>(made.content_key(fields));
                return made;
            };
            CHECK(ask().means(form, fields));  // the latest that this thread wrote
            CHECK_FALSE(ask().means(form + ' ', fields));
            const auto first = ask();
            const auto second = llmkit::request("chat/completions", R"({"b":1,"a":2})");
            CHECK(second.means(R"({"a":2,"b":1})"));
            CHECK(first.means(form, fields));
            CHECK(second.canonical() == R"({"a":2,"b":1})");

            const auto asked_here = ask();
            bool same = false;
            std::thread([&] { same = asked_here.means(form, fields); }).join();
            CHECK(same);
            CHECK(asked_here.canonical(fields) == form);
        }
    }
    const llmkit::request broken("chat/completions", "{");
    CHECK(broken.means("{"));
}

}  // namespace test_core_request
