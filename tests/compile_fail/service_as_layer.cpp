// expect: llmkit: a service cannot stand to the right of |
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return llmkit::pipeline(mute_service()) | mute_service(); }
