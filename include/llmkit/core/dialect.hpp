// llmkit/core/dialect.hpp: how one API's events and bodies are turned into each other.
#pragma once

#include <atomic>
#include <span>
#include <string_view>
#include <vector>

#include <llmkit/core/chat.hpp>
#include <llmkit/core/event.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

/// What a layer needs to know of an API without knowing its JSON. A provider owns one, static and
/// stateless, and sets it on its responses; it is used by cache, stream and the typed helpers.
class dialect {
public:
    virtual ~dialect() = default;

    /// The API's name, part of stored entries: "openai".
    virtual std::string_view name() const = 0;
    /// The events of a complete stream as the body that a unary call would have got.
    virtual result<event> fold(std::span<const event> events) const = 0;
    /// A unary body as the events that a stream would have brought; the last one is marked `last`.
    virtual result<std::vector<event>> unfold(const event& body) const = 0;
    /// One stream event for people. False when there is nothing in it for them.
    virtual bool read_delta(const event& from, chat_delta& into) const = 0;
    virtual result<completion> read_completion(const event& body) const = 0;
    virtual result<embeddings> read_embeddings(const event& body) const = 0;

protected:
    dialect() = default;
};

/// Makes a dialect known by its name, so that answers which were stored outside the process find it
/// again. A provider has one beside its dialect, which must live for ever:
///
///     inline const known_dialect my_dialect_is_known(my_dialect());
class known_dialect {
public:
    explicit known_dialect(const dialect& one) : one_(&one), next_(first_.load()) {
        while (!first_.compare_exchange_weak(next_, this)) {
        }
    }
    known_dialect(const known_dialect&) = delete;
    known_dialect& operator=(const known_dialect&) = delete;

    /// The dialect of that name; null when this program has none. From any thread.
    static const dialect* find(std::string_view name) {
        for (const known_dialect* at = first_.load(); at; at = at->next_) {
            if (at->one_->name() == name) return at->one_;
        }
        return nullptr;
    }

private:
    static inline constinit std::atomic<const known_dialect*> first_{nullptr};

    const dialect* one_;
    const known_dialect* next_;
};

}  // namespace llmkit
