// expect: llmkit: this is a layer, not a service
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return llmkit::pipeline(through()); }
