// llmkit/cache/redis_route.hpp: the way from a command to the server that is to do it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/cache/redis_options.hpp>
#include <llmkit/cache/store_links.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit::detail {

/// One server, or a cluster of them. Shared by all copies of a client; thread-safe.
class redis_route {
public:
    virtual ~redis_route() = default;
    /// Asks the server that has `key`; an error that a server replies is a reply here.
    virtual task<result<redis_reply>> ask(std::string request, std::string_view key,
                                          limit until) = 0;
    virtual store_figures figures() const = 0;
    virtual void close() = 0;
};

using redis_links = store_links<resp_parser>;

inline std::shared_ptr<redis_links> redis_links_to(store_address to,
                                                   store_greeting<redis_reply> greeting,
                                                   const redis_options& options) {
    auto site = std::make_shared<const store_site<resp_parser>>(std::move(to), options.policy(),
                                                                std::move(greeting), resp_parser());
    return std::make_shared<redis_links>(std::move(site), options.tls());
}

/// All keys on one server.
class redis_server_route final : public redis_route {
public:
    explicit redis_server_route(std::shared_ptr<redis_links> to) : to_(std::move(to)) {}

    task<result<redis_reply>> ask(std::string request, std::string_view, limit until) override {
        return redis_links::ask(to_, std::move(request), until);
    }
    store_figures figures() const override { return to_->figures(); }
    void close() override { to_->close(); }

private:
    const std::shared_ptr<redis_links> to_;
};

/// No server: the URL is wrong.
class redis_no_route final : public redis_route {
public:
    explicit redis_no_route(error why) : why_(std::move(why)) {}

    task<result<redis_reply>> ask(std::string, std::string_view, limit) override {
        return say(why_);
    }
    store_figures figures() const override { return {}; }
    void close() override {}

private:
    static task<result<redis_reply>> say(error why) { co_return why; }
    const error why_;
};

}  // namespace llmkit::detail
