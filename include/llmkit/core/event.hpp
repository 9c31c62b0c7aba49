// llmkit/core/event.hpp: one piece of an answer, raw, with what the provider noticed in it.
#pragma once

#include <optional>
#include <utility>

#include <llmkit/core/bytes.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/facts.hpp>

namespace llmkit {

/// One server-sent event's data, or the whole body of a unary answer. Cheap to copy.
class event {
public:
    event() {}
    explicit event(bytes data, event_facts facts = event_facts(), bytes name = bytes())
        : data_(std::move(data)), name_(std::move(name)), facts_(facts) {}

    /// The payload: for a server-sent event its `data`, unescaped by nobody.
    std::string_view data() const { return data_.view(); }
    const bytes& shared_data() const { return data_; }
    /// The server-sent event's type ("message_start"), empty when it has none.
    std::string_view name() const { return name_.view(); }
    const bytes& shared_name() const { return name_; }
    const event_facts& facts() const { return facts_; }
    void set_facts(event_facts facts) { facts_ = facts; }

private:
    bytes data_;
    bytes name_;
    event_facts facts_;
};

/// What `event_stream::next` returns: an event, the end, or a failure. True only for an event.
class stream_item {
public:
    stream_item() {}  // the end
    stream_item(event value) : event_(std::move(value)) {}
    stream_item(llmkit::error reason) : error_(std::move(reason)) {}

    explicit operator bool() const { return event_.has_value(); }
    event& operator*() { return *event_; }
    const event& operator*() const { return *event_; }
    event* operator->() { return &*event_; }
    const event* operator->() const { return &*event_; }

    bool failed() const { return error_.has_value(); }
    /// The failure. Precondition: `failed()`.
    const llmkit::error& error() const { return *error_; }

private:
    std::optional<event> event_;
    std::optional<llmkit::error> error_;
};

}  // namespace llmkit
