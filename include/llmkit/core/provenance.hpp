// llmkit/core/provenance.hpp: how an answer, or an error, came to be.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <llmkit/core/error_kind.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

/// Points in time and spans of the pipeline's clock, real or virtual (nanoseconds).
using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;

/// One request that really left for a provider.
class attempt {
public:
    attempt(std::string upstream, time_point began, duration took, int status, error_kind failure)
        : attempt(std::make_shared<const std::string>(std::move(upstream)), began, took, status,
                  failure) {}
    /// The same, for a provider that names itself once. Precondition: not null.
    attempt(std::shared_ptr<const std::string> upstream, time_point began, duration took,
            int status, error_kind failure)
        : upstream_(std::move(upstream)),
          began_(began),
          took_(took),
          status_(status),
          failure_(failure) {}

    const std::string& upstream() const { return *upstream_; }  ///< provider and base URL
    time_point began() const { return began_; }
    duration took() const { return took_; }  ///< until the head of the answer, or the failure
    int status() const { return status_; }   ///< HTTP status, 0 when none came
    error_kind failure() const { return failure_; }  ///< `unset` when the head was fine

private:
    std::shared_ptr<const std::string> upstream_;
    time_point began_;
    duration took_;
    int status_;
    error_kind failure_;
};

/// The attempts behind an answer, newest first: an immutable list, so copies and hedges share it.
///
/// Appended by the provider that makes the attempt, never by a wrapper.
class trail {
public:
    trail() = default;

    trail with(attempt made) const;
    std::size_t size() const;
    bool empty() const { return !node_; }
    const attempt& newest() const;  ///< precondition: not empty
    const trail& older() const;     ///< precondition: not empty

private:
    struct node;
    std::shared_ptr<const node> node_;
};

struct trail::node {
    node(attempt a, trail t) : made(std::move(a)), before(std::move(t)), count(before.size() + 1) {}
    attempt made;
    trail before;
    std::size_t count;
};

inline trail trail::with(attempt made) const {
    trail longer;
    longer.node_ = detail::make_pooled<node>(std::move(made), *this);
    return longer;
}
inline std::size_t trail::size() const { return node_ ? node_->count : 0; }
inline const attempt& trail::newest() const { return node_->made; }
inline const trail& trail::older() const { return node_->before; }

/// Whether a call shared an upstream call with others.
enum class dedup_role : std::uint8_t { none, leader, joined };

/// What happened on the way to this answer. Travels with response and error alike.
class provenance {
public:
    provenance() {}

    trail attempts;  ///< requests that left for a provider, newest first
    dedup_role role = dedup_role::none;
    std::string_view cache_level;  ///< name of the level that answered; empty: not from a cache
    bool stale = false;            ///< answered from an entry past its TTL
    bool missed = false;           ///< a cache was asked and had nothing
    bool substitute = false;       ///< given by another model or provider than was asked
    duration queued{};             ///< time spent waiting for a connection or a permit
    std::optional<double> cost;    ///< US dollars, once somebody with a price table has said so
};

}  // namespace llmkit
