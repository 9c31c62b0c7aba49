// llmkit/transport/no_proxy.hpp: which hosts are reached without the proxy: NO_PROXY.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/ip/address.hpp>

#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/url.hpp>

namespace llmkit::detail {

/// Hosts that no proxy stands before, read from a list as NO_PROXY holds it. The rules are those of
/// Go; curl's differ in that ".example.com" means "example.com" itself there as well.
///
///     no_proxy_list direct("example.com, .internal, 10.0.0.0/8, [::1]:8080");
///     direct.covers(url);
///
/// Entries are separated by commas or spaces. "*" covers everything; "example.com" that host and
/// all below it; ".example.com" and "*.example.com" only those below; an address that address; a
/// network ("10.0.0.0/8", "fd00::/8") the addresses in it. With ":port" only that port. Names are
/// not looked up: a network covers hosts that are written as addresses. What is none of these
/// covers nothing.
class no_proxy_list {
public:
    no_proxy_list() = default;
    explicit no_proxy_list(std::string_view text) {
        while (!text.empty()) {
            const std::size_t end = text.find_first_of(", \t");
            if (const auto one = text.substr(0, end); !one.empty()) add(one);
            text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        }
    }

    bool covers(const url& to) const {
        const auto address = address_of(to.host());
        std::string_view host = to.host();
        if (host.ends_with('.')) host.remove_suffix(1);
        for (const entry& each : entries_) {
            if (each.port != 0 && each.port != to.port()) continue;
            if (each.all || (each.network ? address && each.within(*address) : each.names(host)))
                return true;
        }
        return false;
    }

    /// Whether the host is this machine: no proxy would find it.
    static bool loopback(const url& to) {
        const auto address = address_of(to.host());
        if (address) return address->is_loopback();
        std::string_view host = to.host();
        if (host.ends_with('.')) host.remove_suffix(1);
        return host == "localhost" || host.ends_with(".localhost");
    }

private:
    struct entry {
        bool all = false;
        std::uint16_t port = 0;  // 0: any
        std::optional<asio::ip::address> network;
        unsigned bits = 0;  // of the network
        std::string name;   // begins with '.' when the name itself is not meant

        bool names(std::string_view host) const {
            if (name.empty()) return false;
            if (name.front() == '.') return host.ends_with(name);
            return host == name || (host.ends_with(name) && host.size() > name.size() &&
                                    host[host.size() - name.size() - 1] == '.');
        }
        bool within(const asio::ip::address& address) const {
            if (address.is_v4() != network->is_v4()) return false;
            return address.is_v4()
                       ? same_bits(address.to_v4().to_bytes(), network->to_v4().to_bytes())
                       : same_bits(address.to_v6().to_bytes(), network->to_v6().to_bytes());
        }
        template <class Bytes>
        bool same_bits(const Bytes& a, const Bytes& b) const {
            for (unsigned i = 0; i < bits; ++i) {
                const unsigned mask = 0x80u >> (i % 8);
                if ((a[i / 8] & mask) != (b[i / 8] & mask)) return false;
            }
            return true;
        }
    };

    // An IPv4 address that is written as an IPv6 one is the IPv4 address.
    static std::optional<asio::ip::address> address_of(std::string_view text) {
        std::error_code no_address;
        auto address = asio::ip::make_address(std::string(text), no_address);
        if (no_address) return std::nullopt;
        if (address.is_v6() && address.to_v6().is_v4_mapped())
            return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
        return address;
    }
    static bool read_number(std::string_view text, unsigned most, unsigned& out) {
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
        return failed == std::errc() && end == text.data() + text.size() && out <= most;
    }

    void add(std::string_view text) {
        entry out;
        if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
            out.network = address_of(text.substr(0, slash));
            const unsigned most = out.network && out.network->is_v4() ? 32 : 128;
            if (!out.network || !read_number(text.substr(slash + 1), most, out.bits)) return;
            return entries_.push_back(std::move(out));
        }
        std::string_view host = text;
        const std::size_t colon = text.rfind(':');
        const bool bracketed = text.starts_with('[');
        const bool has_port =
            colon != std::string_view::npos &&
            (bracketed ? colon > 0 && text[colon - 1] == ']' : text.find(':') == colon);
        if (has_port) {
            unsigned port = 0;
            if (!read_number(text.substr(colon + 1), 65535, port) || port == 0) return;
            out.port = static_cast<std::uint16_t>(port);
            host = text.substr(0, colon);
        }
        if (bracketed) {
            if (!host.ends_with(']')) return;
            host = host.substr(1, host.size() - 2);
        }
        out.network = address_of(host);
        if (out.network) out.bits = out.network->is_v4() ? 32 : 128;
        if (host.starts_with("*.")) host.remove_prefix(1);
        if (host.ends_with('.')) host.remove_suffix(1);
        out.all = host == "*";
        if (host.empty()) return;
        for (const char c : host) out.name += to_lower(c);
        entries_.push_back(std::move(out));
    }

    std::vector<entry> entries_;
};

}  // namespace llmkit::detail
