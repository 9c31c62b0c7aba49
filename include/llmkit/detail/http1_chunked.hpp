// llmkit/detail/http1_chunked.hpp: takes the body out of its chunks (RFC 9112 §7.1).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <llmkit/detail/http1_error.hpp>
#include <llmkit/detail/http1_fields.hpp>
#include <llmkit/detail/http1_line.hpp>
#include <llmkit/detail/http1_step.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

/// Decodes a chunked body that arrives in pieces. Extensions are checked and dropped; trailers are
/// kept apart from the headers, as RFC 9110 §6.5.1 asks. Sizes have at most 16 hexadecimal digits
/// and nothing but an extension after them; every line ends in CR LF.
class http1_chunked {
public:
    /// Never says `head`; `data` views lie in `in`. See http1_step.hpp.
    http1_progress step(std::string_view in, const http1_limits& limits) {
        const std::size_t given = in.size();
        const auto result = [&](http1_step what, std::string_view data = {}) {
            return http1_progress{what, given - in.size(), data};
        };
        for (;;) {
            switch (state_) {
                case state::size:
                    if (in.empty()) return result(http1_step::need_more);
                    // Seen at once, not at a line end that never comes from a peer without chunks.
                    if (!line_.pending() && hex_digit(in.front()) < 0)
                        fail(http1_error::bad_chunk);
                    else if (!read_line(in, limits.chunk_line_bytes, http1_error::bad_chunk,
                                        http1_error::chunk_line_too_long))
                        return result(http1_step::need_more);
                    else if (state_ != state::failed)
                        start_chunk(limits);
                    break;
                case state::data: {
                    if (in.empty()) return result(http1_step::need_more);
                    const auto size = std::min<std::uint64_t>(left_, in.size());
                    const std::string_view data = in.substr(0, static_cast<std::size_t>(size));
                    in.remove_prefix(data.size());
                    left_ -= size;
                    if (left_ == 0) state_ = state::after_data;
                    return result(http1_step::data, data);
                }
                case state::after_data:
                case state::after_data_cr: {
                    if (in.empty()) return result(http1_step::need_more);
                    const bool first = state_ == state::after_data;
                    if (in.front() != (first ? '\r' : '\n')) {
                        fail(http1_error::bad_chunk);
                        break;
                    }
                    in.remove_prefix(1);
                    state_ = first ? state::after_data_cr : state::size;
                    break;
                }
                case state::trailers: {
                    if (in.empty()) return result(http1_step::need_more);
                    // The empty line at the end is not counted.
                    const std::size_t most =
                        std::min(limits.trailer_bytes, std::numeric_limits<std::size_t>::max() - 2);
                    if (!read_line(in, most + 2 - trailer_bytes_, http1_error::bare_line_break,
                                   http1_error::trailers_too_large))
                        return result(http1_step::need_more);
                    if (state_ != state::failed) read_trailer(limits);
                    break;
                }
                case state::done:
                    return result(http1_step::complete);
                case state::failed:
                    return result(http1_step::failed);
            }
        }
    }

    http1_error error() const { return error_; }
    const headers& trailers() const { return trailers_; }

    void reset() {
        line_.reset();
        trailers_.clear();
        state_ = state::size;
        error_ = http1_error::none;
        left_ = total_ = 0;
        extension_bytes_ = trailer_bytes_ = 0;
    }

private:
    enum class state : unsigned char {
        size,
        data,
        after_data,
        after_data_cr,
        trailers,
        done,
        failed
    };

    void fail(http1_error why) {
        error_ = why;
        state_ = state::failed;
    }

    // False while the line is not whole; a line that may not be fails.
    bool read_line(std::string_view& in, std::size_t limit, http1_error bare,
                   http1_error too_long) {
        switch (line_.take(in, limit)) {
            case http1_line::state::partial:
                return false;
            case http1_line::state::too_long:
                fail(too_long);
                break;
            case http1_line::state::bare:
                fail(bare);
                break;
            case http1_line::state::whole:
                break;
        }
        return true;
    }

    void start_chunk(const http1_limits& limits) {
        const std::string_view line = line_.text();
        std::uint64_t size = 0;
        std::size_t digits = 0;
        for (; digits < line.size() && hex_digit(line[digits]) >= 0; ++digits)
            size = size * 16 + static_cast<std::uint64_t>(hex_digit(line[digits]));
        if (digits == 0 || digits > 16) return fail(http1_error::bad_chunk);
        const std::string_view extension = line.substr(digits);
        if (!extension.empty()) {
            const std::string_view text = trim_blanks(extension);
            // Blanks may stand before a ';' only: "5 " is read as 5 by some and refused by others.
            if (text.empty() || text.front() != ';' || has_control(text))
                return fail(http1_error::bad_chunk);
            extension_bytes_ += extension.size();
            if (extension_bytes_ > limits.chunk_extension_bytes)
                return fail(http1_error::extensions_too_large);
        }
        if (size == 0) {
            state_ = state::trailers;
            return;
        }
        if (size > limits.body_bytes - total_) return fail(http1_error::body_too_large);
        total_ += size;
        left_ = size;
        state_ = state::data;
    }

    void read_trailer(const http1_limits& limits) {
        trailer_bytes_ += line_.size();
        if (line_.text().empty()) {
            state_ = state::done;
            return;
        }
        header field;
        const http1_error wrong = read_field(line_.text(), field);
        if (wrong != http1_error::none) return fail(wrong);
        if (trailers_.size() == limits.fields) return fail(http1_error::too_many_fields);
        trailers_.add_line(line_.with_end(), field.name.size(), field.value);
    }

    http1_line line_;
    headers trailers_;
    state state_ = state::size;
    http1_error error_ = http1_error::none;
    std::uint64_t left_ = 0;   // of the chunk that is being read
    std::uint64_t total_ = 0;  // of all chunks so far, never above the limit
    std::size_t extension_bytes_ = 0;
    std::size_t trailer_bytes_ = 0;
};

}  // namespace llmkit::detail
