#include <llmkit/transport/pool_figures.hpp>

#include <map>
#include <string>

#include "test.hpp"

namespace test_transport_pool_figures {

using namespace llmkit;

TEST_CASE("a transport's figures are watched under their names, times in seconds", "[pool]") {
    pool_figures some;
    some.open = 1;
    some.idle = 2;
    some.waiting = 3;
    some.opened = 4;
    some.failed = 5;
    some.reused = 6;
    some.closed_idle = 7;
    some.waited = 8;
    some.wait_time = std::chrono::milliseconds(9500);
    some.tls_handshakes = 10;
    some.tls_resumed = 11;
    std::map<std::string, double> states, counts;
    for (const auto& each : some.readings())
        (each.counts ? counts : states)[std::string(each.name)] = each.value;
    CHECK(states == std::map<std::string, double>{{"open", 1}, {"idle", 2}, {"waiting", 3}});
    CHECK(counts == std::map<std::string, double>{{"opened", 4},
                                                  {"failed", 5},
                                                  {"reused", 6},
                                                  {"closed_idle", 7},
                                                  {"waited", 8},
                                                  {"wait_seconds", 9.5},
                                                  {"tls_handshakes", 10},
                                                  {"tls_resumed", 11}});
}

}  // namespace test_transport_pool_figures
