// llmkit/cache/store_link.hpp: a connection to a store, on which the commands of many follow each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <llmkit/cache/store_buffers.hpp>
#include <llmkit/cache/store_command.hpp>
#include <llmkit/cache/store_dial.hpp>
#include <llmkit/cache/store_error.hpp>
#include <llmkit/cache/store_greet.hpp>
#include <llmkit/cache/store_outage.hpp>
#include <llmkit/cache/store_site.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// One connection, made when a command wants it and again after it was lost.
///
/// Commands that come together go out in one write, and replies are handed out in the order of the
/// commands. Who gives up leaves his place, and the reply for it is dropped. While no command waits
/// nothing is pending, so an idle connection keeps no io_context running.
///
/// Commands on a connection that is lost fail, because nobody knows whether the server did them;
/// those that were not sent yet go out over the next one. After a failure to connect, or when the
/// server fell silent, commands fail at once until it is time to try again; the first command then
/// waits for the outcome, and the others still fail at once.
///
/// Callers may be on any thread; the socket is used on a lane of its own. `close` ends everything.
template <class Parser>
class store_link final : public droppable,
                         public write_sink,
                         public std::enable_shared_from_this<store_link<Parser>> {
public:
    using reply = typename Parser::reply;
    using site = store_site<Parser>;

    store_link(std::shared_ptr<const store_network> net, std::shared_ptr<const site> to)
        : net_(std::move(net)),
          site_(std::move(to)),
          lane_(net_->time.lane()),
          outage_(site_->policy, net_->time.seed()),
          in_(site_->parser) {
        net_->sockets->add(*this);
    }
    store_link(const store_link&) = delete;
    store_link& operator=(const store_link&) = delete;
    ~store_link() { net_->sockets->remove(*this); }

    /// Sends a command, which has exactly one reply, and waits for that until the limit.
    static task<result<reply>> ask(std::shared_ptr<store_link> self, std::string request,
                                   limit until) {
        seat mine(*self, std::move(request));  // outlives the lock
        std::unique_lock lock(self->mutex_);
        if (self->join(mine)) {
            self->go_on(lock);
            lock.lock();
        }
        while (!mine.done) {
            const woke why = co_await wait(lock, mine.changed, self->net_->time, until);
            if (mine.done || why == woke::by_bell) continue;
            lock.unlock();
            if (why == woke::by_close) co_return closed_meanwhile();
            co_return store_late(self->site_->where.name());
        }
        lock.unlock();
        co_return std::move(mine.got);
    }

    /// Fails all commands, now and later, and lets go of the connection.
    void close() {
        std::vector<wakeup> woken;  // fired without the lock
        std::shared_ptr<wire> line;
        std::optional<child<void>> attempt;
        std::lock_guard lock(mutex_);
        if (std::exchange(closed_, true)) return;
        line = let_go();
        attempt.swap(attempt_);
        fail(sent_, store_closed(), woken);
        fail(unsent_, store_closed(), woken);
        if (line) line->cut();
    }

    /// How many commands wait.
    std::size_t waiting() const {
        std::lock_guard lock(mutex_);
        return sent_.size() + unsent_.size();
    }
    /// The io_context has ended.
    bool gone() const {
        std::lock_guard lock(mutex_);
        return gone_;
    }
    void drop() noexcept override {
        std::lock_guard lock(mutex_);
        lane_ = executor();
        gone_ = true;
    }

    /// A write that did not end at once has ended.
    void written(bool whole) noexcept override {
        std::shared_ptr<wire> line;  // dropped without the lock
        std::unique_lock lock(mutex_);
        line = std::move(writing_);
        if (whole) {
            lock.unlock();
            flush();
        } else if (line == line_) {
            line->cut();
        } else if (line_) {
            go_on(lock);
        }
    }

private:
    using command = store_command<reply>;
    using queue = store_queue<reply>;
    struct seat final : command {
        seat(store_link& in, std::string text) : command(std::move(text)), link(in) {}
        ~seat() { link.leave(*this); }
        store_link& link;
    };

    // All up to `go_on`: under the mutex.
    bool join(command& mine) {
        const store_policy& most = site_->policy;
        const time_point now = net_->time.now();
        ++site_->counts.commands;
        std::optional<error> why;
        if (closed_) {
            why = store_closed();
        } else if (gone_) {
            why = error(error_kind::closed, "the io_context has ended");
        } else if (!line_ && outage_.holds(now, connecting_)) {
            why = outage_.why();
        } else {
            unsent_.tidy();
            if (sent_.size() + unsent_.size() >= most.max_commands ||
                unsent_.bytes() + mine.size > most.max_bytes)
                why = store_full(site_->where.name());
        }
        if (why) {
            mine.got = std::move(*why);
            mine.done = true;
            ++site_->counts.failures;
            return false;
        }
        mine.joined = true;
        mine.asked = now;
        unsent_.push(mine);
        ++site_->counts.waiting;
        return true;
    }
    void leave(command& mine) {
        std::lock_guard lock(mutex_);
        if (!mine.joined || mine.done) return;
        (mine.sent ? sent_ : unsent_).leave(mine);
        --site_->counts.waiting;
        ++site_->counts.given_up;
    }
    void end(command& one, result<reply> how, std::vector<wakeup>& woken) {
        one.got = std::move(how);
        one.done = true;
        --site_->counts.waiting;
        if (auto who = one.changed.ring_one()) woken.push_back(std::move(who));
    }
    void fail(queue& all, const error& why, std::vector<wakeup>& woken) {
        while (!all.empty()) {
            command* const one = all.pop();
            if (!one) continue;
            ++site_->counts.failures;
            end(*one, why, woken);
        }
    }
    /// Takes the connection out of use; the caller cuts it, and drops it without the mutex.
    std::shared_ptr<wire> let_go() {
        watch_.reset();
        if (line_) --site_->counts.connections;
        return std::exchange(line_, nullptr);
    }

    /// Gives the mutex up, and sees to it that what is to be sent will be.
    void go_on(std::unique_lock<std::mutex>& lock) {
        const bool wanted = !unsent_.empty() && !gone_;
        const bool send = wanted && line_ && !writing_ && !std::exchange(scheduled_, true);
        const bool dial = wanted && !line_ && !std::exchange(connecting_, true);
        const executor where = lane_;
        lock.unlock();
        if (dial) begin_attempt();
        if (send) asio::post(where, [self = this->shared_from_this()] { self->flush(); });
    }

    // Connecting, on a lane of the attempt's own.
    void begin_attempt() {
        std::optional<child<void>> attempt(std::in_place, net_->time,
                                           connect(this->shared_from_this()));
        std::lock_guard lock(mutex_);  // whatever is left in `attempt` ends after it
        if (!closed_) attempt.swap(attempt_);
    }
    /// Tells how the attempt ended, also when its frame is destroyed.
    struct attempt_end {
        explicit attempt_end(std::shared_ptr<store_link> of) : link(std::move(of)) {}
        attempt_end(const attempt_end&) = delete;
        ~attempt_end() {
            if (link) link->unreached(std::move(why));
        }
        std::shared_ptr<store_link> link;
        error why{error_kind::closed, "connecting was broken off"};
    };
    static task<void> connect(std::shared_ptr<store_link> self) {
        attempt_end end(self);
        const auto line = std::make_shared<wire>(self->net_->sockets, self->net_->time.base());
        Parser parser(self->site_->parser);
        auto met = co_await meet_store(self->net_, *self->site_, line, parser);
        if (!met) {
            end.why = met.error();
            co_return;
        }
        end.link = nullptr;
        self->connected(line, std::move(parser));
    }
    void connected(std::shared_ptr<wire> line, Parser parser) {
        std::unique_lock lock(mutex_);
        connecting_ = false;
        if (closed_) return;
        ++site_->counts.connected;
        ++site_->counts.connections;
        line_ = std::move(line);
        in_.restart(std::move(parser));
        outage_.over();
        silent_ = fruitful_ = false;
        go_on(lock);
    }
    void unreached(error why) {
        std::vector<wakeup> woken;  // fired without the lock
        std::lock_guard lock(mutex_);
        connecting_ = false;
        ++site_->counts.unreached;
        outage_.failed(std::move(why), net_->time.now());
        fail(unsent_, outage_.why(), woken);
    }

    // The rest: on the lane.
    void flush() {
        for (;;) {
            std::shared_ptr<wire> line;
            executor where;
            {
                std::unique_lock lock(mutex_);
                scheduled_ = false;
                if (!line_ || writing_ || unsent_.empty()) return;
                line = line_;
                // Servers close what is idle.
                if (sent_.empty() && !line->quiet()) return lose(lock, asio::error::eof);
                if (!gather()) return;
                writing_ = line;
                where = lane_;
            }
            const sent how = line->write(out_.buffers(), where, this->shared_from_this());
            read_on(line, where);
            if (how == sent::later) return;
            std::lock_guard lock(mutex_);
            writing_.reset();  // not the last: `line` is another
            if (how == sent::failed) return line->cut();
        }
    }
    /// Under the mutex: takes what goes out in one write. False: nobody wants anything any more.
    bool gather() {
        out_.clear();
        const bool idle = sent_.empty();
        while (!unsent_.empty() && !out_.full()) {
            command* const one = unsent_.pop();
            if (!one) continue;
            site_->counts.bytes_sent += one->size;
            out_.add(std::move(one->request));
            one->sent = true;
            sent_.push(*one);
        }
        if (idle && !sent_.empty()) {
            heard_ = net_->time.now();
            watch(after(heard_, site_->policy.silence));
        }
        return !out_.empty();
    }
    void read_on(const std::shared_ptr<wire>& line, const executor& where) {
        if (std::exchange(reading_, true)) return;
        auto told = [self = this->shared_from_this(), line](const std::error_code&) {
            self->readable(line);
        };
        if (!line->when_readable(asio::bind_executor(where, std::move(told)))) reading_ = false;
    }
    void readable(const std::shared_ptr<wire>& line) {
        reading_ = false;
        std::error_code failed;
        site_->counts.bytes_received += in_.take(*line, site_->where.secure, failed);
        hand_out(line, failed);
        woken_.clear();  // which fires them
    }
    void hand_out(const std::shared_ptr<wire>& line, std::error_code failed) {
        std::unique_lock lock(mutex_);
        if (line_ != line) return in_.came().clear();
        const time_point now = net_->time.now();
        heard_ = now;
        for (reply& one : in_.came()) {
            if (sent_.empty()) {
                failed = asio::error::invalid_argument;  // nobody asked
                break;
            }
            fruitful_ = true;
            command* const asked = sent_.pop();
            if (!asked) continue;
            ++site_->counts.replies;
            site_->counts.reply_time += (now - asked->asked).count();
            end(*asked, std::move(one), woken_);
        }
        in_.came().clear();
        if (failed != asio::error::would_block) return lose(lock, failed);
        if (sent_.empty()) return watch_.reset();
        const executor where = lane_;
        lock.unlock();
        read_on(line, where);
    }
    /// Under the mutex, which is given up: the connection is of no use any more.
    void lose(std::unique_lock<std::mutex>& lock, const std::error_code& failed) {
        const std::string name = site_->where.name();
        const error why = silent_ ? store_silent(name, site_->policy.silence)
                                  : store_lost(name, failed, in_.problem());
        // Whoever takes commands and answers none is down.
        const bool down = silent_ || (!fruitful_ && !sent_.empty());
        std::vector<wakeup> woken;
        const std::shared_ptr<wire> line = let_go();
        ++site_->counts.lost;
        fail(sent_, why, woken);
        if (down) {
            outage_.failed(why, net_->time.now());
            fail(unsent_, why, woken);
        }
        line->cut();  // somebody may still be writing
        go_on(lock);
    }

    // Silence, on the clock's thread.
    struct watch_call {
        std::weak_ptr<store_link> of;
        void operator()(expiry) const {
            if (const auto link = of.lock()) link->look();
        }
    };
    void watch(time_point due) {
        limit until;
        until.until = due;
        watch_.emplace(net_->time, until, watch_call{this->weak_from_this()});
    }
    void look() {
        std::lock_guard lock(mutex_);
        if (!line_ || sent_.empty()) return;
        const time_point due = after(heard_, site_->policy.silence);
        if (net_->time.now() < due) return watch(due);
        silent_ = true;
        line_->cut();
    }

    const std::shared_ptr<const store_network> net_;
    const std::shared_ptr<const site> site_;

    mutable std::mutex mutex_;
    executor lane_;
    std::shared_ptr<wire> line_;     // while connected
    std::shared_ptr<wire> writing_;  // while a write has not ended
    std::optional<child<void>> attempt_;
    std::optional<cutoff<watch_call>> watch_;
    queue unsent_;
    queue sent_;
    time_point heard_;
    store_outage outage_;
    bool connecting_ = false;
    bool scheduled_ = false;
    bool silent_ = false;
    bool fruitful_ = false;
    bool closed_ = false;
    bool gone_ = false;

    store_intake<Parser> in_;  // from here on: on the lane
    store_outbox out_;
    bool reading_ = false;
    std::vector<wakeup> woken_;
};

}  // namespace llmkit::detail
