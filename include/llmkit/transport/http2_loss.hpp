// llmkit/transport/http2_loss.hpp: what the end of a connection means to the calls it carried.
#pragma once

#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <asio/error.hpp>

#include <llmkit/transport/exchange_error.hpp>
#include <llmkit/transport/http2_framing.hpp>
#include <llmkit/transport/http2_stream.hpp>

namespace llmkit::detail {

class http2_loss {
public:
    /// `silence`: how long a PING had no answer, if that was it. `used`: the connection had brought
    /// answers and been idle before.
    http2_loss(const http2_framing& framing, const std::error_code& failed, bool used,
               duration silence)
        : framing_(framing), failed_(failed), used_(used), silence_(silence) {}

    /// Nothing, when all was in order.
    std::optional<error> reason() const {
        if (auto why = fault()) return why;
        if (failed_) return lost_error(failed_, false);
        return std::nullopt;
    }
    void tell(http2_stream& stream) const {
        auto why = fault();
        http2_again how = http2_again::no;
        if (framing_.broken().empty() && !stream.head) {
            // What no byte came after may well have met a connection that was closed already; and
            // a server that ends (nginx does, when it is reloaded) drops new connections unread.
            const bool unheard = used_ && stream.heard_before == framing_.heard();
            if (unheard || !framing_.acknowledged()) how = http2_again::stale;
            if (!stream.sent) how = http2_again::untouched;
        }
        if (!why) why = lost_error(failed_ ? failed_ : asio::error::eof, stream.head);
        stream.fail(std::move(*why), how);
        stream.closed = true;
        stream.last_words.reset();
    }

private:
    std::optional<error> fault() const {
        if (!framing_.broken().empty()) {
            error why(error_kind::protocol,
                      "the server breaks the rules of HTTP/2: " + framing_.broken());
            if (framing_.settled()) return why;
            return why.with_advice(
                "Does it speak HTTP/2 at all? Without TLS that is not asked: if not, leave "
                "http2().prior_knowledge() out.");
        }
        if (silence_ > duration::zero())
            return error(
                error_kind::connection_lost,
                fmt::format("the server gave no sign of life within {}", in_words(silence_)));
        return std::nullopt;
    }

    const http2_framing& framing_;
    std::error_code failed_;
    bool used_;
    duration silence_;
};

}  // namespace llmkit::detail
