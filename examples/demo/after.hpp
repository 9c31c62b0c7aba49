// The programs built with llmkit, from the bare transport with a cache to the full pipeline. What
// makes them is compiled on its own: pipelines are long to compile, the rest of the demo is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <llmkit/metrics/registry.hpp>

#include "callers.hpp"
#include "workload.hpp"

namespace demo {

/// Which layers a stage adds to transport and cache.
struct layers {
    bool retry = false;
    bool dedup = false;
    bool streamed = false;
};

/// A client of the provider at `port` with at most so many connections.
std::shared_ptr<contender> make_client(asio::io_context& context, std::uint16_t port,
                                       std::size_t connections, const workload& how,
                                       const layers& with);

/// The full pipeline.
std::shared_ptr<contender> make_full_client(asio::io_context& context, std::uint16_t port,
                                            std::size_t connections, const workload& how,
                                            const llmkit::metrics& seen);

/// A server that somebody else runs.
struct real_server {
    std::string base_url;
    std::string model;
    std::string key_variable;  ///< empty: OPENAI_API_KEY where it is set
};

/// The same pipeline there: some streamed answers, and what the monitor saw.
task<int> run_real(real_server where);

}  // namespace demo
