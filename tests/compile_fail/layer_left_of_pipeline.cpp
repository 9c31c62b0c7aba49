// expect: llmkit: the pipeline stands on the left: write pipeline(provider) | retry()
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() { return through() | llmkit::pipeline(mute_service()); }
