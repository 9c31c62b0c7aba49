// llmkit/transport/http2_session.hpp: a connection in use by many calls: its reading, writing and end.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/http2_desk.hpp>
#include <llmkit/transport/http2_dial.hpp>
#include <llmkit/transport/http2_framing.hpp>
#include <llmkit/transport/http2_loss.hpp>
#include <llmkit/transport/multiplex.hpp>

namespace llmkit::detail {

/// One connection from the moment that it is wanted until nobody uses it any more: then it goes back
/// into the pool and waits there, with its framing, for the next session. So nothing is pending on
/// an idle connection, and it keeps no program alive.
///
/// Reads and writes on a lane of its own. Callers put their requests in under the mutex; what came
/// together goes out in one write, and one read wakes all whom it concerns.
class http2_session final : public spawned, public write_sink {
public:
    using stream_ptr = std::shared_ptr<http2_stream>;

    http2_session(multiplex_site site, http2_options options, std::shared_ptr<http2_desk> desk,
                  std::string to)
        : spawned(site.time.lane()),
          origin(std::move(to)),
          site_(std::move(site)),
          options_(options),
          desk_(std::move(desk)),
          pulse_(options.ping_after, options.ping_limit) {}

    /// What the desk keeps here, under its own mutex.
    const std::string origin;
    std::size_t used = 0;
    std::size_t limit = 0;
    std::atomic<bool> connecting{false};  // has a place in the pool

    static void begin(const std::shared_ptr<http2_session>& self, http2_dial how) {
        start(self, run(self, std::move(how)));
    }
    /// Of `spawned`: the work has ended, or its frame is gone with its context.
    void done(const std::exception_ptr&, const std::optional<nothing>&) {
        http2_farewell how;
        how.gone = true;  // before it had begun, and the desk still counts on it
        if (!begun_) end(std::move(how), asio::error::bad_descriptor);
    }

    /// How many requests the server has answered on it.
    std::size_t answers() const { return answers_.load(); }
    std::mutex& mutex() { return mutex_; }
    const clock_handle& time() const { return site_.time; }
    /// Sends a request on the seat that the desk gave. Null, and the seat is free again, when the
    /// connection has ended meanwhile.
    stream_ptr request(const http_request& ask) {
        auto stream = std::make_shared<http2_stream>(self());
        {
            std::unique_lock lock(mutex_);
            if (!over_ && framing_->open(stream, ask)) {
                stream->seated = true;
                if (!watch_) keep_watch();
                schedule(lock);
                return stream;
            }
            closing_ = true;
        }
        desk_->closing(*this);
        desk_->freed(*this, 1);
        rest();
        return nullptr;
    }

    /// Nobody wants the answer any more; `why` is for those who ask all the same.
    void abandon(http2_stream& stream, std::optional<error> why) {
        wakeup woken;
        std::unique_lock lock(mutex_);
        if (why) {
            stream.fail(std::move(*why));
        } else {
            stream.data = std::string();
        }
        woken = stream.changed.ring_one();
        stream.last_words.reset();
        const bool seated = std::exchange(stream.seated, false);
        if (!over_ && !stream.closed) framing_->reset(stream);
        stream.unwanted = true;
        lock.unlock();
        woken.fire();
        if (seated) desk_->freed(*this, 1);
        rest();
    }
    /// Sends what there is to send, and ends when there is no more use for it.
    void rest() {
        std::unique_lock lock(mutex_);
        schedule(lock);
    }
    /// Under the mutex, which is given up: the reader has taken `count` bytes.
    void taken(std::unique_lock<std::mutex>& lock, http2_stream& stream, std::size_t count) {
        if (over_ || stream.closed || stream.ended) return;
        framing_->consumed(stream, count);
        if (framing_->wants_write()) schedule(lock);
    }

    void written(bool whole) noexcept override {
        connection_pool::lease dropped;
        std::unique_lock lock(mutex_);
        writing_ = false;
        if (over_) dropped = std::move(lease_);
        if (over_) return;
        if (!whole) return line().cut();
        lock.unlock();
        flush_and_rest();
    }

private:
    std::shared_ptr<http2_session> self() {
        return std::static_pointer_cast<http2_session>(shared_from_this());
    }
    wire& line() { return lease_.connection()->line; }

    /// Ends the session with its frame, however that ends.
    class ending {
    public:
        explicit ending(std::shared_ptr<http2_session> of) : of_(std::move(of)) {
            of_->begun_ = how.gone = true;  // unless `run` comes to an end of its own
        }
        ending(const ending&) = delete;
        ending& operator=(const ending&) = delete;
        ~ending() { of_->end(std::move(how), failed); }
        http2_farewell how;
        std::error_code failed{asio::error::bad_descriptor};  // of the socket

    private:
        std::shared_ptr<http2_session> of_;
    };

    static task<void> run(std::shared_ptr<http2_session> self, http2_dial how) {
        ending at_end(self);
        try {
            co_await work(self, at_end, std::move(how));
        } catch (const asio::system_error&) {  // nobody waits for it any more
        }
        at_end.how.gone = false;
    }

    static task<void> work(std::shared_ptr<http2_session> self, ending& at_end, http2_dial how) {
        auto place = co_await connection_pool::acquire(self->site_.pool, self->origin,
                                                       llmkit::limit(), false);
        if (!place) {
            at_end.how.why = place.error();
            co_return;
        }
        self->connecting = true;
        auto lease =
            co_await http2_connect(self->site_, self->options_, std::move(*place), std::move(how));
        if (!lease) {
            at_end.how.why = lease.error();
            co_return;
        }
        if (!*lease) {
            at_end.how.http1 = true;
            co_return;
        }
        const auto buffer = std::make_unique_for_overwrite<char[]>(read_size);
        const asio::mutable_buffer room(buffer.get(), read_size);
        self->hold(std::move(*lease));
        if (self->used_before_ && !http2_catch_up(self->line(), *self->framing_, room)) co_return;
        at_end.how.opened = true;
        self->open();

        std::error_code failed;
        bool more = true;
        while (more) {
            // What cancels here is only a nudge, to see whether there is still any use.
            const auto cancelled = co_await asio::this_coro::cancellation_state;
            if (cancelled.cancelled() != asio::cancellation_type::none)
                co_await asio::this_coro::reset_cancellation_state();
            if (self->unused()) {
                // Whoever was just woken may have another request.
                co_await asio::post(asio::use_awaitable);
                if (self->retired()) break;
            }
            self->reading_ = true;
            const std::size_t count = co_await self->line().read_some(room, failed);
            self->reading_ = false;
            if (failed == asio::error::operation_aborted) continue;
            if (failed) break;
            more = self->take_in({buffer.get(), count});
        }
        at_end.failed = failed;
    }

    void hold(connection_pool::lease lease) {
        std::lock_guard lock(mutex_);
        lease_ = std::move(lease);
        framing_ = std::static_pointer_cast<http2_framing>(lease_.connection()->session);
        used_before_ = lease_.connection()->used;
        answers_ = framing_->answers();  // of earlier sessions
    }
    void open() {
        std::size_t room = 0;
        {
            std::lock_guard lock(mutex_);
            if (framing_->settled()) room = room_ = allowed();
        }
        desk_->opened(*this, room);
        flush();
    }
    std::size_t allowed() const { return std::min(framing_->limit(), options_.max_streams); }

    void gather(http2_news& all) {
        for (auto& stream : framing_->stirred()) {
            stream->stirred = false;
            if (auto one = stream->changed.ring_one()) all.woken.push_back(std::move(one));
            if (!stream->over()) continue;
            if (stream->closed) stream->last_words.reset();
            all.freed += std::exchange(stream->seated, false);
        }
        framing_->stirred().clear();
        answers_ = framing_->answers();
        if (framing_->going_away() && !std::exchange(closing_, true)) all.closing = true;
        if (const std::size_t room = allowed(); framing_->settled() && room != room_) {
            room_ = all.room = room;
            all.room_changed = true;
        }
    }
    /// False: the connection is to be closed.
    bool take_in(std::string_view came) {
        http2_news all;
        bool more = true;
        {
            std::lock_guard lock(mutex_);
            pulse_.heard(time().now());
            more = framing_->receive(came);
            gather(all);
        }
        all.tell(*desk_, *this);
        flush();
        std::lock_guard lock(mutex_);
        return more && framing_->wants_read();
    }

    // Under the mutex, which is given up for it.
    void schedule(std::unique_lock<std::mutex>& lock) {
        if (over_ || std::exchange(scheduled_, true)) return;
        lock.unlock();
        if (const executor where = lane())
            asio::post(where, [me = self()] { me->flush_and_rest(); });
    }

    /// On the lane: sends all there is to send.
    void flush() {
        for (;;) {
            http2_news all;
            {
                std::lock_guard lock(mutex_);
                scheduled_ = false;
                if (over_ || writing_) return;
                out_.clear();
                framing_->produce(out_, write_size);
                gather(all);
                writing_ = !out_.empty();
            }
            all.tell(*desk_, *this);
            if (out_.empty()) break;
            const outgoing what{asio::buffer(out_), asio::const_buffer()};
            const sent how = line().write(what, lane(), self());
            if (how == sent::later) return;
            std::lock_guard lock(mutex_);
            writing_ = false;
            if (how == sent::failed) return line().cut();
        }
    }
    void flush_and_rest() {
        flush();
        if (reading_ && unused()) cancel_here();
    }

    bool unused() {
        std::lock_guard lock(mutex_);
        return !over_ && !writing_ && framing_->streams().empty() && !framing_->wants_write();
    }
    /// On the lane: whether this has been of use. No call comes after a true.
    bool retired() {
        if (!retired_ && unused()) retired_ = desk_->retire(*this);
        return retired_;
    }

    // PING: so that a peer that is gone is noticed while calls wait for it. Under the mutex.
    struct watch_call {
        std::weak_ptr<spawned> of;
        void operator()(expiry) const {
            if (auto session = of.lock()) static_cast<http2_session&>(*session).look();
        }
    };
    void keep_watch() {
        if (!pulse_.needed()) return;
        pulse_.heard(time().now());
        watch();
    }
    void watch() {
        pulse_.look(time().now());
        llmkit::limit until;
        until.until = pulse_.due();
        watch_.emplace(time(), until, watch_call{weak_from_this()});
    }
    void look() {
        std::unique_lock lock(mutex_);
        if (over_) return;
        if (framing_->streams().empty()) return watch_.reset();
        switch (pulse_.look(time().now())) {
            case http2_pulse::verdict::dead:
                silent_ = true;
                return line().cut();
            case http2_pulse::verdict::ask:
                framing_->ping();
                watch();
                return schedule(lock);
            case http2_pulse::verdict::wait:
                return watch();
        }
    }

    /// Without the mutex; once.
    void end(http2_farewell how, const std::error_code& failed) {
        http2_news all;
        connection_pool::lease lease;
        std::shared_ptr<http2_framing> framing;
        {
            std::lock_guard lock(mutex_);
            over_ = true;
            watch_.reset();
            framing = std::move(framing_);
            if (framing) {
                const http2_loss loss(*framing, failed, used_before_,
                                      silent_ ? options_.ping_limit : duration::zero());
                if (how.opened && !retired_) how.why = loss.reason();
                for (auto& stream : framing->streams()) {
                    loss.tell(*stream);
                    stream->seated = false;  // the desk forgets all of them
                    if (auto one = stream->changed.ring_one()) all.woken.push_back(std::move(one));
                }
                framing->streams().clear();
            }
            if (writing_) {
                line().cut();
            } else {
                lease = std::move(lease_);
            }
        }
        if (lease && retired_ && framing->usable()) {
            lease.connection()->used = true;
            lease.connection()->rest();
            lease.keep();
        }
        all.wake();
        desk_->over(*this, std::move(how));
    }
    static constexpr std::size_t read_size = 32 * 1024;
    static constexpr std::size_t write_size = 64 * 1024;
    const multiplex_site site_;
    const http2_options options_;
    const std::shared_ptr<http2_desk> desk_;

    std::mutex mutex_;
    connection_pool::lease lease_;
    std::shared_ptr<http2_framing> framing_;
    std::optional<cutoff<watch_call>> watch_;
    http2_pulse pulse_;
    std::size_t room_ = 0;
    std::atomic<std::size_t> answers_{0};
    bool scheduled_ = false;
    bool writing_ = false;
    bool over_ = false;
    bool closing_ = false;
    bool silent_ = false;
    bool used_before_ = false;
    bool begun_ = false;
    bool retired_ = false;  // on the lane
    bool reading_ = false;  // on the lane
    std::string out_;       // on the lane
};

}  // namespace llmkit::detail
