// expect: llmkit: what stands to the right of | must be a layer, such as retry().
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return llmkit::pipeline(mute_service()) | 3; }
