// llmkit/transport/hold.hpp: a borrowed connection and the limits that may take it away.
#pragma once

#include <atomic>
#include <cstddef>
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
                              private timer_node,
                              public std::enable_shared_from_this<connection_hold> {
public:
    connection_hold(clock_handle time, connection_pool::lease lease)
        : time_(std::move(time)), lease_(std::move(lease)) {}
    ~connection_hold() { unwatch(); }

    const clock_handle& time() const { return time_; }
    bool connected() const { return lease_.connection() != nullptr; }
    void fill(std::unique_ptr<http1_connection> fresh) {
        std::lock_guard lock(mutex_);
        lease_.fill(std::move(fresh));
    }
    http1_connection& connection() { return *lease_.connection(); }

    /// Why it was taken away; the user asks whenever something failed.
    cut_why why() const { return why_.load(std::memory_order_acquire); }

    /// Somebody at work on the connection, who may not lose it under his hands, and who gives it up
    /// when he ends before he said that all is well. False: it is gone already.
    class use {
    public:
        explicit use(connection_hold& of) : of_(of.enter() ? &of : nullptr) {}
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        ~use() {
            if (auto* of = std::exchange(of_, nullptr)) of->abandon(1);
        }
        explicit operator bool() const { return of_ != nullptr; }

        /// All is well, and somebody else goes on.
        void pass_on() { std::exchange(of_, nullptr)->leave(); }
        /// The answer is complete: others may have the connection, when it is `reusable`. With the
        /// request still on its way it is of no use to anybody.
        void release(bool reusable) { std::exchange(of_, nullptr)->release(reusable); }
        /// Takes the connection out, for a session that many calls share.
        connection_pool::lease take() { return std::exchange(of_, nullptr)->take(); }

    private:
        connection_hold* of_;
    };

    /// The limit of the whole exchange, in force until the connection is given back.
    void watch(const limit& until) {
        watched_ = until.effective() != time_point::max() || until.owner;
        if (watched_) time_.timers().arm(*this, until);
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

    /// Sends as much of a request as goes at once. `later`: call `write_rest`. The user's.
    sent write(std::string_view head, const bytes& body) {
        outgoing left{asio::buffer(head), asio::buffer(body.view())};
        const sent how = connection().line.try_write(left);
        sent_ = how == sent::all;
        if (how == sent::later) {
            head_.assign(static_cast<const char*>(left[0].data()), left[0].size());
            body_ = body.slice(body.size() - left[1].size(), left[1].size());
        }
        return how;
    }
    /// What did not go at once goes while the answer is awaited.
    void write_rest(const executor& caller) {
        if (!enter()) return;
        const outgoing what{asio::buffer(head_), asio::buffer(body_.view())};
        connection().line.write_rest(what, caller, shared_from_this());
    }
    void written(bool whole) noexcept override {
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        sent_ = whole;
        body_ = bytes();
        lease = leave_locked();
    }

    /// The call is over, but not the message: from here on only `how_long` counts, and nothing that
    /// the call's limit points to. Gives where to wait for the end; null when that is no use,
    /// because the connection is gone or the request is still on its way.
    std::shared_ptr<connection_pool> outlive_call(duration how_long) {
        unwatch();
        limit until;
        until.until = after(time_.now(), how_long);
        watch(until);
        std::lock_guard lock(mutex_);
        if (ended_ || dying_ || !sent_) return nullptr;
        return lease_.from();
    }
    /// Nobody wants the answer any more.
    void abandon() { abandon(0); }

private:
    friend struct cut_call;

    // The whole exchange's limit. Null once the last owner has gone, who waits for our disarming.
    small_call expire(expiry how) override {
        if (how == expiry::shutdown) return {};
        auto self = weak_from_this().lock();
        if (!self) return {};
        const cut_why why = how == expiry::closed ? cut_why::closed : cut_why::total;
        return small_call([self = std::move(self), why] { self->cut(why, 0); });
    }
    void unwatch() {
        if (std::exchange(watched_, false)) time_.timers().disarm(*this);
    }

    void cut(cut_why why, std::uint32_t turn) {
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        if (ended_ || dying_ || (turn != 0 && turn != turn_)) return;
        why_.store(why, std::memory_order_release);
        lease = give_up();
    }
    // Under the mutex, like all that returns a lease, which is to be destroyed without it.
    connection_pool::lease give_up() {
        dying_ = true;
        if (users_ == 0) return end();
        if (connected()) connection().line.cut();
        return {};
    }
    connection_pool::lease end() {
        ended_ = true;
        return std::move(lease_);
    }
    connection_pool::lease leave_locked() {
        if (--users_ > 0 || !dying_ || ended_) return {};
        return end();
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
        lease = leave_locked();
    }
    void abandon(std::size_t leaving) {
        unwatch();
        connection_pool::lease lease;
        std::lock_guard lock(mutex_);
        users_ -= leaving;
        if (ended_) return;
        if (!dying_) {
            lease = give_up();
        } else if (users_ == 0) {
            lease = end();
        }
    }
    void release(bool reusable) {
        unwatch();
        connection_pool::lease lease;
        {
            std::lock_guard lock(mutex_);
            if (!dying_ && reusable && sent_) {
                --users_;
                lease = end();
            }
        }
        if (!lease) return abandon(1);
        lease.connection()->used = true;
        lease.connection()->rest();
        lease.keep();
    }
    connection_pool::lease take() {
        std::lock_guard lock(mutex_);
        --users_;
        return end();
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
    std::string head_;  // what is left to send of the request
    bytes body_;
    std::size_t users_ = 0;
    std::uint32_t turn_ = 1;
    std::atomic<cut_why> why_{cut_why::none};
    bool watched_ = false;  // the user's
    bool sent_ = false;
    bool dying_ = false;  // to be closed by the last user
    bool ended_ = false;  // the lease is gone
};

inline void cut_call::operator()(expiry how) const {
    if (auto hold = of.lock()) hold->cut(how == expiry::closed ? cut_why::closed : why, turn);
}

}  // namespace llmkit::detail
