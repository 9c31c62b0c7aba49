// llmkit/transport/http2.hpp: HTTP/2: many calls at once over one connection.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/http2_exchange.hpp>
#include <llmkit/transport/http2_origins.hpp>
#include <llmkit/transport/http2_session.hpp>
#include <llmkit/transport/http2_warm_up.hpp>
#include <llmkit/transport/multiplex.hpp>

namespace llmkit {

/// HTTP/2 (RFC 9113), for `http_options::http2`. Needs nghttp2 (CMake target `llmkit::http2`).
///
///     auto transport = llmkit::http(
///         executor, llmkit::http_options().tls(llmkit::tls()).http2(llmkit::http2()));
///
/// https URLs then offer both protocols and use what the server chooses (ALPN). One connection
/// carries as many calls at once as server and `max_streams` allow; when it is full another one is
/// opened, within the bounds of `http_policy`. A slow reader stalls its own answer alone, and not
/// more than `stream_window` bytes of it lie in memory.
class http2 {
public:
    http2() = default;

    /// Speaks HTTP/2 to http:// URLs as well, without asking first (RFC 9113 §3.3). The server must
    /// know it: with one that does not, every call fails with an error of kind `protocol`.
    http2& prior_knowledge() {
        how_.prior_knowledge = true;
        return *this;
    }
    /// Calls at once on one connection, where the server allows as many. Default 256, at least 1.
    http2& max_streams(std::size_t count) {
        how_.max_streams = std::max<std::size_t>(count, 1);
        return *this;
    }
    /// Bytes of an answer that may come before they are read. Default 256 KiB, from 1 KiB to
    /// 2 GiB - 1; more makes one large answer over a long way quicker.
    http2& stream_window(std::uint32_t bytes) {
        how_.stream_window = std::clamp<std::uint32_t>(bytes, 1024, 0x7fffffff);
        return *this;
    }
    /// When a server with calls in flight has been silent for `after`, it is asked for a sign of
    /// life (PING); when none comes within `limit`, the connection and its calls end with
    /// `connection_lost`. Default 15 s and 10 s; `duration::max()` for `after` switches it off.
    http2& ping(duration after, duration limit) {
        how_.ping_after = after;
        how_.ping_limit = limit;
        return *this;
    }

    operator multiplexing() const;

private:
    detail::http2_options how_;
};

namespace detail {

class http2_multiplexer final : public multiplexer,
                                public std::enable_shared_from_this<http2_multiplexer> {
public:
    http2_multiplexer(multiplex_site site, const http2_options& options)
        : site_(site),
          options_(options),
          table_(std::make_shared<http2_origins>(std::move(site), options)) {}

    bool takes(const url& to) const override { return to.secure() || options_.prior_knowledge; }
    std::size_t waiting() const override { return table_->waiting(); }
    task<result<std::optional<std::size_t>>> warm_up(url to, exchange_limits limits) override {
        return http2_warm_up(site_, options_, std::move(to), limits);
    }
    task<result<std::optional<http_response>>> send(const http_request& ask, exchange_limits limits,
                                                    limit total) override {
        return exchange(table_, ask, limits, total);
    }

private:
    using answer = result<std::optional<http_response>>;

    static task<answer> exchange(std::shared_ptr<http2_origins> table, const http_request& ask,
                                 exchange_limits limits, limit total) {
        bool stale = false;
        int fruitless = 0;
        for (;;) {
            auto session = co_await http2_origins::seat(table, ask, limits, total);
            if (!session) co_return session.error();
            if (!*session) co_return std::nullopt;
            const std::size_t answers = (*session)->answers();
            auto stream = (*session)->request(ask);
            if (!stream) continue;
            http2_call call(stream);  // now: a caller who is cancelled never gets into the other
            auto got = co_await http2_answer(std::move(call), ask, limits, total);
            if (got) co_return std::optional<http_response>(std::move(*got));
            switch (what_next(*stream)) {
                case http2_again::no:
                    co_return got.error();
                case http2_again::untouched:
                    // As long as the server answers others, this is not its last word.
                    fruitless = (*session)->answers() != answers ? 0 : fruitless + 1;
                    if (fruitless == 3) co_return got.error();
                    break;
                case http2_again::stale:
                    if (std::exchange(stale, true)) co_return got.error();
                    break;
                case http2_again::http1:
                    table->prefer_http1(ask.target());
                    break;
            }
        }
    }
    static http2_again what_next(http2_stream& stream) {
        std::lock_guard lock(stream.on->mutex());
        return stream.again;
    }

    const multiplex_site site_;
    const http2_options options_;
    const std::shared_ptr<http2_origins> table_;
};

class http2_maker final : public multiplexer_maker {
public:
    explicit http2_maker(const http2_options& how) : how_(how) {}
    std::shared_ptr<multiplexer> make(multiplex_site site) const override {
        return std::make_shared<http2_multiplexer>(std::move(site), how_);
    }

private:
    http2_options how_;
};

}  // namespace detail

inline http2::operator multiplexing() const {
    return multiplexing(std::make_shared<const detail::http2_maker>(how_));
}

}  // namespace llmkit
