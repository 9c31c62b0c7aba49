#include "llmkit/core/request.hpp"

#include "test.hpp"

namespace test_core_request {

TEST_CASE("a body that is canonical already is its own canonical form, not a copy", "[request]") {
    const llmkit::request ask("chat/completions", R"({"messages":[],"model":"m"})");
    CHECK(ask.canonical().data() == ask.body().data());
    const llmkit::request other("chat/completions", R"({"model":"m","messages":[]})");
    CHECK(other.canonical() == ask.body());
    CHECK(other.content_key() == ask.content_key());
}

}  // namespace test_core_request
