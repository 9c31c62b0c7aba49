// llmkit/cache/store_links.hpp: the few connections to one server of a store, shared by all who ask.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/cache/store_link.hpp>
#include <llmkit/cache/store_site.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit::detail {

/// Connections to one server: `store_policy::connections` in each io_context that asks it.
///
///     auto redis = std::make_shared<store_links<resp_parser>>(site, encryption());
///     auto reply = co_await redis->ask(redis, resp_command("GET", key), until);
///
/// Made without a context, because a store is a handle like any other: the callers' context is the
/// one that its connections live on. When that ends, they do. Thread-safe. Not in virtual time.
template <class Parser>
class store_links {
public:
    using reply = typename Parser::reply;
    using link = store_link<Parser>;

    store_links(std::shared_ptr<const store_site<Parser>> to, encryption secure)
        : site_(std::move(to)), secure_(std::move(secure)) {}
    store_links(const store_links&) = delete;
    store_links& operator=(const store_links&) = delete;
    ~store_links() { close(); }

    /// Sends a command, which has exactly one reply, and waits for that until the limit.
    static task<result<reply>> ask(std::shared_ptr<store_links> self, std::string request,
                                   limit until) {
        const executor here = co_await asio::this_coro::executor;
        auto over = self->choose(here);
        if (!over) co_return over.error();
        co_return co_await link::ask(std::move(*over), std::move(request), until);
    }

    /// Fails all commands, now and later.
    void close() {
        std::vector<place> all;
        {
            std::lock_guard lock(mutex_);
            closed_ = true;
            all.swap(places_);
        }
        for (auto& one : all) {
            for (auto& each : one.links) each->close();
        }
    }

    const store_site<Parser>& site() const { return *site_; }
    store_figures figures() const { return site_->counts.figures(); }

private:
    struct place {
        const void* context = nullptr;
        std::vector<std::shared_ptr<link>> links;
    };

    result<std::shared_ptr<link>> choose(const executor& here) {
        const void* const context = &asio::query(here, asio::execution::context);
        std::vector<place> dropped;  // ends without the lock
        std::lock_guard lock(mutex_);
        if (closed_) return store_closed();
        for (auto& one : places_) {
            if (one.context == context && !one.links.front()->gone()) return idlest(one);
        }
        const clock_handle time(here);
        if (!dynamic_cast<const real_clock*>(&time.timers()))
            return error(error_kind::configuration,
                         "a store on another machine cannot be asked in virtual time")
                .with_advice("Use a memory_cache in a simulation.");
        // What was there has gone with its context.
        const auto stale = std::partition(places_.begin(), places_.end(), [](const place& one) {
            return !one.links.front()->gone();
        });
        std::move(stale, places_.end(), std::back_inserter(dropped));
        places_.erase(stale, places_.end());

        place fresh;
        fresh.context = context;
        const auto net = std::make_shared<const store_network>(here, secure_);
        const std::size_t count = std::max<std::size_t>(site_->policy.connections, 1);
        for (std::size_t i = 0; i < count; ++i)
            fresh.links.push_back(std::make_shared<link>(net, site_));
        places_.push_back(std::move(fresh));
        return idlest(places_.back());
    }
    static std::shared_ptr<link> idlest(const place& in) {
        if (in.links.size() == 1) return in.links.front();
        const auto less = [](const auto& a, const auto& b) { return a->waiting() < b->waiting(); };
        return *std::min_element(in.links.begin(), in.links.end(), less);
    }

    const std::shared_ptr<const store_site<Parser>> site_;
    const encryption secure_;
    std::mutex mutex_;
    std::vector<place> places_;
    bool closed_ = false;
};

}  // namespace llmkit::detail
