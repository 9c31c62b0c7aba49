// llmkit/transport/registry.hpp: what must be let go of when an io_context goes down.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_set>

#include <llmkit/core/asio.hpp>

namespace llmkit::detail {

/// Something that holds sockets of a context. Responses and transports may outlive the context;
/// its sockets may not.
class droppable {
public:
    virtual void drop() noexcept = 0;

protected:
    ~droppable() = default;
};

/// The sockets of one context, told when it goes down.
class socket_registry {
public:
    void add(droppable& one) {
        std::lock_guard lock(mutex_);
        all_.insert(&one);
    }
    void remove(droppable& one) {
        std::lock_guard lock(mutex_);
        all_.erase(&one);
    }
    void drop_all() {
        std::lock_guard lock(mutex_);
        for (droppable* one : all_) one->drop();
    }

private:
    std::mutex mutex_;
    std::unordered_set<droppable*> all_;
};

class socket_registry_service final : public asio::execution_context::service {
public:
    using key_type = socket_registry_service;
    inline static asio::execution_context::id id;

    explicit socket_registry_service(asio::execution_context& context) : service(context) {}

    static std::shared_ptr<socket_registry> of(const executor& where) {
        auto& context = asio::query(where, asio::execution::context);
        return asio::use_service<socket_registry_service>(context).all_;
    }

private:
    void shutdown() override { all_->drop_all(); }

    std::shared_ptr<socket_registry> all_ = std::make_shared<socket_registry>();
};

}  // namespace llmkit::detail
