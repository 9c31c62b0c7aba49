// llmkit/transport/resolver.hpp: host names to addresses, asked once for all who wait.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include <asio/ip/tcp.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/core/wait.hpp>

namespace llmkit::detail {

using addresses = std::vector<asio::ip::tcp::endpoint>;

/// Looks up names. `getaddrinfo` cannot be cancelled, so it runs detached and callers wait for it
/// with a limit of their own: a caller who is cancelled returns at once. Callers of one name share
/// one lookup, and its result for a few seconds. Thread-safe.
class resolver final : public std::enable_shared_from_this<resolver> {
public:
    explicit resolver(clock_handle time) : time_(std::move(time)) {}

    /// The addresses of a host; `timeout` or `closed` when the limit came first.
    static task<result<addresses>> find(std::shared_ptr<resolver> self, std::string host,
                                        std::uint16_t port, limit until) {
        std::error_code not_literal;
        const auto literal = asio::ip::make_address(host, not_literal);
        if (!not_literal) co_return addresses{{literal, port}};

        std::unique_lock lock(self->mutex_);
        std::string name = host + ':' + std::to_string(port);
        auto& known = self->lookups_[name];
        const bool asks = !known || (known->done && known->good_until < self->time_.now());
        if (asks) known = std::make_shared<lookup>();
        const std::shared_ptr<lookup> mine = known;
        if (asks) {
            lock.unlock();
            self->ask(mine, host, port);
            lock.lock();
        }
        while (!mine->done) {
            const woke why = co_await wait(lock, mine->ended, self->time_, until);
            if (why == woke::by_bell) continue;
            lock.unlock();
            if (why == woke::by_close) co_return error(error_kind::closed, "the pipeline closed");
            co_return error(error_kind::timeout, "looking up the host name took too long");
        }
        if (mine->found.empty()) {
            if (known_is(*self, name, mine)) self->lookups_.erase(name);
            const std::string why = mine->failed ? mine->failed.message() : "no address";
            lock.unlock();
            co_return error(error_kind::resolve, "no address for host " + host + " (" + why + ")");
        }
        addresses found = mine->found;
        co_return found;
    }

    /// Forgets a host, whose addresses turned out to be of no use.
    void forget(const std::string& host, std::uint16_t port) {
        std::lock_guard lock(mutex_);
        const auto it = lookups_.find(host + ':' + std::to_string(port));
        if (it != lookups_.end() && it->second->done) lookups_.erase(it);
    }

private:
    static constexpr auto keep = std::chrono::seconds(5);

    struct lookup {
        bool done = false;
        addresses found;
        std::error_code failed;
        time_point good_until;
        bell ended;
    };

    static bool known_is(resolver& self, const std::string& name,
                         const std::shared_ptr<lookup>& one) {
        const auto it = self.lookups_.find(name);
        return it != self.lookups_.end() && it->second == one;
    }

    void ask(std::shared_ptr<lookup> one, const std::string& host, std::uint16_t port) {
        auto asked = std::make_shared<asio::ip::tcp::resolver>(time_.base());
        auto& names = *asked;
        names.async_resolve(
            host, std::to_string(port),
            [self = shared_from_this(), one = std::move(one), asked = std::move(asked)](
                const std::error_code& failed, const asio::ip::tcp::resolver::results_type& found) {
                std::vector<wakeup> woken;
                std::lock_guard lock(self->mutex_);
                one->failed = failed;
                for (const auto& entry : found) one->found.push_back(entry.endpoint());
                one->good_until = after(self->time_.now(), keep);
                one->done = true;
                woken = one->ended.ring_all();
            });
    }

    clock_handle time_;
    std::mutex mutex_;
    std::unordered_map<std::string, std::shared_ptr<lookup>> lookups_;
};

}  // namespace llmkit::detail
