// llmkit/testing/transport_conformance_check.hpp: one check of a transport, and what it found out.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <llmkit/testing/any_transport.hpp>

namespace llmkit::testing {

/// What a check found out: nothing wrong, or in words what was.
class finding {
public:
    finding() = default;
    explicit finding(std::string wrong) : text_(std::move(wrong)) {}

    bool passed() const { return text_.empty(); }
    const std::string& text() const { return text_; }
    friend std::ostream& operator<<(std::ostream& out, const finding& found) {
        return out << (found.passed() ? "as it should be" : found.text());
    }

private:
    std::string text_;
};

/// What a transport is able to do, where they may differ. Checks of what it does not claim are
/// left out.
struct transport_abilities {
    /// Talks HTTP/1.1 to the server itself, so that it sees how messages are framed and whether
    /// anybody is there. A transport that reaches the server through a gateway does not.
    bool http1_framing = true;
    /// Refuses what RFC 9112 forbids in framing although it could be guessed at: two differing
    /// Content-Lengths, folded headers, a bare line feed.
    bool strict_framing = true;
    /// Keeps a connection for the next call, and asks once more when it turns out to be stale.
    bool reuses_connections = true;
    /// Takes an answer that comes before the whole body was sent, such as a 413.
    bool early_answers = true;
    /// Calls may come from several threads of one io_context at once.
    bool many_threads = true;
};
static_assert(std::is_trivially_destructible_v<transport_abilities>);

/// One promise of llmkit/transport/concept.hpp, checked on a server of its own on this machine.
class transport_check {
public:
    using body = std::function<finding(const transport_maker&)>;

    transport_check(std::string name, body what) : name_(std::move(name)), what_(std::move(what)) {}

    /// A sentence that is true of a transport that passes.
    const std::string& name() const { return name_; }
    /// Blocks until it is known, at most about half a minute. Makes one or more transports, runs
    /// them on the calling thread, and drops them. What `make` throws comes through.
    finding run(const transport_maker& make) const { return what_(make); }

private:
    std::string name_;
    body what_;
};

using transport_check_list = std::vector<transport_check>;

}  // namespace llmkit::testing
