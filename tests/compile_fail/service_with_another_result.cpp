// expect: llmkit: a service's call must return llmkit::task<llmkit::result<llmkit::response>>.
#include <llmkit/core/pipeline.hpp>

#include "mute_service.hpp"

class careless {
public:
    llmkit::clock_handle clock() const;
    llmkit::task<llmkit::response> operator()(llmkit::request);
};
auto client() { return llmkit::pipeline(careless()); }
