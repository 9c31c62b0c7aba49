// llmkit/cache/entry.hpp: an answer as a cache keeps it, and the question it answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <llmkit/cache/tag.hpp>
#include <llmkit/core/dialect.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/event.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/provenance.hpp>

namespace llmkit {

/// A complete answer with its question, or the provider's refusal of it. Made once, then shared and
/// never changed.
///
/// The question is kept whole and compared on every hit: a key is only a hash. Times are the
/// pipeline clock's; whoever writes an entry to a disk or another machine writes its age instead.
class cache_entry {
public:
    cache_entry() {}

    // The question.
    std::string operation;  ///< "chat/completions"
    bytes canonical;        ///< the body in its canonical form (core/canonical_json.hpp)
    std::string tenant;
    std::string origin;  ///< provider and base URL
    key128 headers;      ///< a hash of the call's extra headers: they may hold secrets

    // The answer.
    std::string model;  ///< that answered
    std::string request_id;
    std::string dialect;                      ///< the name of `speaks`, for entries read back
    const llmkit::dialect* speaks = nullptr;  ///< null: an operation without a known shape
    bool streamed = false;                    ///< the shape of `events`
    std::vector<event> events;                ///< one whole body, or a stream's events to its last
    std::vector<std::uint32_t> pauses;        ///< before each event, µs; empty: nobody measured
    llmkit::error refusal;                    ///< of kind `unset`: it was answered
    token_usage usage;
    std::vector<tag_mark> tags;  ///< as they stood when it was asked for

    // Its age.
    time_point stored_at;
    time_point fresh_until;  ///< `stored_at` and the TTL
    time_point keep_until;   ///< after this it is of no use, not even stale

    /// About how many bytes of memory this takes.
    std::size_t weight() const {
        std::size_t sum = sizeof(cache_entry) + events.size() * sizeof(event);
        for (const event& one : events) sum += one.data().size() + one.name().size();
        sum += canonical.size() + tags.size() * sizeof(tag_mark) + pauses.size() * 4;
        sum += refusal.message().size() + refusal.code().size() + refusal.where().size();
        for (const auto* text : {&operation, &tenant, &origin, &model, &request_id}) {
            sum += text->size();
        }
        return sum;
    }
};

}  // namespace llmkit
