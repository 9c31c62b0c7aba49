// llmkit/transport/http1_connection.hpp: a connection with what HTTP/1.1 keeps between two messages.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include <asio/buffer.hpp>

#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/detail/read_buffer.hpp>
#include <llmkit/transport/wire.hpp>

namespace llmkit::detail {

class http1_connection {
public:
    static constexpr duration a_moment = std::chrono::milliseconds(1);

    http1_connection(std::shared_ptr<socket_registry> in, executor base, const http1_limits& limits)
        : line(std::move(in), std::move(base)), parser(limits) {}

    /// Whether an idle connection may serve the next call: open, and nothing came unasked.
    ///
    /// Looking costs a system call, a tenth of a whole exchange, so what was in use a moment ago is
    /// believed to be as it was then, when all that had come was read. Nothing is lost by that: an
    /// answer that nobody asked for and that comes so soon might as well come just after the next
    /// request, where no client can tell it from the right one; and a server that has closed the
    /// connection since is noticed like one that closes it just then.
    bool quiet(duration idle) {
        if (session) return true;  // it looks for itself: its peer may well have said something
        return idle < a_moment ? line.open() : line.quiet();
    }

    /// What was read and not yet looked at; then say how much of it was.
    std::string_view unread() const {
        return begin_ == end_ ? std::string_view()
                              : std::string_view(from_ + begin_, end_ - begin_);
    }
    void take(std::size_t count) { begin_ += count; }

    /// Where more is read to once nothing is unread; then say how much came.
    asio::mutable_buffer room() {
        const bool more = end_ == size_;  // what filled the buffer is likely to go on
        begin_ = end_ = 0;
        if (!small_) small_ = std::make_unique_for_overwrite<char[]>(small_size);
        char* const into = more ? large_.get() : small_.get();
        from_ = into;
        size_ = more ? read_buffer::size : small_size;
        return {into, size_};
    }
    void came(std::size_t count) { end_ = count; }

    /// The message is over and nothing is unread. Idle connections hold little memory.
    void rest() noexcept {
        begin_ = end_ = 0;
        large_.drop();
        line.rest();
    }

    wire line;
    http1_response_parser parser;
    bool used = false;              // has brought an answer before
    std::shared_ptr<void> session;  // what HTTP/2 keeps between two uses; null: HTTP/1.1

private:
    static constexpr std::size_t small_size = 4096;  // enough for most answers, and kept

    std::unique_ptr<char[]> small_;
    read_buffer large_;
    const char* from_ = nullptr;  // one of these, and its size
    std::size_t size_ = small_size;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace llmkit::detail
