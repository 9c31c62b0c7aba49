// llmkit/transport/channel.hpp: what encrypts a connection, so that nothing else needs OpenSSL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>

#include <llmkit/core/result.hpp>

namespace llmkit {

namespace detail {

/// Encryption of one connection, without the connection: plain bytes here, those of the network
/// there. Whoever owns it carries the latter. Reading touches only what was received, writing only
/// what is to be sent, so both may be under way at once on one thread.
class channel {
public:
    virtual ~channel() = default;

    /// Goes on with the handshake: true when it is complete, false when more must be received.
    /// There may be something to send in either case, and also after an error.
    virtual result<bool> handshake() = 0;
    /// The error for a connection that ended before that.
    virtual error broken_off() const = 0;
    /// Whether the handshake went on with an earlier session.
    virtual bool resumed() const = 0;
    /// The protocol that both sides chose (ALPN); empty when the peer chose none.
    virtual std::string_view protocol() const = 0;

    /// Where the next bytes of the network belong; then say how many there are.
    virtual asio::mutable_buffer intake() = 0;
    virtual void received(std::size_t count) = 0;
    /// Plain bytes of what was received. `would_block`: more must be received first; `eof`: the
    /// peer has said that nothing follows.
    virtual std::size_t read(asio::mutable_buffer into, std::error_code& failed) = 0;
    /// Whether all that was received has been read.
    virtual bool drained() const = 0;
    /// What a connection has come to that ended without the peer's saying so.
    virtual std::error_code truncated() const = 0;

    /// Encrypts some of `what`, at least a byte, and tells how much; 0: it cannot.
    virtual std::size_t write(asio::const_buffer what) = 0;
    /// What is to be sent next; then say how much of it was.
    virtual asio::const_buffer unsent() const = 0;
    virtual void sent(std::size_t count) = 0;
    /// Says that nothing follows, where that can be said: then there is something to send.
    virtual void end() noexcept = 0;

    /// Gives up memory that is not needed until more is read or written.
    virtual void rest() noexcept = 0;
};

/// Whom a channel is to speak with, and in which protocols.
struct channel_peer {
    std::string_view host;
    std::uint16_t port = 0;
    bool host_is_ip = false;
    std::span<const std::string_view> protocols;  ///< offered by ALPN, the dearest first
};

class channel_maker {
public:
    virtual ~channel_maker() = default;
    virtual result<std::unique_ptr<channel>> make(const channel_peer& with) const = 0;
};

}  // namespace detail

/// How a transport encrypts; made by `tls()` of llmkit/transport/tls.hpp. Empty: not at all.
class encryption {
public:
    encryption() = default;
    explicit encryption(std::shared_ptr<const detail::channel_maker> maker)
        : maker_(std::move(maker)) {}

    explicit operator bool() const { return maker_ != nullptr; }
    const detail::channel_maker& maker() const { return *maker_; }

private:
    std::shared_ptr<const detail::channel_maker> maker_;
};

}  // namespace llmkit
