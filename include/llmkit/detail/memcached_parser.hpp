// llmkit/detail/memcached_parser.hpp: reads what a memcached says, as it comes, within bounds.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <llmkit/detail/reply_step.hpp>

namespace llmkit::detail {

enum class memcached_kind : std::uint8_t {
    value,   ///< VA: here is the item
    done,    ///< HD, MN, STORED, OK
    absent,  ///< EN, NF: there is no such item
    kept,    ///< NS, EX: not stored
    error,   ///< ERROR, CLIENT_ERROR, SERVER_ERROR
};

/// A reply to one command.
struct memcached_reply {
    memcached_kind kind = memcached_kind::error;
    std::string text;          ///< the item; or the error, whole
    std::int64_t ttl = -1;     ///< `t`: seconds left; -1: for ever, or not asked for
    std::uint64_t client = 0;  ///< `f`: what the client had stored with it
};

struct memcached_limits {
    std::size_t bytes = std::size_t{65} << 20;  ///< of an item
    std::size_t line = 8 * 1024;
};

/// An incremental parser of replies to memcached's meta commands (doc/protocol.txt of memcached
/// 1.6): the same replies come out however the bytes are cut. What is not allowed ends it.
///
///     parser.feed(piece);                        // which must live until `more`
///     while ((step = parser.next(reply)) == reply_step::reply) use(reply);
class memcached_parser {
public:
    using reply = memcached_reply;

    explicit memcached_parser(const memcached_limits& limits = {}) : limits_(limits) {}

    /// More input, once `next` has said `more`.
    void feed(std::string_view piece) { rest_ = piece; }

    reply_step next(memcached_reply& out) {
        if (problem_.empty() && !in_item_) {
            std::string_view line;
            if (take_line(line)) {
                item_ = memcached_reply();
                read(line);
                line_.clear();
                if (problem_.empty() && !in_item_) return give(out);
            }
        }
        if (problem_.empty() && in_item_ && fill_item()) return give(out);
        return problem_.empty() ? reply_step::more : reply_step::broken;
    }

    /// What was wrong, once it is broken.
    std::string_view problem() const { return problem_; }
    /// Whether a reply has begun and not ended.
    bool midway() const { return in_item_ || !line_.empty() || !rest_.empty(); }

private:
    reply_step give(memcached_reply& out) {
        out = std::move(item_);
        return reply_step::reply;
    }
    bool fail(std::string_view why) {
        problem_ = why;
        return false;
    }

    /// A line without its end; views the input, or `line_` where it came in pieces.
    bool take_line(std::string_view& line) {
        const std::size_t at = rest_.find('\n');
        const std::size_t count = at == std::string_view::npos ? rest_.size() : at + 1;
        if (line_.size() + count > limits_.line) return fail("a line is too long");
        line = rest_.substr(0, count);
        rest_.remove_prefix(count);
        if (at == std::string_view::npos || !line_.empty()) {
            line_.append(line);
            line = line_;
        }
        if (at == std::string_view::npos) return false;
        if (line.size() < 2 || line[line.size() - 2] != '\r')
            return fail("a line does not end as it should");
        line.remove_suffix(2);
        return true;
    }

    void read(std::string_view line) {
        const std::string_view whole = line;
        const std::string_view what = word(line);
        if (what == "VA") {
            begin_item(line);
        } else if (what == "HD" || what == "MN" || what == "STORED" || what == "OK") {
            item_.kind = memcached_kind::done;
            read_flags(line);
        } else if (what == "EN" || what == "NF") {
            item_.kind = memcached_kind::absent;
        } else if (what == "NS" || what == "EX") {
            item_.kind = memcached_kind::kept;
        } else if (what == "ERROR" || what == "CLIENT_ERROR" || what == "SERVER_ERROR") {
            item_.text = std::string(whole);
        } else {
            fail("it begins with a word that begins nothing");
        }
    }
    void begin_item(std::string_view line) {
        std::uint64_t size = 0;
        if (!number(word(line), size)) return static_cast<void>(fail("a length is none"));
        if (size > limits_.bytes) return static_cast<void>(fail("an item is too large"));
        item_.kind = memcached_kind::value;
        read_flags(line);
        left_ = static_cast<std::size_t>(size) + 2;
        in_item_ = true;
        // No more than has come may be reserved on the word of a length.
        item_.text.reserve(std::min(left_, std::max<std::size_t>(rest_.size(), 64 * 1024)));
    }
    void read_flags(std::string_view line) {
        while (!line.empty()) {
            const std::string_view flag = word(line);
            if (flag.empty()) continue;
            const std::string_view value = flag.substr(1);
            std::uint64_t count = 0;
            if (flag.front() == 't' && value != "-1" && number(value, count))
                item_.ttl = static_cast<std::int64_t>(std::min<std::uint64_t>(count, INT64_MAX));
            if (flag.front() == 'f' && number(value, count)) item_.client = count;
        }
    }
    bool fill_item() {
        const std::size_t count = std::min(left_, rest_.size());
        item_.text.append(rest_.substr(0, count));
        rest_.remove_prefix(count);
        left_ -= count;
        if (left_ > 0) return false;
        in_item_ = false;
        if (!item_.text.ends_with("\r\n")) return fail("an item does not end as it should");
        item_.text.resize(item_.text.size() - 2);
        return true;
    }

    /// Takes the first word off.
    static std::string_view word(std::string_view& line) {
        const std::size_t end = std::min(line.find(' '), line.size());
        const std::string_view out = line.substr(0, end);
        line.remove_prefix(std::min(end + 1, line.size()));
        return out;
    }
    static bool number(std::string_view text, std::uint64_t& out) {
        const char* const end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, out);
        return read.ec == std::errc() && read.ptr == end;
    }

    memcached_limits limits_;
    std::string_view rest_;
    std::string line_;
    memcached_reply item_;
    bool in_item_ = false;
    std::size_t left_ = 0;
    std::string_view problem_;
};

}  // namespace llmkit::detail
