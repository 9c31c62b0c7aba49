// llmkit/detail/sse.hpp: cut a byte stream into server-sent events, however the bytes arrive.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace llmkit::detail {

/// One server-sent event. The views hold until the framer's next call.
struct sse_event {
    std::string_view data;  ///< its data lines, joined by LF
    std::string_view name;  ///< its event field, empty when it has none
    std::string_view id;    ///< the last id that the stream gave, which later events inherit
};

/// Frames server-sent events as WHATWG HTML says (section 9.2.6, "interpreting an event stream").
///
///     sse_framer framer;
///     sse_event event;
///     framer.feed(piece);
///     while (framer.next(event)) …    // event.data
///     if (framer.failed()) …          // an event beyond the limit
///
/// Pieces may be cut anywhere, also inside a character or a CRLF. Lines end in LF, CRLF or CR; a
/// leading byte-order mark, comments and events without data never surface. What is unfinished at
/// the end of the input is not an event. An event that lies whole in one piece is handed out
/// without a copy; a fed piece must therefore live until `next` has returned false.
class sse_framer {
public:
    /// `max_event` bounds the bytes of one event (its data, or one line of whatever kind): beyond
    /// it the framer fails, and stays failed.
    explicit sse_framer(std::size_t max_event = std::size_t{16} << 20U) : max_event_(max_event) {}

    /// Hands over the next bytes. The piece before must be used up.
    void feed(std::string_view piece) {
        p_ = piece.data();
        end_ = p_ + piece.size();
        carriage_return_ = p_;  // not looked for yet
    }

    /// Gives the next event; false when the piece is used up or the framer has failed.
    bool next(sse_event& event) {
        if (dispatched_) start_event();
        if (take_plain(event)) return true;
        for (;;) {
            if (after_cr_ && p_ != end_) {
                if (*p_ == '\n') ++p_;
                after_cr_ = false;
            }
            if (p_ == end_ || failed_) break;
            const char* const stop = find_line_end();
            std::string_view line(p_, static_cast<std::size_t>(stop - p_));
            if (line.size() + line_.size() + data_size_ > max_event_) {
                failed_ = true;
                break;
            }
            if (stop == end_) {
                line_.append(line);
                p_ = end_;
                break;
            }
            after_cr_ = *stop == '\r';
            p_ = stop + 1;
            if (!line_.empty()) {
                line_.append(line);
                take_line(line_, true);
                line_.clear();
            } else {
                take_line(line, false);
            }
            if (dispatched_) {
                event = {data_.view(), name_.view(), id_};
                return true;
            }
        }
        // The piece goes: keep what an unfinished event still needs of it.
        data_.own();
        name_.own();
        return false;
    }

    /// True after an event that was larger than the limit.
    bool failed() const { return failed_; }

    /// True when bytes of an event that has not ended yet have come: the input was cut if it ends
    /// here.
    bool unfinished() const { return !line_.empty() || (has_data_ && !dispatched_); }

private:
    /// Text that is a view into the piece as long as that suffices.
    class field {
    public:
        std::string_view view() const { return owned_ ? std::string_view(buffer_) : view_; }
        void set(std::string_view text, bool passing) {
            view_ = text;
            owned_ = false;
            if (passing) own();
        }
        void own() {
            if (owned_) return;
            buffer_.assign(view_);
            owned_ = true;
        }
        void append_line(std::string_view text) {
            own();
            buffer_ += '\n';
            buffer_.append(text);
        }
        void clear() {
            view_ = {};
            owned_ = false;
        }

    private:
        std::string_view view_;
        std::string buffer_;
        bool owned_ = false;
    };

    /// Takes the next event in one step when it is what nearly all are: one line of data and a blank
    /// one, both ended by LF, whole in the piece.
    bool take_plain(sse_event& event) {
        if (has_data_ || failed_ || !line_.empty() || !name_.view().empty()) return false;
        if (end_ - p_ < 7 || std::memcmp(p_, "data:", 5) != 0) return false;
        const char* const stop = find_line_end();
        if (end_ - stop < 2 || stop[0] != '\n' || stop[1] != '\n') return false;
        if (static_cast<std::size_t>(stop - p_) > max_event_) return false;
        const char* const value = p_ + (p_[5] == ' ' ? 6 : 5);
        event = {{value, static_cast<std::size_t>(stop - value)}, {}, id_};
        p_ = stop + 2;
        at_start_ = after_cr_ = false;
        return true;
    }

    /// The first CR or LF, or the end. Where there is no CR, which is the rule, it is looked for
    /// only once a piece, so that the scan costs little more than one for LF.
    const char* find_line_end() {
        if (*p_ == '\n') return p_;
        if (carriage_return_ <= p_ && carriage_return_ != end_)
            carriage_return_ = find('\r', p_, end_);
        return find('\n', p_, carriage_return_);
    }

    static const char* find(char byte, const char* from, const char* to) {
        const void* found = std::memchr(from, byte, static_cast<std::size_t>(to - from));
        return found == nullptr ? to : static_cast<const char*>(found);
    }

    /// `passing`: the line's bytes are gone after this call.
    void take_line(std::string_view line, bool passing) {
        if (at_start_) {
            at_start_ = false;
            if (line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
        }
        if (line.empty()) {
            dispatched_ = has_data_;
            if (!has_data_) name_.clear();
            return;
        }
        const std::size_t colon = line.starts_with("data:") ? 4 : line.find(':');
        const std::string_view name = line.substr(0, colon);
        std::string_view value;
        if (colon != line.npos) {
            value = line.substr(colon + 1);
            if (value.starts_with(' ')) value.remove_prefix(1);
        }
        if (name == "data") {
            if (has_data_) {
                data_.append_line(value);
            } else {
                data_.set(value, passing);
            }
            has_data_ = true;
            data_size_ += line.size();
        } else if (name == "event") {
            name_.set(value, passing);
        } else if (name == "id" && value.find('\0') == value.npos) {
            id_.assign(value);
        }
    }

    void start_event() {
        data_.clear();
        name_.clear();
        data_size_ = 0;
        has_data_ = false;
        dispatched_ = false;
    }

    const char* p_ = nullptr;
    const char* end_ = nullptr;
    const char* carriage_return_ = nullptr;  // the next one at or behind p_, when it is behind p_
    std::size_t max_event_;
    std::size_t data_size_ = 0;
    field data_;
    field name_;
    std::string id_;
    std::string line_;  // the start of a line whose end has not come
    bool at_start_ = true;
    bool after_cr_ = false;
    bool has_data_ = false;
    bool dispatched_ = false;
    bool failed_ = false;
};

}  // namespace llmkit::detail
