// llmkit/cache/redis_client.hpp: commands to a Redis, pipelined by themselves.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <llmkit/cache/redis_options.hpp>
#include <llmkit/cache/redis_route.hpp>
#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/resp_write.hpp>
#include <llmkit/detail/sha1.hpp>

namespace llmkit {

/// A Lua script that a Redis runs as one step.
class redis_script {
public:
    explicit redis_script(std::string text)
        : text_(std::move(text)), sha1_(detail::sha1_hex(text_)) {}
    const std::string& text() const { return text_; }
    const std::string& sha1() const { return sha1_; }

private:
    std::string text_;
    std::string sha1_;
};

/// Speaks with a Redis: redis://, rediss:// (TLS) or redis+unix:///path?db=0.
///
///     llmkit::redis_client redis("redis://:password@localhost:6379/0");
///     auto reply = co_await redis.command(until, "INCRBY", key, 5);
///     if (reply) fmt::print("{}\n", reply->integer());
///
/// A handle: copies share the connections; thread-safe. There are few (`store_policy`), made when a
/// command wants them and kept, on the io_context of the callers; commands of all callers follow
/// each other on them, so do not send what blocks (BLPOP, WAIT, SUBSCRIBE, MULTI). A command whose
/// connection ends before its reply fails, and nobody knows whether Redis did it. While Redis is
/// away commands fail at once, and it is tried again and again (`store_policy::retry_first`).
///
/// An error that Redis replies is an error here: its first word is the error's `code()`.
class redis_client {
public:
    explicit redis_client(std::string_view url, redis_options options = {})
        : owner_(std::make_shared<owner>(route_to(url, options))) {}
    explicit redis_client(std::shared_ptr<detail::redis_route> by)
        : owner_(std::make_shared<owner>(std::move(by))) {}

    /// Sends a command and waits for its reply until the limit. Words are texts or whole numbers.
    /// In a cluster the second word is the key, which says who is asked.
    template <detail::resp_word... Words>
    task<result<redis_reply>> command(limit until, const Words&... words) const {
        return told(owner_, detail::resp_command(words...), second(words...), until);
    }
    /// The same for words that are known only when the program runs.
    task<result<redis_reply>> command_of(limit until, const std::vector<std::string>& words) const {
        return told(owner_, detail::resp_command_of(words),
                    words.size() > 1 ? words[1] : std::string(), until);
    }
    /// Runs a script on a key with arguments: `KEYS[1]`, `ARGV[1]` and so on. Only its name is sent,
    /// but to a server that does not know it yet.
    template <detail::resp_word... Arguments>
    task<result<redis_reply>> run(limit until, const redis_script& script, std::string_view key,
                                  const Arguments&... arguments) const {
        return ran(owner_, detail::resp_command("EVALSHA", script.sha1(), 1, key, arguments...),
                   detail::resp_command("EVAL", script.text(), 1, key, arguments...),
                   std::string(key), until);
    }

    /// Why the URL cannot be used, if so: then every command fails with this.
    std::optional<error> problem() const { return owner_->problem; }
    store_figures figures() const { return owner_->route->figures(); }
    /// The same for `metrics::watch`.
    std::vector<reading> readings() const { return figures().readings(); }
    /// Ends all connections; commands fail from then on, on all copies.
    void close() const { owner_->route->close(); }

private:
    struct owner {
        explicit owner(std::shared_ptr<detail::redis_route> by) : route(std::move(by)) {}
        explicit owner(result<std::shared_ptr<detail::redis_route>> by) {
            if (by) {
                route = std::move(*by);
            } else {
                problem = by.error();
                route = std::make_shared<detail::redis_no_route>(*problem);
            }
        }
        owner(const owner&) = delete;
        owner& operator=(const owner&) = delete;
        ~owner() { route->close(); }
        std::optional<error> problem;
        std::shared_ptr<detail::redis_route> route;
    };

    static result<std::shared_ptr<detail::redis_route>> route_to(std::string_view url,
                                                                 const redis_options& options) {
        auto to = detail::store_address::parse(url, detail::redis_schemes);
        if (!to) return to.error();
        auto greeting = detail::redis_greeting(*to);
        if (!greeting) return greeting.error();
        return std::shared_ptr<detail::redis_route>(std::make_shared<detail::redis_server_route>(
            detail::redis_links_to(std::move(*to), std::move(*greeting), options)));
    }
    template <class... Words>
    static std::string second(const Words&... words) {
        if constexpr (sizeof...(Words) > 1) {
            const auto& word = std::get<1>(std::tie(words...));
            if constexpr (std::integral<std::remove_cvref_t<decltype(word)>>) {
                return std::to_string(word);
            } else {
                return std::string(std::string_view(word));
            }
        }
        return {};
    }

    static task<result<redis_reply>> told(std::shared_ptr<owner> with, std::string request,
                                          std::string key, limit until) {
        auto reply = co_await with->route->ask(std::move(request), key, until);
        if (reply && reply->is_error()) co_return detail::redis_error(reply->text());
        co_return reply;
    }
    static task<result<redis_reply>> ran(std::shared_ptr<owner> with, std::string named,
                                         std::string whole, std::string key, limit until) {
        auto reply = co_await with->route->ask(std::move(named), key, until);
        if (reply && reply->is_error() && reply->text().starts_with("NOSCRIPT"))
            reply = co_await with->route->ask(std::move(whole), key, until);
        if (reply && reply->is_error()) co_return detail::redis_error(reply->text());
        co_return reply;
    }

    std::shared_ptr<owner> owner_;
};

}  // namespace llmkit
