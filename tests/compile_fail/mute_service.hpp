// A service and a layer for the programs here; nothing of it is ever run.
#pragma once

#include <llmkit/core/pipeline.hpp>

class mute_service {
public:
    llmkit::clock_handle clock() const;
    llmkit::task<llmkit::result<llmkit::response>> operator()(llmkit::request);
};

inline auto through() {
    return llmkit::make_layer([](auto next) { return next; });
}
