// llmkit/cache/policy.hpp: what may be said about a cache: how long, of what size, for whom.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <llmkit/core/error_kind.hpp>
#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// Errors that say something about the request itself and can be given again. What concerns keys,
/// accounts, rates or trouble that passes has no name here.
enum class kept_errors : std::uint8_t {
    none = 0,
    invalid_request = 1,  ///< `error_kind::invalid_request`
    context_length = 2,
    content_policy = 4,
    not_found = 8,  ///< no such model or operation
};
constexpr kept_errors operator|(kept_errors a, kept_errors b) {
    return static_cast<kept_errors>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
/// Whether errors of this kind are among them.
constexpr bool includes(kept_errors some, error_kind kind) {
    kept_errors one = kept_errors::none;
    if (kind == error_kind::invalid_request) one = kept_errors::invalid_request;
    if (kind == error_kind::context_length) one = kept_errors::context_length;
    if (kind == error_kind::content_policy) one = kept_errors::content_policy;
    if (kind == error_kind::not_found) one = kept_errors::not_found;
    return (static_cast<unsigned>(some) & static_cast<unsigned>(one)) != 0;
}

/// How a stored stream is given again.
enum class replay_pace : std::uint8_t {
    at_once,   ///< as quickly as it is read
    recorded,  ///< as it came, where it was stored by a cache that says the same
};

struct cache_policy {
    /// How long an answer is fresh.
    duration ttl = std::chrono::hours(1);
    /// For so long after its TTL an answer is still given at once, while a new one is fetched in
    /// the background.
    duration stale_while_revalidate{};
    /// For so long after its TTL an answer is given when the provider cannot be reached, has no
    /// room or stumbles.
    duration stale_if_error{};
    /// How long the provider's refusal of a request is given again; 0: not at all.
    duration negative_ttl{};
    /// Which refusals.
    kept_errors negative = kept_errors::invalid_request | kept_errors::context_length;
    /// Larger answers are not kept.
    std::size_t max_entry_bytes = 1024 * 1024;
    /// Calls that differ only in the body's `user` get each other's answers.
    bool ignore_user = false;
    /// Calls that differ only in extra headers get each other's answers.
    bool ignore_headers = false;
    /// Only calls whose answer is not sampled: temperature 0, embeddings.
    bool only_deterministic = false;
    /// At most so long is waited for the store on the way to an answer.
    duration store_limit = std::chrono::milliseconds(50);
    /// Where the store has leases (cache/lease.hpp): at most so long a call waits while another
    /// process asks for the same; then it asks as well.
    duration lease_wait = std::chrono::seconds(30);
    /// The same for calls that want a stream, which they would have to wait for to its end. Where
    /// both are 0 no lease is taken.
    duration lease_wait_streamed{};
    /// How a stored stream is given to who wants a stream.
    replay_pace replay = replay_pace::at_once;
    /// With `recorded`: how many times as quickly as it came; not above 0: at once.
    double replay_speed = 1;
    /// With `recorded`: no pause is longer, the one before the first event included.
    duration replay_gap = std::chrono::seconds(5);
};
// So that cache(store, {.ttl = 5min}) is safe inside a co_await expression on g++ 12.
static_assert(std::is_trivially_destructible_v<cache_policy>);

}  // namespace llmkit
