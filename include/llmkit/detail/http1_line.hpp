// llmkit/detail/http1_line.hpp: gathers one CR LF line that may arrive in pieces.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

#include <llmkit/detail/http1_error.hpp>

namespace llmkit::detail {

/// Takes one line at a time out of input that arrives in pieces. A line that lies whole in the
/// input is a view into it; only one cut by the end of the input is copied.
///
/// Lines end in CR LF. A lone LF is refused: where one program sees a line end and another does
/// not, requests are smuggled (RFC 9112 §2.2 allows to accept it, §11.2 says what may come of it).
class http1_line {
public:
    enum class state : unsigned char { partial, whole, too_long, bare };

    /// Eats from the front of `in`, up to a line's end or all of it. `limit` counts CR LF.
    /// What is decided depends on the bytes alone, never on how they were cut.
    state take(std::string_view& in, std::size_t limit) {
        if (taken_) {
            buffer_.clear();
            taken_ = false;
        }
        const char* const begin = in.data();
        const void* const found = in.empty() ? nullptr : std::memchr(begin, '\n', in.size());
        const std::size_t here =
            found ? static_cast<std::size_t>(static_cast<const char*>(found) - begin) + 1
                  : in.size();
        size_ = buffer_.size() + here;
        if (size_ > limit) return state::too_long;
        text_ = {begin, here};
        if (!found || !buffer_.empty()) text_ = buffer_.append(text_);
        in.remove_prefix(here);
        if (!found) return state::partial;
        taken_ = true;
        if (size_ < 2 || text_[size_ - 2] != '\r') return state::bare;
        text_.remove_suffix(2);
        return state::whole;
    }

    /// The whole line with its CR LF; like `text`.
    std::string_view with_end() const { return {text_.data(), size_}; }

    /// The line without its CR LF, or what came of it so far. Valid until the next `take`, and no
    /// longer than the input.
    std::string_view text() const { return text_; }

    /// Bytes of the line so far, CR LF included.
    std::size_t size() const { return size_; }

    /// Whether the beginning of a line is waiting for its rest.
    bool pending() const { return !taken_ && !buffer_.empty(); }

    void reset() {
        buffer_.clear();
        text_ = {};
        size_ = 0;
        taken_ = false;
    }

private:
    std::string buffer_;
    std::string_view text_;
    std::size_t size_ = 0;
    bool taken_ = false;
};

}  // namespace llmkit::detail
