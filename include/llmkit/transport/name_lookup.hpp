// llmkit/transport/name_lookup.hpp: asks the operating system for a host's addresses.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/ip/address.hpp>

namespace llmkit::detail {

using addresses = std::vector<asio::ip::address>;

/// What a lookup brought: addresses in the order of the operating system, or why there are none.
struct looked_up {
    addresses found;
    std::string failed;
};

/// Something that finds the addresses of a host, and may take long over it. Must not throw.
using name_lookup = std::function<looked_up(const std::string& host)>;

/// `getaddrinfo`: hosts file, DNS and whatever else nsswitch.conf names, sorted by RFC 6724. Blocks
/// for as long as resolv.conf says, by default 10 s for each name server that does not answer.
inline looked_up system_lookup(const std::string& host) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;  // no IPv6 addresses for a machine that has no IPv6
    addrinfo* list = nullptr;
    looked_up out;
    const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (code != 0) {
        out.failed = code == EAI_SYSTEM ? std::generic_category().message(errno)
                                        : std::string(::gai_strerror(code));
        return out;
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(list, &::freeaddrinfo);
    for (const addrinfo* each = list; each; each = each->ai_next) {
        if (each->ai_family == AF_INET) {
            sockaddr_in v4{};
            std::memcpy(&v4, each->ai_addr, sizeof v4);
            asio::ip::address_v4::bytes_type bytes;
            std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
            out.found.emplace_back(asio::ip::address_v4(bytes));
        } else if (each->ai_family == AF_INET6) {
            sockaddr_in6 v6{};
            std::memcpy(&v6, each->ai_addr, sizeof v6);
            asio::ip::address_v6::bytes_type bytes;
            std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
            out.found.emplace_back(asio::ip::address_v6(bytes, v6.sin6_scope_id));
        }
    }
    if (out.found.empty()) out.failed = "no address";
    return out;
}

}  // namespace llmkit::detail
