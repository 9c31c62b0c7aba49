#include <llmkit/cache/policy.hpp>

#include <cstddef>

#include "test.hpp"

namespace test_cache_policy {

using namespace llmkit;

TEST_CASE("only what is wrong with a request itself can be kept as an error", "[cache_policy]") {
    const kept_errors all = kept_errors::invalid_request | kept_errors::context_length |
                            kept_errors::content_policy | kept_errors::not_found;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < error_kind_count; ++i) {
        const auto kind = static_cast<error_kind>(i);
        CHECK_FALSE(includes(kept_errors::none, kind));
        if (includes(all, kind)) ++kept;
    }
    CHECK(kept == 4);
    CHECK(includes(kept_errors::invalid_request, error_kind::invalid_request));
    CHECK(includes(kept_errors::context_length, error_kind::context_length));
    CHECK(includes(kept_errors::content_policy, error_kind::content_policy));
    CHECK(includes(kept_errors::not_found, error_kind::not_found));
    CHECK_FALSE(includes(kept_errors::not_found, error_kind::invalid_request));
}

}  // namespace test_cache_policy
