#include <llmkit/transport/curl.hpp>

#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/transport_conformance.hpp>

#include "test.hpp"

namespace test_transport_curl {

using namespace llmkit;

TEST_CASE("curl conforms to the concept", "[curl]") {
    static const auto checks = testing::transport_checks();
    for (const auto& check : checks) {
        DYNAMIC_SECTION(check.name()) {
            const auto found = check.run([](const executor& on) { return curl(on); });
            INFO(found.text());
            CHECK(found.passed());
        }
    }
}

}  // namespace test_transport_curl
