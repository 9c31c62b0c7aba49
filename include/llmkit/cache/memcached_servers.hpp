// llmkit/cache/memcached_servers.hpp: several memcached servers, each of which has its part of the keys.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/cache/memcached_options.hpp>
#include <llmkit/cache/store_links.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/detail/hash_ring.hpp>
#include <llmkit/detail/memcached_write.hpp>

namespace llmkit::detail {

/// Leads each key to its server. A server that is away takes its keys with it: they are asked of
/// nobody else, so that no old answer lies in wait for the day on which it is away again.
class memcached_servers {
public:
    using links = store_links<memcached_parser>;

    /// `list`: servers with commas between, "host", "host:port" or a URL each.
    memcached_servers(std::string_view list, const memcached_options& options) {
        std::vector<std::string> names;
        while (!problem_) {
            const std::size_t comma = list.find(',');
            add(std::string(list.substr(0, comma)), options, names);
            if (comma == std::string_view::npos) break;
            list.remove_prefix(comma + 1);
        }
        constexpr std::size_t most = memcached_longest_key - 50;
        if (!problem_ && (options.prefix().size() > most || !memcached_key_text(options.prefix())))
            problem_ =
                error(error_kind::configuration, "the prefix of memcached keys cannot be used")
                    .with_advice("At most 200 bytes, without spaces and control characters.");
        ring_ = hash_ring(names);
    }
    memcached_servers(const memcached_servers&) = delete;
    memcached_servers& operator=(const memcached_servers&) = delete;
    ~memcached_servers() { close(); }

    const std::optional<error>& problem() const { return problem_; }

    task<result<memcached_reply>> ask(const key128& key, std::string request, limit until) const {
        if (problem_) return refuse(*problem_);
        return links::ask(all_[ring_.server_of(key)], std::move(request), until);
    }
    store_figures figures() const {
        store_figures sum;
        for (const auto& one : all_) sum += one->figures();
        return sum;
    }
    void close() {
        for (const auto& one : all_) one->close();
    }

private:
    static task<result<memcached_reply>> refuse(error why) { co_return why; }

    void add(std::string text, const memcached_options& options, std::vector<std::string>& names) {
        const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n'; };
        while (!text.empty() && blank(text.front())) text.erase(0, 1);
        while (!text.empty() && blank(text.back())) text.pop_back();
        if (text.find("://") == std::string::npos) text.insert(0, "memcached://");
        auto to = store_address::parse(text, memcached_schemes);
        if (!to) {
            problem_ = to.error();
            return;
        }
        for (const std::string& other : names)
            if (other == to->name()) {
                problem_ = error(error_kind::configuration, other + " is named twice");
                return;
            }
        names.push_back(to->name());
        auto greeting = memcached_greeting(*to);
        auto site = std::make_shared<const store_site<memcached_parser>>(
            std::move(*to), options.policy(), std::move(greeting), memcached_parser());
        all_.push_back(std::make_shared<links>(std::move(site), options.tls()));
    }

    std::optional<error> problem_;
    std::vector<std::shared_ptr<links>> all_;
    hash_ring ring_;
};

}  // namespace llmkit::detail
