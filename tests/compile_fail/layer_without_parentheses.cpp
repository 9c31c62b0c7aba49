// expect: llmkit: this is a function, not a layer: did you forget the parentheses? Write retry()
// for retry.
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return llmkit::pipeline(mute_service()) | through; }
