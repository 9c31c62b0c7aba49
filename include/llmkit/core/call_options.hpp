// llmkit/core/call_options.hpp: what one call asks of the layers it passes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <llmkit/core/call_link.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// What a call wants from caches (and, for `bypass`, from dedup).
enum class cache_mode : std::uint8_t {
    normal,          ///< answer from the cache when it can, store what comes
    bypass,          ///< neither read nor store nor join another's call
    refresh,         ///< do not read, but store what comes
    only_if_cached,  ///< read; an error of kind `not_cached` otherwise, without asking anybody
};

/// The texts that a call carries beside its body. Immutable and shared between copies.
class call_labels {
public:
    call_labels() {}

    std::string tenant;           ///< whose call it is: entries are never shared between tenants
    std::string idempotency_key;  ///< set by the user: the call bypasses dedup and cache
    std::vector<std::pair<std::string, std::string>> headers;  ///< extra HTTP headers
    std::vector<std::string> tags;  ///< by which its stored answer is invalidated
};

/// Options of one call. A limit here is only ever shortened on the way down.
class call_options {
public:
    call_options() {}

    bool streamed = false;  ///< the caller wants the answer as it is written
    bool metered = false;   ///< a layer wants usage in the stream; it hides the extra event
    cache_mode cache = cache_mode::normal;
    int priority = 0;  ///< higher goes first where calls queue

    limit deadline;                          ///< absolute, on the pipeline's clock
    duration timeout = duration::max();      ///< from now; becomes `deadline` on entry
    duration first_event = duration::max();  ///< from sending to the first event
    duration idle = duration::max();         ///< between two events
    duration connect = duration::max();      ///< to a connected socket, TLS included

    std::size_t allowed_attempts = 0;  ///< set by the outermost retry; 0: nobody has set one
    trail attempts;                    ///< made so far, for retries and balancing
    /// The same for all attempts of one call, set by the outermost retry; all zero: none. Providers
    /// send it as the idempotency key when the user has set none. Unlike the user's, it says
    /// nothing about dedup and cache.
    key128 attempt_key{};

    /// Set by the cache: calls that were asked under different states of their tags share no call.
    std::uint64_t tag_state = 0;

    const std::string& tenant() const { return labels().tenant; }
    const std::string& idempotency_key() const { return labels().idempotency_key; }
    const std::vector<std::pair<std::string, std::string>>& headers() const {
        return labels().headers;
    }
    const std::vector<std::string>& tags() const { return labels().tags; }
    void set_tenant(std::string text) { edit().tenant = std::move(text); }
    void set_idempotency_key(std::string text) { edit().idempotency_key = std::move(text); }
    void add_header(std::string name, std::string value) {
        edit().headers.emplace_back(std::move(name), std::move(value));
    }

    void add_tag(std::string name) { edit().tags.push_back(std::move(name)); }

    /// Moves every limit to the earlier of its own and the given one.
    void shorten(time_point until) { deadline = deadline.earliest(until); }

    std::shared_ptr<const call_link> link;  ///< set by the pipeline

private:
    const call_labels& labels() const {
        static const call_labels none;
        return labels_ ? *labels_ : none;
    }
    call_labels& edit() {
        auto copy = std::make_shared<call_labels>(labels());
        call_labels& editable = *copy;
        labels_ = std::move(copy);
        return editable;
    }

    std::shared_ptr<const call_labels> labels_;
};

}  // namespace llmkit
