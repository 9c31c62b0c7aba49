// expect: llmkit: pipeline(...) takes a service, such as openai(http) or another pipeline.
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return llmkit::pipeline(42); }
