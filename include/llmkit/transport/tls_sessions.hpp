// llmkit/transport/tls_sessions.hpp: what lets the next TLS connection to a peer begin quicker.
#pragma once

#include <cstddef>
#include <ctime>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include <openssl/ssl.h>

namespace llmkit::detail {

struct ssl_session_deleter {
    void operator()(SSL_SESSION* one) const { SSL_SESSION_free(one); }
};
using ssl_session = std::unique_ptr<SSL_SESSION, ssl_session_deleter>;

/// Sessions that peers offered to resume, a few for each, of one transport. A resumed handshake
/// needs no certificate, which costs both sides most of the time. Thread-safe.
///
/// A ticket of TLS 1.3 serves once, so that nobody who watches can tell two connections of one
/// client by it (RFC 8446, appendix C.4). A session of TLS 1.2 serves until it is too old.
class tls_sessions {
public:
    static constexpr std::size_t max_peers = 64;
    static constexpr std::size_t max_per_peer = 8;

    void keep(const std::string& peer, ssl_session one) {
        std::lock_guard lock(mutex_);
        auto& known = peers_[peer];
        if (reusable(*one)) known.clear();  // one is enough, the youngest
        known.push_back(std::move(one));
        if (known.size() > max_per_peer) known.pop_front();
        // Whose sessions go is of no matter: whoever has none makes a whole handshake.
        if (peers_.size() > max_peers)
            peers_.erase(peers_.begin()->first == peer ? std::next(peers_.begin())
                                                       : peers_.begin());
    }
    /// The youngest one for `peer`; null when there is none.
    ssl_session take(const std::string& peer) {
        std::lock_guard lock(mutex_);
        const auto known = peers_.find(peer);
        if (known == peers_.end()) return nullptr;
        ssl_session youngest = std::move(known->second.back());
        known->second.pop_back();
        const bool good = !too_old(*youngest);
        if (good && reusable(*youngest)) {
            SSL_SESSION_up_ref(youngest.get());
            known->second.emplace_back(youngest.get());
        }
        if (!good || known->second.empty()) peers_.erase(known);  // older ones are no better
        return good ? std::move(youngest) : nullptr;
    }

private:
    static bool reusable(const SSL_SESSION& one) {
        return SSL_SESSION_get_protocol_version(&one) < TLS1_3_VERSION;
    }
    static bool too_old(const SSL_SESSION& one) {
        return SSL_SESSION_get_time(&one) + SSL_SESSION_get_timeout(&one) <=
               static_cast<long>(std::time(nullptr));
    }

    std::mutex mutex_;
    std::unordered_map<std::string, std::deque<ssl_session>> peers_;
};

}  // namespace llmkit::detail
