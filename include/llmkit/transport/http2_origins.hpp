// llmkit/transport/http2_origins.hpp: which connection a call shares, and when another one is opened.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/http2_session.hpp>
#include <llmkit/transport/multiplex.hpp>

namespace llmkit::detail {

/// The sessions of a transport by origin, and the calls that wait for a place on one, first come
/// first served. While the first connection to an origin is being made, all wait for what comes of
/// it; when all are full, as many more are opened as the waiting need and the pool allows.
class http2_origins final : public http2_desk, public std::enable_shared_from_this<http2_origins> {
public:
    using session_ptr = std::shared_ptr<http2_session>;

    http2_origins(multiplex_site site, const http2_options& options)
        : site_(std::move(site)), options_(options) {}

    /// A session with a place for one more stream, which `http2_session::request` uses up. Null:
    /// the server speaks HTTP/1.1 only. The caller keeps `ask`.
    static task<result<session_ptr>> seat(std::shared_ptr<http2_origins> self,
                                          const http_request& ask, exchange_limits limits,
                                          limit total) {
        starting fresh;
        std::unique_lock lock(self->mutex_);
        origin& at = self->origin_of(ask.target());
        if (at.http1) co_return session_ptr();
        if (at.waiting.empty()) {
            if (session_ptr found = with_room(at)) {
                ++found->used;
                co_return found;
            }
        }
        const http_policy& policy = self->site_.policy;
        if (self->waiting_ >= policy.max_queued) {
            const std::size_t queued = self->waiting_;
            lock.unlock();
            co_return error(error_kind::refused,
                            fmt::format("{} calls already wait for a connection", queued))
                .with_advice(
                    "Send less at once, or raise http_policy::max_connections or "
                    "max_queued.");
        }
        limit until = total;
        const bool first = at.live.empty();
        if (first && limits.connect < policy.connect)
            until = total.earliest(after(self->site_.time.now(), limits.connect));
        if (!first) until = total.earliest(after(self->site_.time.now(), policy.queue));
        waiter me(self, at);
        self->dial_for_waiting(at, fresh);
        lock.unlock();
        fresh.begin();
        lock.lock();
        woke why = woke::by_bell;
        while (!me.decided && why == woke::by_bell)
            why = co_await wait(lock, me.ring, self->site_.time, until);
        if (me.decided) {
            auto given = me.take();
            lock.unlock();
            co_return given;
        }
        const std::size_t open = at.live.size();
        lock.unlock();
        if (why == woke::by_close)
            co_return cut_error(cut_why::closed, limits, "waiting for a connection");
        if (open == 0)
            co_return cut_error(
                total.effective() <= until.effective() ? cut_why::total : cut_why::connect, limits,
                "connecting");
        co_return error(error_kind::timeout,
                        fmt::format("no connection had room in time, {} are full", open))
            .with_code("queue_limit")
            .with_advice("Raise http_policy::max_connections or the limit, or send less at once.");
    }

    /// Calls that wait, but for those on whose behalf a session waits in the pool, which counts it.
    std::size_t waiting() const {
        std::lock_guard lock(mutex_);
        std::size_t in_pool = 0;
        for (const auto& [name, at] : origins_)
            for (const auto& each : at.dialling) in_pool += !each->connecting;
        return waiting_ - std::min(waiting_, in_pool);
    }
    /// The server wants HTTP/1.1 for what it has been asked.
    void prefer_http1(const url& to) {
        std::lock_guard lock(mutex_);
        origin_of(to).http1 = true;
    }

    void opened(http2_session& one, std::size_t room) override {
        change(one, [&](origin& at, session_ptr self) {
            if (room > 0) at.usual = room;
            one.limit = at.usual > 0 ? at.usual : std::min(options_.max_streams, first_rush);
            remove(at.dialling, one);
            at.live.push_back(std::move(self));
        });
    }
    void room(http2_session& one, std::size_t room) override {
        change(one, [&](origin& at, const session_ptr&) {
            at.usual = std::max<std::size_t>(room, 1);
            one.limit = room;
        });
    }
    void freed(http2_session& one, std::size_t count) override {
        change(one, [&](origin&, const session_ptr&) { one.used -= std::min(one.used, count); });
    }
    void closing(http2_session& one) override {
        change(one, [&](origin& at, const session_ptr&) {
            if (remove(at.live, one)) at.hold_back = false;  // there is less to wait for
        });
    }
    bool retire(http2_session& one) override {
        session_ptr kept;
        std::lock_guard lock(mutex_);
        if (one.used > 0) return false;
        kept = remove(origins_[one.origin].live, one);
        return true;
    }
    void over(http2_session& one, http2_farewell how) override {
        change(one, [&](origin& at, const session_ptr&) {
            remove(at.live, one);
            const bool dialled = remove(at.dialling, one) != nullptr;
            if (how.http1) {
                at.http1 = true;
                for (waiter* each : at.waiting) each->given = session_ptr();
            } else if (dialled && how.why && at.live.empty() && at.dialling.empty()) {
                for (waiter* each : at.waiting) each->given = *how.why;
            } else {
                // There are others, and no second try at once; or there is nobody left to wait.
                at.hold_back = how.gone || (dialled && how.why);
                return;
            }
            at.decided = true;
        });
    }

private:
    struct waiter;
    struct origin {
        std::optional<url> to;
        std::vector<session_ptr> live;      // take calls
        std::vector<session_ptr> dialling;  // are being connected
        std::list<waiter*> waiting;
        std::size_t usual = 0;   // streams that a connection takes; 0: nobody knows yet
        bool http1 = false;      // it speaks HTTP/1.1 only
        bool decided = false;    // all who wait have an answer
        bool hold_back = false;  // the last connection could not be made
    };

    /// A call in the queue; lives in its frame. Under the mutex, but for its ends.
    struct waiter {
        waiter(std::shared_ptr<http2_origins> of, origin& to) : in(std::move(of)), at(to) {
            place = at.waiting.insert(at.waiting.end(), this);
            ++in->waiting_;
        }
        waiter(const waiter&) = delete;
        waiter& operator=(const waiter&) = delete;
        ~waiter() {
            std::vector<session_ptr> unwanted;
            session_ptr unused;
            {
                std::lock_guard lock(in->mutex_);
                if (decided && given) unused = *given;
                if (!decided) leave();
                if (at.waiting.empty()) unwanted = at.dialling;
            }
            if (unused) {  // handed over, but the frame ended before
                in->freed(*unused, 1);
                unused->rest();
            }
            for (auto& each : unwanted) each->cancel();
        }
        void leave() {
            at.waiting.erase(place);
            --in->waiting_;
        }
        void decide() {
            leave();
            decided = true;
        }
        result<session_ptr> take() { return std::exchange(given, result<session_ptr>()); }

        std::shared_ptr<http2_origins> in;
        origin& at;
        bell ring;
        std::list<waiter*>::iterator place;
        bool decided = false;
        result<session_ptr> given;
    };

    /// Sessions to be begun once the mutex is free.
    struct starting {
        struct one {
            session_ptr session;
            http2_dial how;
        };
        std::vector<one> all;
        void begin() {
            for (auto& each : std::exchange(all, {}))
                http2_session::begin(each.session, std::move(each.how));
        }
    };

    /// Makes a change and does what follows from it.
    template <class What>
    void change(http2_session& one, What what) {
        starting fresh;
        std::vector<wakeup> woken;
        std::vector<session_ptr> unwanted;
        session_ptr self = std::static_pointer_cast<http2_session>(one.shared_from_this());
        {
            std::lock_guard lock(mutex_);
            origin& at = origins_[one.origin];
            what(at, self);
            if (std::exchange(at.decided, false)) {
                while (!at.waiting.empty()) wake(*at.waiting.front(), woken);
            }
            serve(at, woken);
            if (!at.hold_back) dial_for_waiting(at, fresh);
            // One that is being connected goes on: the next rush will want it.
            if (at.waiting.empty()) {
                for (const auto& each : at.dialling)
                    if (!each->connecting) unwanted.push_back(each);
            }
        }
        for (auto& each : woken) each.fire();
        for (auto& each : unwanted) each->cancel();
        fresh.begin();
    }
    static bool wake(waiter& next, std::vector<wakeup>& woken) {
        wakeup one = next.ring.ring_one();
        next.decide();
        if (one) woken.push_back(std::move(one));
        return true;
    }
    static void serve(origin& at, std::vector<wakeup>& woken) {
        while (!at.waiting.empty()) {
            session_ptr found = with_room(at);
            if (!found) return;
            ++found->used;
            waiter& next = *at.waiting.front();
            next.given = std::move(found);
            wake(next, woken);
        }
    }
    static session_ptr with_room(const origin& at) {
        for (const auto& each : at.live)
            if (each->used < each->limit) return each;
        return nullptr;
    }

    origin& origin_of(const url& to) {
        origin& at = origins_[to.origin()];
        if (!at.to) at.to = to;
        return at;
    }
    bool wants_more(const origin& at) const {
        if (at.waiting.empty() || at.dialling.size() >= site_.policy.max_per_host) return false;
        if (at.usual == 0) return at.live.empty() && at.dialling.empty();
        return at.dialling.size() * at.usual < at.waiting.size();
    }
    /// Under the mutex: as many connections as the waiting need, the first one alone. Never throws:
    /// on a context that goes down there are none.
    void dial_for_waiting(origin& at, starting& fresh) noexcept try {
        if (at.http1) return;
        at.hold_back = false;
        while (wants_more(at)) {
            exchange_limits limits;
            limits.connect = site_.policy.connect;
            auto one = std::make_shared<http2_session>(site_, options_, shared_from_this(),
                                                       at.to->origin());
            at.dialling.push_back(one);
            fresh.all.push_back({std::move(one), http2_dial(*at.to, limits)});
        }
    } catch (const std::exception&) {
    }
    static session_ptr remove(std::vector<session_ptr>& from, const http2_session& one) {
        const auto it = std::find_if(from.begin(), from.end(),
                                     [&](const session_ptr& each) { return each.get() == &one; });
        if (it == from.end()) return nullptr;
        session_ptr found = std::move(*it);
        from.erase(it);
        return found;
    }

    // What a server gets before it has said how many streams it allows; more could be refused.
    static constexpr std::size_t first_rush = 32;

    const multiplex_site site_;
    const http2_options options_;
    mutable std::mutex mutex_;
    std::unordered_map<std::string, origin> origins_;
    std::size_t waiting_ = 0;
};

}  // namespace llmkit::detail
