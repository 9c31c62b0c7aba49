// llmkit/transport/hold.hpp: a borrowed connection and the limits that may take it away.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <llmkit/core/bytes.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/http1_connection.hpp>
#include <llmkit/transport/pool.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

using connection_pool = pool<http1_connection>;

/// Why a connection was taken away before the answer was complete.
enum class cut_why : std::uint8_t { none, connect, first_event, idle, total, closed };

class connection_hold;

/// What a cutoff calls. `turn` tells a limit that has been lifted from the one in force.
struct cut_call {
    std::weak_ptr<connection_hold> of;
    cut_why why;
    std::uint32_t turn;
    void operator()(expiry how) const;
};

/// The lease of one exchange. Limits expire on the clock's thread, whoever waits where: if the
/// connection is in use they cut it and the user finds out why, otherwise it is closed on the spot
/// and its place in the pool is free. The same goes for letting go of an answer.
class connection_hold final : public write_sink,
                              public std::enable_shared_from_this<connection_hold> {
public:
    connection_hold(clock_handle time, connection_pool::lease lease)
        : time_(std::move(time)), lease_(std::move(lease)) {}

    const clock_handle& time() const { return time_; }
    bool connected() const { return lease_.connection() != nullptr; }
    void fill(std::unique_ptr<http1_connection> fresh) {
        std::lock_guard lock(mutex_);
        lease_.fill(std::move(fresh));
    }
    http1_connection& connection() { return *lease_.connection(); }

    /// Why it was taken away; the user asks whenever something failed.
    cut_why why() const {
        std::lock_guard lock(mutex_);
        return why_;
    }

    /// Somebody who may not lose the connection under his hands. False: it is gone.
    class user {
    public:
        explicit user(connection_hold& of) : of_(of.enter() ? &of : nullptr) {}
        user(const user&) = delete;
        user& operator=(const user&) = delete;
        ~user() {
            if (of_) of_->leave();
        }
        explicit operator bool() const { return of_ != nullptr; }

    private:
        connection_hold* of_;
    };

    /// Lets go of the connection when the frame that needs it ends early.
    class guard {
    public:
        explicit guard(connection_hold& of) : of_(&of) {}
        guard(const guard&) = delete;
        guard& operator=(const guard&) = delete;
        ~guard() {
            if (of_) of_->abandon();
        }
        void dismiss() { of_ = nullptr; }

    private:
        connection_hold* of_;
    };

    /// The limit of the whole exchange, in force until the connection is given back.
    void watch(const limit& until) {
        if (until.effective() != time_point::max() || until.owner)
            total_.emplace(time_, until, cut_call{weak_from_this(), cut_why::total, 0});
    }

    /// A limit for as long as this object lives.
    class span {
    public:
        span(connection_hold& of, duration how_long, cut_why why) : of_(of) {
            if (how_long == duration::max()) return;
            limit until;
            until.until = after(of.time_.now(), how_long);
            cutoff_.emplace(of.time_, until, cut_call{of.weak_from_this(), why, of.turn()});
        }
        span(const span&) = delete;
        span& operator=(const span&) = delete;
        ~span() {
            if (!cutoff_) return;
            cutoff_.reset();
            of_.next_turn();  // it may have gone off already and be on its way to us
        }

    private:
        connection_hold& of_;
        std::optional<cutoff<cut_call>> cutoff_;
    };

    /// Sends a request; what does not go at once goes while the answer is awaited.
    void write(std::string head, bytes body, const executor& caller) {
        if (!enter()) return;
        head_ = std::move(head);
        body_ = std::move(body);
        const outgoing what{asio::buffer(head_), asio::buffer(body_.view())};
        const sent how = connection().line.write(what, caller, shared_from_this());
        if (how != sent::later) written(how == sent::all);
    }
    void written(bool whole) noexcept override {
        {
            std::lock_guard lock(mutex_);
            sent_ = whole;
            body_ = bytes();
        }
        leave();
    }

    /// The call is over, but not the message: from here on only `how_long` counts, and nothing that
    /// the call's limit points to. Gives where to wait for the end; null when that is no use,
    /// because the connection is gone or the request is still on its way.
    std::shared_ptr<connection_pool> outlive_call(duration how_long) {
        total_.reset();
        limit until;
        until.until = after(time_.now(), how_long);
        watch(until);
        std::lock_guard lock(mutex_);
        if (ended_ || dying_ || !sent_) return nullptr;
        return lease_.from();
    }
    /// The answer is complete: its reader, who is a user, lets go of the connection, which others
    /// may use when `reusable`. With the request still on its way it is of no use to anybody.
    void release(bool reusable) {
        total_.reset();
        connection_pool::lease lease;
        {
            std::lock_guard lock(mutex_);
            if (ended_ || dying_) return;
            if (!reusable || !sent_) {
                lease = give_up();
                return;
            }
            ended_ = true;
            lease = std::move(lease_);
        }
        lease.connection()->used = true;
        lease.connection()->rest();
        lease.keep();
    }
    /// Takes the connection out, for a session that many calls share.
    connection_pool::lease take() {
        std::lock_guard lock(mutex_);
        ended_ = true;
        return std::move(lease_);
    }
    /// Nobody wants the answer any more.
    void abandon() {
        total_.reset();
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        if (!ended_ && !dying_) lease = give_up();
    }

private:
    friend struct cut_call;

    void cut(cut_why why, std::uint32_t turn) {
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        if (ended_ || dying_ || (turn != 0 && turn != turn_)) return;
        why_ = why;
        lease = give_up();
    }
    // Under the mutex; what it returns is to be destroyed without it.
    connection_pool::lease give_up() {
        dying_ = true;
        if (users_ == 0) {
            ended_ = true;
            return std::move(lease_);
        }
        if (connected()) connection().line.cut();
        return {};
    }
    bool enter() {
        std::lock_guard lock(mutex_);
        if (ended_ || dying_) return false;
        ++users_;
        return true;
    }
    void leave() {
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        if (--users_ > 0 || !dying_ || ended_) return;
        ended_ = true;
        lease = std::move(lease_);
    }
    std::uint32_t turn() const {
        std::lock_guard lock(mutex_);
        return turn_;
    }
    void next_turn() {
        std::lock_guard lock(mutex_);
        ++turn_;
    }

    clock_handle time_;
    mutable std::mutex mutex_;
    connection_pool::lease lease_;
    std::optional<cutoff<cut_call>> total_;
    std::string head_;
    bytes body_;
    std::size_t users_ = 0;
    std::uint32_t turn_ = 1;
    cut_why why_ = cut_why::none;
    bool sent_ = false;
    bool dying_ = false;  // to be closed by the last user
    bool ended_ = false;  // the lease is gone
};

inline void cut_call::operator()(expiry how) const {
    if (auto hold = of.lock()) hold->cut(how == expiry::closed ? cut_why::closed : why, turn);
}

}  // namespace llmkit::detail
