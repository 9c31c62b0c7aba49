// expect: llmkit: a service must be callable with an llmkit::request
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

class deaf {
public:
    llmkit::clock_handle clock() const;
};
auto client() {
    return llmkit::pipeline(mute_service()) | llmkit::make_layer([](auto) { return deaf(); });
}
