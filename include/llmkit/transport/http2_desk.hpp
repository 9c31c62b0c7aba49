// llmkit/transport/http2_desk.hpp: what a session of HTTP/2 is told, and whom it tells about itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <llmkit/core/error.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit::detail {

class http2_session;

/// How a session came to its end.
struct http2_farewell {
    std::optional<error> why;  ///< nothing: it is idle, or all was said
    bool opened = false;       ///< it had taken calls
    bool http1 = false;        ///< the server speaks HTTP/1.1 only
    bool gone = false;         ///< its frame went with the io_context
};

/// Whom a session tells about itself, never under its own mutex.
class http2_desk {
public:
    /// It takes calls; `room` is 0 while the server has not said how many.
    virtual void opened(http2_session& one, std::size_t room) = 0;
    virtual void room(http2_session& one, std::size_t room) = 0;
    virtual void freed(http2_session& one, std::size_t count) = 0;
    virtual void closing(http2_session& one) = 0;  ///< it takes no more calls
    /// True when no call has a place on it; from then on none is given any.
    virtual bool retire(http2_session& one) = 0;
    virtual void over(http2_session& one, http2_farewell how) = 0;

protected:
    ~http2_desk() = default;
};

/// What is to be told of what happened to a connection; gathered under its mutex, told without it.
struct http2_news {
    std::vector<wakeup> woken;
    std::size_t freed = 0;
    std::size_t room = 0;
    bool room_changed = false;
    bool closing = false;

    void wake() {
        for (auto& one : woken) one.fire();
    }
    void tell(http2_desk& desk, http2_session& of) {
        wake();
        if (closing) desk.closing(of);
        if (room_changed) desk.room(of, room);
        if (freed > 0) desk.freed(of, freed);
    }
};

/// When a silent peer is asked for a sign of life, and when it is given up.
class http2_pulse {
public:
    enum class verdict : std::uint8_t { wait, ask, dead };

    http2_pulse(duration after, duration limit) : after_(after), limit_(limit) {}

    bool needed() const { return after_ != duration::max(); }
    void heard(time_point now) {
        heard_ = now;
        asked_ = false;
    }
    /// What is to be done now; `due` says when to ask again.
    verdict look(time_point now) {
        if (asked_) return now < due_ ? verdict::wait : verdict::dead;
        due_ = after(heard_, after_);
        if (now < due_) return verdict::wait;
        asked_ = true;
        due_ = after(now, limit_);
        return verdict::ask;
    }
    time_point due() const { return due_; }

private:
    duration after_;
    duration limit_;
    time_point heard_ = time_point::min();
    time_point due_ = time_point::min();
    bool asked_ = false;
};

}  // namespace llmkit::detail
