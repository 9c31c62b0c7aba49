// llmkit/cache/redis_options.hpp: how a Redis is reached and what our keys in it look like.
#pragma once

#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/store_address.hpp>
#include <llmkit/cache/store_policy.hpp>
#include <llmkit/cache/store_site.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/resp_parser.hpp>
#include <llmkit/detail/resp_value.hpp>
#include <llmkit/detail/resp_write.hpp>
#include <llmkit/transport/channel.hpp>

namespace llmkit {

/// Everything that a Redis client or cache can be told besides its URL.
///
///     auto options = llmkit::redis_options().tls(llmkit::tls()).prefix("shop:");
///     llmkit::redis_cache answers("rediss://:password@cache.example", options);
class redis_options {
public:
    redis_options() {}

    /// Encrypts `rediss://` URLs; without it they are an error of kind `configuration`.
    redis_options& tls(encryption how) {
        tls_ = std::move(how);
        return *this;
    }
    /// Connections, time and bounds.
    redis_options& policy(const store_policy& bounds) {
        policy_ = bounds;
        return *this;
    }
    /// What all keys of a cache begin with, "llmkit:" by default. Caches with different prefixes
    /// share nothing.
    redis_options& prefix(std::string text) {
        prefix_ = std::move(text);
        return *this;
    }
    /// How entries become bytes: plain by default, or `zstd_codec()`.
    redis_options& codec(entry_codec how) {
        codec_ = std::move(how);
        return *this;
    }

    /// How long a lease lasts that is not renewed: so long others wait for a process that died while
    /// it asked for an answer. At least 10 ms; renewed three times in that time.
    redis_options& lease_term(duration span) {
        lease_term_ = span;
        return *this;
    }

    const encryption& tls() const { return tls_; }
    const store_policy& policy() const { return policy_; }
    const std::string& prefix() const { return prefix_; }
    const entry_codec& codec() const { return codec_; }
    duration lease_term() const { return lease_term_; }

private:
    encryption tls_;
    store_policy policy_;
    std::string prefix_ = "llmkit:";
    entry_codec codec_;
    duration lease_term_ = std::chrono::seconds(5);
};

/// What a Redis replied: nil, text, error, integer, number or list.
using redis_reply = detail::resp_value;

namespace detail {

inline constexpr store_schemes redis_schemes{"redis", "rediss", "redis+unix", 6379};

/// A server's own error, such as "WRONGTYPE Operation against a key …", as one of ours.
inline error redis_error(const std::string& text) {
    const std::string code = text.substr(0, text.find(' '));
    const auto is = [&](std::string_view one) { return code == one; };
    error_kind kind = error_kind::invalid_request;
    std::string advice = "Mend the command: sent again it fails again.";
    if (is("NOAUTH") || is("WRONGPASS")) {
        kind = error_kind::authentication;
        advice = "Check the user and the password in the store's URL.";
    } else if (is("NOPERM")) {
        kind = error_kind::permission;
        advice = "Give this user of Redis the right to this command and these keys (ACL).";
    } else if (is("LOADING") || is("BUSY") || is("TRYAGAIN") || is("CLUSTERDOWN") ||
               is("MASTERDOWN") || is("OOM")) {
        kind = error_kind::overloaded;
        advice = is("OOM") ? "Raise Redis's maxmemory, or set a maxmemory-policy that evicts."
                           : "Try again later.";
    } else if (is("READONLY") || is("MISCONF") || is("NOREPLICAS")) {
        kind = error_kind::server;
        advice = "Check that this Redis may be written to.";
    } else if (is("MOVED") || is("ASK")) {
        kind = error_kind::configuration;
        advice = "This is a cluster: use redis_cluster_cache or redis_cluster.";
    }
    return error(kind, "Redis said: " + text).with_code(code).with_advice(advice);
}

/// What is said first on a connection: who we are, which database, and whether anybody answers.
inline result<store_greeting<redis_reply>> redis_greeting(const store_address& to) {
    store_greeting<redis_reply> out;
    if (!to.password.empty()) {
        out.text += to.user.empty() ? resp_command("AUTH", to.password)
                                    : resp_command("AUTH", to.user, to.password);
        ++out.replies;
    }
    std::string_view database = to.rest;
    if (to.query.starts_with("db=")) database = std::string_view(to.query).substr(3);
    if (!database.empty()) {
        unsigned number = 0;
        const char* const end = database.data() + database.size();
        const auto read = std::from_chars(database.data(), end, number);
        if (read.ec != std::errc() || read.ptr != end)
            return error(error_kind::configuration, "the store's URL names no database")
                .with_advice("Write its number after the host, like redis://host:6379/0.");
        if (number > 0) {
            out.text += resp_command("SELECT", number);
            ++out.replies;
        }
    }
    out.text += resp_command("PING");
    ++out.replies;
    out.judge = [](const redis_reply& said) -> std::optional<error> {
        if (!said.is_error()) return std::nullopt;
        return redis_error(said.text());
    };
    return out;
}

}  // namespace detail

}  // namespace llmkit
