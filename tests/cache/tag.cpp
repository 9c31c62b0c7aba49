#include <llmkit/cache/tag.hpp>

#include "test.hpp"

namespace test_cache_tag {

using namespace llmkit;

TEST_CASE("the key of a tag is known for one, and is the same on every machine", "[tag]") {
    CHECK(is_tag_key(tag_key("catalogue-7")));
    CHECK(to_hex(tag_key("catalogue-7")) == "6c6c6d6b69742f74c32c58910f59b012");
    CHECK(tag_key("a") != tag_key("b"));
    CHECK_FALSE(is_tag_key(hash128("catalogue-7")));
    CHECK_FALSE(is_tag_key(key128()));
}

}  // namespace test_cache_tag
