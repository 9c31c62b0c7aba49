// llmkit/cache/memcached_options.hpp: how memcached is reached, and what our items in it look like.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/store_address.hpp>
#include <llmkit/cache/store_policy.hpp>
#include <llmkit/cache/store_site.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/detail/memcached_parser.hpp>
#include <llmkit/transport/channel.hpp>

namespace llmkit {

/// Everything that a memcached cache can be told besides its servers.
///
///     auto options = llmkit::memcached_options().prefix("shop:").max_item_bytes(8 << 20);
///     llmkit::memcached_cache answers("cache1.example,cache2.example", options);
class memcached_options {
public:
    memcached_options() {}

    /// Encrypts `memcacheds://` servers; without it they are an error of kind `configuration`.
    memcached_options& tls(encryption how) {
        tls_ = std::move(how);
        return *this;
    }
    /// Connections, time and bounds, for each server.
    memcached_options& policy(const store_policy& bounds) {
        policy_ = bounds;
        return *this;
    }
    /// What all keys begin with, "llmkit:" by default: at most 200 bytes without spaces. Caches with
    /// different prefixes share nothing.
    memcached_options& prefix(std::string text) {
        prefix_ = std::move(text);
        return *this;
    }
    /// Larger entries are not sent: a little below memcached's own limit (`-I`, 1 MiB by default).
    memcached_options& max_item_bytes(std::size_t most) {
        max_item_bytes_ = most;
        return *this;
    }
    /// How entries become bytes: plain by default, or `zstd_codec()`.
    memcached_options& codec(entry_codec how) {
        codec_ = std::move(how);
        return *this;
    }

    const encryption& tls() const { return tls_; }
    const store_policy& policy() const { return policy_; }
    const std::string& prefix() const { return prefix_; }
    std::size_t max_item_bytes() const { return max_item_bytes_; }
    const entry_codec& codec() const { return codec_; }

private:
    encryption tls_;
    store_policy policy_;
    std::string prefix_ = "llmkit:";
    std::size_t max_item_bytes_ = (std::size_t{1} << 20) - 1024;
    entry_codec codec_;
};

namespace detail {

inline constexpr store_schemes memcached_schemes{"memcached", "memcacheds", "memcached+unix",
                                                 11211};

/// A server's own error, such as "SERVER_ERROR out of memory storing object", as one of ours.
inline error memcached_error(const std::string& text) {
    const std::string code = text.substr(0, text.find(' '));
    error_kind kind = error_kind::invalid_request;
    std::string advice = "Check that nothing but memcached listens there.";
    if (text.find("unauthenticated") != std::string::npos ||
        text.find("authentication failure") != std::string::npos) {
        kind = error_kind::authentication;
        advice = "Check the user and the password in the server's URL.";
    } else if (code == "ERROR") {
        kind = error_kind::configuration;
        advice = "Use memcached 1.6 or newer, which has the meta commands.";
    } else if (code == "SERVER_ERROR") {
        kind = error_kind::overloaded;
        advice = "Give memcached more memory (-m), or let it evict (no -M).";
    }
    return error(kind, "memcached said: " + text).with_code(code).with_advice(advice);
}

/// What is said first on a connection: who we are, if anybody, and whether it knows our commands.
inline store_greeting<memcached_reply> memcached_greeting(const store_address& to) {
    store_greeting<memcached_reply> out;
    if (!to.user.empty() || !to.password.empty()) {
        const std::string who = to.user + ' ' + to.password;
        out.text = "set auth 0 0 " + std::to_string(who.size()) + "\r\n" + who + "\r\n";
        ++out.replies;
    }
    out.text += "mn\r\n";
    ++out.replies;
    out.judge = [](const memcached_reply& said) -> std::optional<error> {
        if (said.kind != memcached_kind::error) return std::nullopt;
        return memcached_error(said.text);
    };
    return out;
}

}  // namespace detail

}  // namespace llmkit
