// expect: llmkit: a pipeline cannot stand to the right of |
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

auto client() {
    auto one = llmkit::pipeline(mute_service());
    auto two = llmkit::pipeline(mute_service());
    return one | two;
}
