// llmkit/cache/postgres_address.hpp: where a PostgreSQL is, and as whom to speak with it.
#pragma once

#include <libpq-fe.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <asio/ip/address.hpp>

#include <llmkit/core/error.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/name_lookup.hpp>

namespace llmkit::detail {

/// A connection string of libpq's, "postgresql://…" or "host=… dbname=…", taken apart. What it does
/// not say comes from libpq's environment (PGHOST, PGPASSFILE, …).
class postgres_address {
public:
    using parameters = std::vector<std::pair<std::string, std::string>>;

    static result<postgres_address> parse(const std::string& text) {
        // libpq's own words may repeat a part of the text, and that part may be the password.
        char* words = nullptr;
        const options given(PQconninfoParse(text.c_str(), &words), &PQconninfoFree);
        PQfreemem(words);
        if (!given || text.empty())
            return error(error_kind::configuration, "the PostgreSQL connection string is malformed")
                .with_advice(
                    "Write postgresql://user:password@host:port/database?sslmode=verify-full, with "
                    "special characters in it as %XX.");
        postgres_address out;
        for (const PQconninfoOption* each = given.get(); each->keyword; ++each)
            if (each->val) out.said_.emplace_back(each->keyword, each->val);
        const options usual(PQconndefaults(), &PQconninfoFree);
        for (const PQconninfoOption* each = usual.get(); each && each->keyword; ++each) {
            const std::string_view name = each->keyword;
            if (name == "host" || name == "hostaddr" || name == "port" || name == "user")
                if (each->val && out.get(name).empty()) out.usual_.emplace_back(name, each->val);
        }
        return out;
    }

    /// For errors and logs: "user@host:port/database", never a password.
    std::string name() const {
        std::string host = effective("host");
        if (host.empty()) host = effective("hostaddr");
        if (host.empty()) host = "local";
        const std::string user = effective("user");
        return fmt::format("PostgreSQL {}{}{}:{}/{}", user, user.empty() ? "" : "@", host,
                           effective("port"), get("dbname"));
    }

    /// The hosts whose addresses must be looked up. libpq would do so itself, and block meanwhile.
    std::vector<std::string> names() const {
        std::vector<std::string> out;
        if (!effective("hostaddr").empty() || !get("service").empty()) return out;
        for (auto& host : split(effective("host")))
            if (is_name(host)) out.push_back(std::move(host));
        return out;
    }
    /// What libpq is to be told, with the addresses of `names`, in their order. A host without an
    /// address is left out; empty when none is left.
    parameters with(const std::vector<addresses>& found) const {
        parameters out = said_;
        if (names().empty()) return out;
        const auto hosts = split(effective("host"));
        const auto ports = split(effective("port"));
        std::vector<std::string> to, at, by;  // three lists of one length, as libpq wants them
        const auto add = [&](std::size_t i, std::string address) {
            to.push_back(hosts[i]);
            at.push_back(std::move(address));
            by.push_back(ports.empty() ? std::string() : ports[std::min(i, ports.size() - 1)]);
        };
        std::size_t asked = 0;
        for (std::size_t i = 0; i < hosts.size(); ++i) {
            if (!is_name(hosts[i])) {
                add(i, "");
            } else if (asked < found.size()) {
                for (const auto& each : found[asked++]) add(i, each.to_string());
            }
        }
        if (to.empty()) return {};
        std::erase_if(out, [](const auto& one) {
            return one.first == "host" || one.first == "hostaddr" || one.first == "port";
        });
        out.emplace_back("host", fmt::format("{}", fmt::join(to, ",")));
        out.emplace_back("hostaddr", fmt::format("{}", fmt::join(at, ",")));
        out.emplace_back("port", fmt::format("{}", fmt::join(by, ",")));
        return out;
    }

    /// A message of libpq's on one line, without the password, whatever libpq thinks of that.
    std::string in_a_line(std::string_view message) const {
        std::string out;
        while (!message.empty() && out.size() < 500) {
            const std::string_view line = message.substr(0, message.find('\n'));
            message.remove_prefix(std::min(line.size() + 1, message.size()));
            if (line.empty() || line.starts_with("LOCATION:") || line.front() == '\t') continue;
            if (!out.empty()) out += "; ";
            out += line;
        }
        const std::string secret = get("password");
        if (secret.empty()) return out;
        for (std::size_t at = 0; (at = out.find(secret, at)) != std::string::npos; at += 3)
            out.replace(at, secret.size(), "***");
        return out;
    }

private:
    using options = std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)>;

    static std::string value_of(const parameters& among, std::string_view name) {
        for (const auto& [key, value] : among)
            if (key == name) return value;
        return {};
    }
    std::string get(std::string_view name) const { return value_of(said_, name); }
    std::string effective(std::string_view name) const {
        std::string said = get(name);
        return said.empty() ? value_of(usual_, name) : said;
    }
    static std::vector<std::string> split(std::string_view list) {
        std::vector<std::string> out;
        if (list.empty()) return out;
        for (;;) {
            const auto comma = list.find(',');
            out.emplace_back(list.substr(0, comma));
            if (comma == std::string_view::npos) return out;
            list.remove_prefix(comma + 1);
        }
    }
    // Not a folder with a Unix socket, and not an address already.
    static bool is_name(const std::string& host) {
        if (host.empty() || host.front() == '/' || host.front() == '@') return false;
        std::error_code not_literal;
        asio::ip::make_address(host, not_literal);
        return static_cast<bool>(not_literal);
    }

    parameters said_;
    parameters usual_;
};

}  // namespace llmkit::detail
