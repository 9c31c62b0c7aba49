// Two translation units with everything in both, one of them with TLS: this links only if no header
// defines a thing twice, and works only if both see the same definitions.
#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>

#include "odr.hpp"

namespace odr {
sizes with_tls() { return measure(); }
}  // namespace odr
