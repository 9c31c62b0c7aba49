// llmkit/cache/lease.hpp: the right to ask for an answer, which one process at a time has.
#pragma once

#include <concepts>
#include <memory>

#include <llmkit/cache/backend.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// A lease that this process has in a store. It runs out by itself after its term, so that one
/// whose holder died is not kept for ever.
class cache_lease {
public:
    virtual ~cache_lease() = default;
    /// How long it lasts from the moment that it was taken or renewed.
    virtual duration term() const = 0;
    /// Holds it for another term. False: it has run out, and somebody else may have it.
    virtual task<result<bool>> renew(limit until) = 0;
    /// Gives it up. One that has run out and is somebody else's stays his.
    virtual task<void> release(limit until) = 0;

protected:
    cache_lease() = default;
};

/// A store by which processes agree on who asks for an answer that it has not.
///
///     task<result<std::shared_ptr<cache_lease>>> lease(key128, limit until) const;
///
/// Gives a lease on the key, or null while another process has it. The layer `cache` takes one
/// before it asks, renews it while the answer runs, and releases it when the answer is stored, or
/// when there is none to store; others wait and look again (`cache_policy::lease_wait`). A store that
/// knows only when it is made whether it has leases says so: `bool has_leases() const`.
template <class B>
concept leasing_cache_backend =
    cache_backend<B> && requires(const B& store, key128 key, limit until) {
        { store.lease(key, until) } -> std::same_as<task<result<std::shared_ptr<cache_lease>>>>;
    };

}  // namespace llmkit
