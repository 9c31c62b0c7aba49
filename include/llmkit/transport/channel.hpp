// llmkit/transport/channel.hpp: what encrypts a connection, so that nothing else needs OpenSSL.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit {

namespace detail {

/// A request on its way: the head and the body, sent without joining them.
using outgoing = std::array<asio::const_buffer, 2>;

/// Is told once a write that did not end at once has ended.
class write_sink {
public:
    virtual void written(bool whole) noexcept = 0;

protected:
    ~write_sink() = default;
};

/// The handler of such a write; tells also when it is destroyed without having been called.
class write_token {
public:
    explicit write_token(std::shared_ptr<write_sink> sink) : sink_(std::move(sink)) {}
    write_token(write_token&&) noexcept = default;
    write_token& operator=(write_token&&) = delete;
    ~write_token() { end(false); }
    void operator()(const std::error_code& failed, std::size_t) { end(!failed); }

private:
    void end(bool whole) {
        if (auto sink = std::exchange(sink_, nullptr)) sink->written(whole);
    }
    std::shared_ptr<write_sink> sink_;
};

/// Encryption over one connected socket. Used by one coroutine at a time, beside one write.
class channel {
public:
    virtual ~channel() = default;
    virtual task<result<void>> handshake() = 0;
    virtual task<std::size_t> read_some(asio::mutable_buffer into, std::error_code& failed) = 0;
    virtual void write(const outgoing& what, const executor& caller, write_token done) = 0;
};

class channel_maker {
public:
    virtual ~channel_maker() = default;
    virtual result<std::unique_ptr<channel>> make(asio::ip::tcp::socket& over,
                                                  const std::string& host,
                                                  bool host_is_ip) const = 0;
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
