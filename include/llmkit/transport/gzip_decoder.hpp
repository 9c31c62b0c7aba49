// llmkit/transport/gzip_decoder.hpp: gzip data in pieces to plain bytes in pieces.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <new>
#include <string>
#include <string_view>

namespace llmkit::detail {

/// Decodes gzip (RFC 1952), one member or several, as the pieces come: what a sender has flushed
/// comes out at once. Takes about 45 KiB, whatever the data.
///
///     decoder.feed(piece);                       // lives until it is used up
///     while (auto count = decoder.take(buffer, sizeof buffer)) use(buffer, count);
///     if (!decoder.problem().empty()) …
///
/// At the end of input, `complete()` tells whether the data may end there.
class gzip_decoder {
public:
    gzip_decoder() {
        // 15: the largest window. 16 more: gzip's header and trailer, and nothing else.
        if (::inflateInit2(&stream_, 15 + 16) != Z_OK) throw std::bad_alloc();
    }
    gzip_decoder(const gzip_decoder&) = delete;
    gzip_decoder& operator=(const gzip_decoder&) = delete;
    ~gzip_decoder() { ::inflateEnd(&stream_); }

    /// Precondition: `take` has returned 0 since the last piece, which is at most 4 GiB.
    void feed(std::string_view piece) {
        // zlib does not write to its input; older versions only lack the const.
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
        stream_.avail_in = static_cast<uInt>(piece.size());
    }

    /// Writes decoded bytes; 0 when more input is needed, and when there is a problem.
    std::size_t take(char* into, std::size_t room) {
        stream_.next_out = reinterpret_cast<Bytef*>(into);
        stream_.avail_out = static_cast<uInt>(room);
        while (problem_.empty() && stream_.avail_out > 0) {
            if (between_ && stream_.avail_in == 0) break;
            if (between_ && begun_) ::inflateReset(&stream_);
            begun_ = true;
            between_ = false;
            const int outcome = ::inflate(&stream_, Z_SYNC_FLUSH);
            if (outcome == Z_STREAM_END) {
                between_ = true;
                ++members_;
            } else if (outcome == Z_MEM_ERROR) {
                throw std::bad_alloc();
            } else if (outcome == Z_BUF_ERROR) {
                break;  // it can do nothing more with what it has
            } else if (outcome != Z_OK) {
                describe();
            } else if (stream_.avail_in == 0 && stream_.avail_out > 0) {
                break;
            }
        }
        return room - stream_.avail_out;
    }

    /// Whether the data may end here: at the end of a member, or before the first.
    bool complete() const { return between_; }
    /// What is wrong with the data, in words that do not quote it; empty while nothing is.
    const std::string& problem() const { return problem_; }

private:
    void describe() {
        const char* const why = stream_.msg ? stream_.msg : "invalid data";
        const bool no_member =
            members_ > 0 && stream_.total_in <= 2;  // not even gzip's first bytes
        problem_ = no_member ? "something else follows the gzip data"
                             : std::string("the gzip data is broken: ") + why;
    }

    z_stream stream_{};
    bool begun_ = false;
    bool between_ = true;
    std::size_t members_ = 0;
    std::string problem_;
};

}  // namespace llmkit::detail
