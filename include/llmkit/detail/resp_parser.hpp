// llmkit/detail/resp_parser.hpp: reads what a Redis server says, as it comes, within bounds.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <llmkit/detail/reply_step.hpp>
#include <llmkit/detail/resp_value.hpp>

namespace llmkit::detail {

/// What one reply may come to.
struct resp_limits {
    std::size_t bytes = std::size_t{65} << 20;  ///< of all its texts together
    std::size_t items = 1'000'000;              ///< of all its lists together
    std::size_t depth = 16;                     ///< of lists in lists
    std::size_t line = 64 * 1024;               ///< of an error or a simple string
};

/// An incremental parser of RESP2 and RESP3 (redis.io/docs/reference/protocol-spec): the same
/// replies come out however the bytes are cut.
///
///     parser.feed(piece);                        // which must live until `more`
///     while ((step = parser.next(reply)) == reply_step::reply) use(reply);
///
/// What is not allowed ends it: there is no way to tell where the next reply would begin. Of RESP3
/// only the streamed types are missing, which no server sends.
class resp_parser {
public:
    using reply = resp_value;

    explicit resp_parser(const resp_limits& limits = {}) : limits_(limits) {}

    /// More input, once `next` has said `more`.
    void feed(std::string_view piece) { rest_ = piece; }

    reply_step next(resp_value& out) {
        while (problem_.empty()) {
            step how = step::going;
            if (in_text_) {
                if (!fill_text()) break;
                in_text_ = false;
                how = close(take_text(), out);
            } else {
                std::string_view line;
                if (!take_line(line)) break;
                how = read(line, out);
                line_.clear();
            }
            if (how == step::whole) return reply_step::reply;
            if (how == step::push) return reply_step::aside;
        }
        return problem_.empty() ? reply_step::more : reply_step::broken;
    }

    /// What was wrong, once it is broken.
    std::string_view problem() const { return problem_; }
    /// Whether a reply has begun and not ended.
    bool midway() const { return in_text_ || !line_.empty() || !open_.empty() || !rest_.empty(); }

private:
    enum class step : std::uint8_t { going, whole, push };
    struct level {
        std::vector<resp_value> items;
        std::size_t left = 0;
        char mark = '*';
    };

    /// A line without its end; views the input, or `line_` where it came in pieces.
    bool take_line(std::string_view& line) {
        const std::size_t at = rest_.find('\n');
        const std::size_t count = at == std::string_view::npos ? rest_.size() : at + 1;
        if (line_.size() + count > limits_.line + 2) return fail("a line is too long");
        line = rest_.substr(0, count);
        rest_.remove_prefix(count);
        if (at == std::string_view::npos || !line_.empty()) {
            line_.append(line);
            line = line_;
        }
        if (at == std::string_view::npos) return false;
        if (line.size() < 3 || line[line.size() - 2] != '\r')
            return fail("a line does not end as it should");
        line.remove_suffix(2);
        return true;
    }

    step read(std::string_view line, resp_value& out) {
        const char mark = line.front();
        const std::string_view rest = line.substr(1);
        std::int64_t number = 0;
        switch (mark) {
            case '+':
            case '(':
                return close_line(rest, false, out);
            case '-':
                return close_line(rest, true, out);
            case ':':
                if (!read_integer(rest, number)) return bad("an integer is none");
                return close(resp_value::integer(number), out);
            case '#':
                if (rest != "t" && rest != "f") return bad("a boolean is none");
                return close(resp_value::integer(rest == "t"), out);
            case '_':
                if (!rest.empty()) return bad("a null is none");
                return close(resp_value(), out);
            case ',':
                return read_double(rest, out);
            case '$':
            case '=':
            case '!':
                if (!read_integer(rest, number) || number < -1) return bad("a length is none");
                if (number < 0) return close(resp_value(), out);
                begin_text(mark, static_cast<std::uint64_t>(number));
                return step::going;
            case '*':
            case '~':
            case '%':
            case '>':
            case '|':
                if (!read_integer(rest, number) || number < -1) return bad("a length is none");
                if (number < 0) return close(resp_value(), out);
                return begin_list(mark, static_cast<std::uint64_t>(number), out);
            default:
                return bad("it begins with a byte that begins nothing");
        }
    }

    void begin_text(char mark, std::uint64_t size) {
        if (size > limits_.bytes || !spent(static_cast<std::size_t>(size)))
            return static_cast<void>(fail("a reply is too large"));
        in_text_ = true;
        mark_ = mark;
        left_ = static_cast<std::size_t>(size);
        text_.clear();
        // Not all that is promised: whoever promises much must send it first.
        text_.reserve(std::min<std::size_t>(left_, std::size_t{1} << 20));
        ending_ = 0;
    }
    bool fill_text() {
        const std::size_t count = std::min(left_, rest_.size());
        text_.append(rest_.substr(0, count));
        rest_.remove_prefix(count);
        left_ -= count;
        if (left_ > 0) return false;
        for (; ending_ < 2 && !rest_.empty(); ++ending_) {
            if (rest_.front() != "\r\n"[ending_]) return fail("a text is longer than it should be");
            rest_.remove_prefix(1);
        }
        return ending_ == 2;
    }
    resp_value take_text() {
        std::string text = std::move(text_);
        text_.clear();
        if (mark_ == '!') return resp_value::error(std::move(text));
        // A verbatim string begins with its format: "txt:".
        if (mark_ == '=') text.erase(0, std::min<std::size_t>(text.size(), 4));
        return resp_value::text(std::move(text));
    }

    step begin_list(char mark, std::uint64_t size, resp_value& out) {
        const bool pairs = mark == '%' || mark == '|';
        if (size > limits_.items) return bad("a reply has too many parts");
        const std::size_t count = static_cast<std::size_t>(size) * (pairs ? 2 : 1);
        items_ += count;
        if (items_ > limits_.items) return bad("a reply has too many parts");
        if (mark == '>' && !open_.empty()) return bad("a push stands inside a reply");
        if (count == 0) {
            if (mark == '|') return step::going;
            const step how = close(resp_value::list({}), out);
            return mark == '>' ? step::push : how;
        }
        if (open_.size() >= limits_.depth) return bad("a reply is too deep");
        level fresh;
        fresh.left = count;
        fresh.mark = mark;
        fresh.items.reserve(std::min<std::size_t>(count, 64));
        open_.push_back(std::move(fresh));
        return step::going;
    }

    /// Puts a value where it belongs, and closes the lists that it completes.
    step close(resp_value value, resp_value& out) {
        char mark = '*';
        while (!open_.empty()) {
            level& in = open_.back();
            in.items.push_back(std::move(value));
            if (--in.left > 0) return step::going;
            mark = in.mark;
            value = resp_value::list(std::move(in.items));
            open_.pop_back();
            if (mark == '|') return step::going;  // an attribute: what it belongs to follows
        }
        out = std::move(value);
        bytes_ = items_ = 0;
        return mark == '>' ? step::push : step::whole;
    }
    step close_line(std::string_view text, bool error, resp_value& out) {
        if (!spent(text.size())) return bad("a reply is too large");
        std::string copy(text);
        return close(error ? resp_value::error(std::move(copy)) : resp_value::text(std::move(copy)),
                     out);
    }

    step read_double(std::string_view text, resp_value& out) {
        double value = 0;
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (failed != std::errc() || end != text.data() + text.size())
            return bad("a number is none");
        return close(resp_value::number(value), out);
    }
    static bool read_integer(std::string_view text, std::int64_t& value) {
        if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
        return failed == std::errc() && end == text.data() + text.size();
    }

    bool spent(std::size_t size) {
        bytes_ += size;
        return bytes_ <= limits_.bytes;
    }
    bool fail(std::string_view why) {
        problem_ = why;
        return false;
    }
    step bad(std::string_view why) {
        fail(why);
        return step::going;
    }

    resp_limits limits_;
    std::string_view rest_;
    std::string_view problem_;
    std::string line_;  // the beginning of a line that came in pieces
    bool in_text_ = false;
    char mark_ = '$';
    std::size_t left_ = 0;
    unsigned ending_ = 0;
    std::string text_;
    std::vector<level> open_;
    std::size_t bytes_ = 0;
    std::size_t items_ = 0;
};

}  // namespace llmkit::detail
