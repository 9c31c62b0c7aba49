// llmkit/core/event.hpp: one piece of an answer, raw, with what the provider noticed in it.
#pragma once

#include <cstdint>
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
    /// The same data and name, kept elsewhere.
    void move_to(bytes data, bytes name) {
        data_ = std::move(data);
        name_ = std::move(name);
    }

private:
    bytes data_;
    bytes name_;
    event_facts facts_;
};

/// What `event_stream::next` returns: an event, the end, or a failure. True only for an event.
class stream_item {
public:
    stream_item() {}  // the end
    stream_item(event value) : event_(std::move(value)), holds_(what::event) {}
    stream_item(llmkit::error reason) : error_(std::move(reason)), holds_(what::failure) {}

    explicit operator bool() const { return holds_ == what::event; }
    /// The event. Precondition: true.
    event& operator*() { return event_; }
    const event& operator*() const { return event_; }
    event* operator->() { return &event_; }
    const event* operator->() const { return &event_; }

    bool failed() const { return holds_ == what::failure; }
    /// The failure. Precondition: `failed()`.
    const llmkit::error& error() const { return error_; }

private:
    // Both are always there: each is null at no cost, and moving an item then takes no decisions.
    enum class what : std::uint8_t { end, event, failure };

    event event_;
    llmkit::error error_;
    what holds_ = what::end;
};

}  // namespace llmkit
