// llmkit/cache/store_buffers.hpp: commands joined for one write, and replies taken from one read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <asio/buffer.hpp>

#include <llmkit/core/asio.hpp>
#include <llmkit/detail/read_buffer.hpp>
#include <llmkit/detail/reply_step.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

/// What goes out in one write.
class store_outbox {
public:
    void clear() {
        text_.clear();
        large_.clear();
    }
    bool empty() const { return text_.empty() && large_.empty(); }
    bool full() const { return text_.size() >= enough || !large_.empty(); }
    void add(std::string request) {
        if (request.size() < large) {
            text_.append(request);
        } else {
            large_ = std::move(request);  // not copied; nothing is joined after it
        }
    }
    outgoing buffers() const { return {asio::buffer(text_), asio::buffer(large_)}; }

private:
    static constexpr std::size_t enough = 64 * 1024;
    static constexpr std::size_t large = 16 * 1024;
    std::string text_;
    std::string large_;
};

/// Reads replies as they come.
template <class Parser>
class store_intake {
public:
    using reply = typename Parser::reply;

    explicit store_intake(const Parser& language) : parser_(language) {}
    void restart(Parser language) { parser_ = std::move(language); }

    /// Takes what is there into `came()`. `would_block`: that was all; `invalid_argument`: it is not
    /// the protocol. Gives the number of bytes.
    std::size_t take(wire& line, bool encrypted, std::error_code& failed) {
        std::size_t sum = 0;
        for (bool more = true; more;) {
            const asio::mutable_buffer room(buffer_.get(), read_buffer::size);
            const std::size_t count = line.try_read(room, failed);
            if (failed) break;
            sum += count;
            parser_.feed({static_cast<const char*>(room.data()), count});
            // What fills a buffer goes on, and TLS may hold more than it has shown.
            more = count == room.size() || encrypted;
            failed = asio::error::would_block;
            if (!take_replies()) {
                failed = asio::error::invalid_argument;
                more = false;
            }
        }
        buffer_.drop();
        return sum;
    }
    std::vector<reply>& came() { return came_; }
    std::string_view problem() const { return parser_.problem(); }

private:
    bool take_replies() {
        for (;;) {
            reply one;
            switch (parser_.next(one)) {
                case reply_step::more:
                    return true;
                case reply_step::reply:
                    came_.push_back(std::move(one));
                    break;
                case reply_step::aside:
                    break;
                case reply_step::broken:
                    return false;
            }
        }
    }

    Parser parser_;
    read_buffer buffer_;
    std::vector<reply> came_;
};

}  // namespace llmkit::detail
