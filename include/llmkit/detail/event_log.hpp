// llmkit/detail/event_log.hpp: the events of a shared answer, numbered, the oldest of them dropped.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <llmkit/core/event.hpp>

namespace llmkit::detail {

/// What one event costs whoever keeps it; one without data takes room, too.
inline std::size_t kept_bytes(const event& one) {
    return sizeof(event) + one.data().size() + one.name().size();
}

/// A reader of a shared answer takes at most so much at once, and one event.
inline constexpr std::size_t own_bytes = 64 * 1024;

/// Events from `first()` to before `end()`, counted from the answer's first.
class event_log {
public:
    std::size_t first() const { return dropped_; }
    std::size_t end() const { return dropped_ + kept_.size() - gap_; }
    std::size_t size() const { return kept_.size() - gap_; }
    /// Of all that is kept, as `kept_bytes` counts.
    std::size_t bytes() const { return bytes_; }
    /// Precondition: `first() <= number < end()`.
    const event& operator[](std::size_t number) const { return kept_[number - dropped_ + gap_]; }

    void push(event one) {
        bytes_ += kept_bytes(one);
        kept_.push_back(std::move(one));
    }
    /// Lets go of the oldest. Precondition: `size() > 0`.
    void drop_first() {
        event& oldest = kept_[gap_];
        bytes_ -= kept_bytes(oldest);
        oldest = event();
        ++dropped_;
        // Moving the rest up once in a while costs each event less than a move.
        if (++gap_ * 2 <= kept_.size()) return;
        kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(gap_));
        gap_ = 0;
    }

private:
    std::vector<event> kept_;
    std::size_t gap_ = 0;  // of these, in front, are gone
    std::size_t dropped_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace llmkit::detail
