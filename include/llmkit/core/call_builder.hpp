// llmkit/core/call_builder.hpp: the options that every typed request can be given.
#pragma once

#include <string>
#include <utility>

#include <llmkit/core/call_options.hpp>

namespace llmkit {

/// Mixed into request builders; each setter returns the builder, so that calls chain:
///
///     chat_request("gpt-4o-mini").user("Hi").timeout(20s).tenant("acme")
///
/// What a request says overrides a layer's default but never loosens a limit.
template <class Builder>
class call_builder {
public:
    /// The whole call's limit from now on, retries and waiting included.
    Builder& timeout(duration whole) & { return options_.timeout = whole, self(); }
    Builder&& timeout(duration whole) && { return std::move(timeout(whole)); }
    /// The limit from sending to the first event, for each attempt.
    Builder& first_event_timeout(duration span) & { return options_.first_event = span, self(); }
    Builder&& first_event_timeout(duration span) && { return std::move(first_event_timeout(span)); }
    /// The limit between two events of a stream.
    Builder& idle_timeout(duration span) & { return options_.idle = span, self(); }
    Builder&& idle_timeout(duration span) && { return std::move(idle_timeout(span)); }

    /// What this call wants of caches; `cache_mode::bypass` also means: share no other's call.
    Builder& cache(cache_mode mode) & { return options_.cache = mode, self(); }
    Builder&& cache(cache_mode mode) && { return std::move(cache(mode)); }
    /// Whose call it is. Cached answers and calls in flight are never shared between tenants.
    Builder& tenant(std::string name) & { return options_.set_tenant(std::move(name)), self(); }
    Builder&& tenant(std::string name) && { return std::move(tenant(std::move(name))); }
    /// Stored with the answer: `invalidate(store, "catalogue-7")` lets go of all that have this tag.
    /// Who names tags is only given stored answers that have them all; at most 16.
    Builder& tag(std::string name) & { return options_.add_tag(std::move(name)), self(); }
    Builder&& tag(std::string name) && { return std::move(tag(std::move(name))); }
    /// Sent with every attempt. One that you set means that this call is made for itself: it
    /// bypasses dedup and cache.
    Builder& idempotency_key(std::string key) & {
        return options_.set_idempotency_key(std::move(key)), self();
    }
    Builder&& idempotency_key(std::string key) && {
        return std::move(idempotency_key(std::move(key)));
    }
    /// Higher goes first where calls queue; 0 unless set.
    Builder& priority(int level) & { return options_.priority = level, self(); }
    Builder&& priority(int level) && { return std::move(priority(level)); }
    /// An extra HTTP header. Refused when the call is sent if it holds CR, LF or NUL.
    Builder& header(std::string name, std::string value) & {
        return options_.add_header(std::move(name), std::move(value)), self();
    }
    Builder&& header(std::string name, std::string value) && {
        return std::move(header(std::move(name), std::move(value)));
    }

    const call_options& options() const { return options_; }
    call_options& options() { return options_; }

protected:
    call_builder() = default;

private:
    Builder& self() { return static_cast<Builder&>(*this); }
    call_options options_;
};

}  // namespace llmkit
