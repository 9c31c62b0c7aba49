// llmkit/core/call_link.hpp: ties a call to the pipelines it runs under.
#pragma once

#include <memory>
#include <utility>

#include <llmkit/core/limit.hpp>

namespace llmkit {

class scope;

/// One call in flight through one pipeline: keeps the pipeline's state alive and counts the call.
///
/// Made by the pipeline, carried down in the request and up in the response's stream; the last to
/// let go of it ends the call. Layers need it only to start background work (`background`).
class call_link {
public:
    virtual ~call_link() = default;
    call_link(const call_link&) = delete;
    call_link& operator=(const call_link&) = delete;

    const wait_owner& owner() const { return owner_; }
    /// The scope of the innermost pipeline this call runs under.
    virtual scope& background() const = 0;
    /// A link for work that outlives this call but not its pipeline.
    virtual std::shared_ptr<const call_link> detached() const = 0;

protected:
    call_link(const void* which, std::shared_ptr<const call_link> outer)
        : outer_(std::move(outer)) {
        owner_.scope = which;
        owner_.outer = outer_ ? &outer_->owner_ : nullptr;
    }
    const std::shared_ptr<const call_link>& outer() const { return outer_; }

private:
    std::shared_ptr<const call_link> outer_;
    wait_owner owner_;
};

}  // namespace llmkit
