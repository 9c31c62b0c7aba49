// llmkit/transport/resolver.hpp: host names to addresses, asked once for all who wait.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/quiet_thread.hpp>
#include <llmkit/transport/name_lookup.hpp>
#include <llmkit/transport/policy.hpp>
#include <llmkit/transport/registry.hpp>

namespace llmkit::detail {

/// Looks up names. `getaddrinfo` can neither be cancelled nor be trusted to return soon, so it runs
/// on a few detached threads, and callers wait for it with a limit of their own: whoever is
/// cancelled returns at once. One name server that hangs holds up one thread, not the other names.
/// Callers of one name share one lookup, and its result for a while; what failed is asked again.
///
/// Nothing waits for a lookup that nobody wants any more: neither the io_context, which may go down
/// meanwhile, nor the end of the program. Thread-safe.
class resolver final : public droppable, public std::enable_shared_from_this<resolver> {
public:
    resolver(std::shared_ptr<socket_registry> in, clock_handle time, const http_policy& policy,
             name_lookup ask = system_lookup)
        : registry_(std::move(in)),
          time_(std::move(time)),
          keep_(policy.keep_names),
          most_names_(policy.max_names),
          most_threads_(std::max<std::size_t>(policy.max_lookups, 1)),
          ask_(std::move(ask)),
          base_(time_.base()) {
        registry_->add(*this);
    }
    resolver(const resolver&) = delete;
    resolver& operator=(const resolver&) = delete;
    ~resolver() { registry_->remove(*this); }

    /// The addresses of a host; `timeout` or `closed` when the limit came first.
    static task<result<addresses>> find(std::shared_ptr<resolver> self, std::string host,
                                        limit until) {
        std::error_code not_literal;
        const auto literal = asio::ip::make_address(host, not_literal);
        if (!not_literal) co_return addresses{literal};

        seat waiting(self);  // outlives the lock
        std::unique_lock lock(self->mutex_);
        const auto mine = waiting.take(self->lookup_of(host));
        while (!mine->done) {
            const woke why = co_await wait(lock, mine->ended, self->time_, until);
            if (why == woke::by_bell) continue;
            lock.unlock();
            if (why == woke::by_close) co_return error(error_kind::closed, "the pipeline closed");
            co_return error(error_kind::timeout, "looking up the host name took too long");
        }
        const looked_up got = mine->got;
        lock.unlock();
        if (got.found.empty())
            co_return error(error_kind::resolve,
                            "no address for host " + host + " (" + got.failed + ")");
        co_return got.found;
    }

    /// Forgets a host, whose addresses turned out to be of no use.
    void forget(const std::string& host) {
        std::lock_guard lock(mutex_);
        const auto it = known_.find(host);
        if (it != known_.end() && it->second->done) known_.erase(it);
    }
    /// Puts an address first for the next callers, because it answered when others did not.
    void prefer(const std::string& host, const asio::ip::address& good) {
        std::lock_guard lock(mutex_);
        const auto it = known_.find(host);
        if (it == known_.end() || !it->second->done) return;
        addresses& all = it->second->got.found;
        const auto at = std::find(all.begin(), all.end(), good);
        if (at != all.end()) std::rotate(all.begin(), at, at + 1);
    }

    void drop() noexcept override {
        std::lock_guard gate(gate_);
        base_ = executor();
    }

private:
    struct lookup {
        explicit lookup(std::string of) : host(std::move(of)) {}
        const std::string host;
        bool begun = false;
        bool done = false;
        std::size_t waiting = 0;
        looked_up got;
        time_point good_until;
        bell ended;
    };

    /// Somebody who wants a lookup. When the last one leaves before it has begun, it never does.
    class seat {
    public:
        explicit seat(std::shared_ptr<resolver> in) : in_(std::move(in)) {}
        seat(const seat&) = delete;
        seat& operator=(const seat&) = delete;
        ~seat() {
            if (!at_) return;
            std::lock_guard lock(in_->mutex_);
            if (--at_->waiting > 0 || at_->begun || at_->done) return;
            std::erase(in_->queue_, at_);
            in_->forget(at_);
        }
        /// Under the mutex.
        const std::shared_ptr<lookup>& take(std::shared_ptr<lookup> at) {
            at_ = std::move(at);
            ++at_->waiting;
            return at_;
        }

    private:
        std::shared_ptr<resolver> in_;
        std::shared_ptr<lookup> at_;
    };

    // The rest, but for `announce`: under the mutex.
    std::shared_ptr<lookup> lookup_of(const std::string& host) {
        const auto it = known_.find(host);
        if (it != known_.end()) {
            if (!it->second->done || time_.now() < it->second->good_until) return it->second;
            known_.erase(it);
        }
        make_room();
        auto fresh = std::make_shared<lookup>(host);
        known_.emplace(host, fresh);
        queue_.push_back(fresh);
        if (threads_ >= most_threads_) return fresh;
        if (start_quiet_thread([self = shared_from_this()] { self->work(); })) {
            ++threads_;
        } else if (threads_ == 0) {
            queue_.pop_back();
            known_.erase(host);
            fresh->got.failed = "no thread could be started to look it up";
            fresh->done = true;
        }
        return fresh;
    }
    void make_room() {
        if (known_.size() < most_names_) return;
        auto oldest = known_.end();
        for (auto it = known_.begin(); it != known_.end(); ++it) {
            if (!it->second->done) continue;
            if (oldest == known_.end() || it->second->good_until < oldest->second->good_until)
                oldest = it;
        }
        if (oldest != known_.end()) known_.erase(oldest);
    }
    void forget(const std::shared_ptr<lookup>& one) {
        const auto it = known_.find(one->host);
        if (it != known_.end() && it->second == one) known_.erase(it);
    }

    // What a thread does until there is nothing left to look up.
    void work() {
        std::unique_lock lock(mutex_);
        while (!queue_.empty()) {
            const std::shared_ptr<lookup> one = std::move(queue_.front());
            queue_.pop_front();
            one->begun = true;
            lock.unlock();
            looked_up got = ask_(one->host);
            lock.lock();
            one->got = std::move(got);
            one->good_until = after(time_.now(), keep_);
            one->done = true;
            if (one->got.found.empty()) forget(one);
            lock.unlock();
            announce(one);
            lock.lock();
        }
        --threads_;
    }
    // The gate is not the mutex, and what is posted is our own: nothing that runs or ends in a
    // context that is going down can come back here for either.
    void announce(const std::shared_ptr<lookup>& one) {
        std::lock_guard gate(gate_);
        if (!base_) return;
        asio::post(base_, [self = shared_from_this(), one] {
            std::vector<wakeup> woken;
            std::lock_guard lock(self->mutex_);
            woken = one->ended.ring_all();
        });
    }

    const std::shared_ptr<socket_registry> registry_;
    const clock_handle time_;
    const duration keep_;
    const std::size_t most_names_;
    const std::size_t most_threads_;
    const name_lookup ask_;

    std::mutex mutex_;
    std::unordered_map<std::string, std::shared_ptr<lookup>> known_;
    std::deque<std::shared_ptr<lookup>> queue_;
    std::size_t threads_ = 0;

    std::mutex gate_;  // held while posting, so that the context cannot go down meanwhile
    executor base_;
};

}  // namespace llmkit::detail
