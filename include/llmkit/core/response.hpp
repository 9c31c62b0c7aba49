// llmkit/core/response.hpp: an answer: its head, and its events still to be pulled.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <llmkit/core/dialect.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/provenance.hpp>
#include <llmkit/detail/pooled.hpp>

namespace llmkit {

class headers;

/// The right to store an answer that several callers share: exactly one of them gets it. Holding
/// it keeps the shared call open to newcomers, so that none slips through between the end of the
/// answer and its storing; let go of it once the answer is stored.
class answer_claim {
public:
    virtual ~answer_claim() = default;
    /// True for the first who asks.
    virtual bool take() = 0;
};

/// What is known before the first event.
class response_head {
public:
    response_head() {}

    int status = 200;
    bool streamed = false;                    ///< events of a stream, not one whole body
    const llmkit::dialect* speaks = nullptr;  ///< null: an operation without a known shape
    std::string model;                        ///< the model that answered, when the provider says
    std::string request_id;
    std::shared_ptr<const llmkit::headers> fields;  ///< HTTP headers, null when there were none
    provenance came_by;
    std::shared_ptr<answer_claim> claim;  ///< null: nobody shares this answer
};

/// What a service returns: one pointer to head and events, so that passing it on costs nothing.
///
///     auto answer = co_await client(ask);
///     if (answer) fmt::print("{}\n", answer->head().model);
///     while (auto item = co_await answer->events().next()) use(item->data());
///
/// Move-only, one user at a time. Default-constructed or moved from it holds nothing: only assign
/// to it.
class response {
public:
    response() = default;
    response(response_head what, event_stream pulled)
        : state_(std::in_place, std::move(what), std::move(pulled)) {}

    response_head& head() { return state_->head; }
    const response_head& head() const { return state_->head; }
    event_stream& events() { return state_->events; }
    const event_stream& events() const { return state_->events; }

private:
    struct state {
        state(response_head what, event_stream pulled)
            : head(std::move(what)), events(std::move(pulled)) {}
        response_head head;
        event_stream events;
    };
    detail::pooled<state> state_;
};

}  // namespace llmkit
