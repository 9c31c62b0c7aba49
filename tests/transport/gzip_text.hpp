// What tests of gzip decode: texts, compressed by zlib as a server does it.
#pragma once

#include <zlib.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace llmkit_test {

/// Compresses in pieces, each of which can be decoded as soon as it is there.
class gzip_writer {
public:
    explicit gzip_writer(int level = 6) {
        if (::deflateInit2(&stream_, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            throw std::runtime_error("zlib does not start");
    }
    gzip_writer(const gzip_writer&) = delete;
    gzip_writer& operator=(const gzip_writer&) = delete;
    ~gzip_writer() { ::deflateEnd(&stream_); }

    std::string piece(std::string_view text) { return put(text, Z_SYNC_FLUSH); }
    std::string end(std::string_view text = {}) { return put(text, Z_FINISH); }

private:
    std::string put(std::string_view text, int how) {
        std::string out;
        char room[4096];
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
        stream_.avail_in = static_cast<uInt>(text.size());
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(room);
            stream_.avail_out = sizeof room;
            ::deflate(&stream_, how);
            out.append(room, sizeof room - stream_.avail_out);
        } while (stream_.avail_out == 0);
        return out;
    }
    z_stream stream_{};
};

inline std::string gzipped(std::string_view text, int level = 6) {
    return gzip_writer(level).end(text);
}

}  // namespace llmkit_test
