// expect: llmkit: a service must have clock() const
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

class timeless {
public:
    llmkit::task<llmkit::result<llmkit::response>> operator()(llmkit::request);
};
auto client() { return llmkit::pipeline(timeless()); }
