#include <llmkit/llmkit.hpp>

#include "odr.hpp"
#include "test.hpp"

TEST_CASE("two translation units agree, one of them with TLS", "[odr]") {
    CHECK(odr::measure() == odr::with_tls());
}
