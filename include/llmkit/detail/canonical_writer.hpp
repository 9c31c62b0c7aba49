// llmkit/detail/canonical_writer.hpp: JSON to its canonical form, in one walk over the text.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/canonical_number.hpp>
#include <llmkit/detail/json_string.hpp>
#include <llmkit/detail/json_tokens.hpp>

namespace llmkit::detail {

/// Walks over a text once and writes its canonical form.
///
/// Most of a text is canonical as it stands, so it is copied in runs: what lies between `run_` and
/// the place of the walk is yet to be copied, and belongs to the form.
class canonical_writer {
public:
    /// Of an object that is open.
    struct member {
        const char* from;           // its name's opening quote in the text,
        std::size_t begin;          // and in what is written
        std::size_t size;           // there
        std::uint64_t first_bytes;  // of the name, as a number that sorts like them
        const char* name;           // where the text spells it canonically, else null
        std::size_t name_size;
    };
    /// What a writer works with; kept from text to text, since making it anew costs as much as a
    /// short text does.
    struct memory {
        std::string out;
        std::vector<member> members;  // of all objects that are open, innermost last
    };

    canonical_writer(std::string_view json, std::span<const std::string_view> excluded,
                     memory& kept)
        : end_(json.data() + json.size()),
          run_(json.data()),
          out_(kept.out),
          members_(kept.members),
          excluded_(excluded) {
        members_.clear();
        // Strings never grow, and sorting needs the room once more: this nearly always suffices.
        if (out_.size() < 2 * json.size() + 64) out_.resize(2 * json.size() + 64);
        to_ = out_.data();
        room_ = to_ + out_.size();
    }

    /// The form, which lives in the memory; nothing when the text has none.
    std::optional<std::string_view> write() {
        run_ = past_space(run_, end_);
        if (run_ == end_) return std::nullopt;
        const char* const stop = value(run_, max_json_depth);
        if (stop == nullptr || past_space(stop, end_) != end_) return std::nullopt;
        if (sorted_) return sorted_;
        copy_run(stop);
        return std::string_view(out_).substr(0, size());
    }

private:
    std::size_t size() const { return static_cast<std::size_t>(to_ - out_.data()); }

    void make_room(std::size_t bytes) {
        if (static_cast<std::size_t>(room_ - to_) < bytes) grow(bytes);
    }
    [[gnu::noinline]] void grow(std::size_t bytes) {
        const std::size_t used = size();
        out_.resize(std::max(out_.size() * 2, used + bytes));
        to_ = out_.data() + used;
        room_ = out_.data() + out_.size();
    }

    /// memcpy for pieces of which most are short and not worth the call.
    [[gnu::always_inline]] static void copy(char* to, const char* from, std::size_t size) {
        const auto ends = [&](auto word) {
            auto head = word;
            auto tail = word;
            std::memcpy(&head, from, sizeof word);
            std::memcpy(&tail, from + size - sizeof word, sizeof word);
            std::memcpy(to, &head, sizeof word);
            std::memcpy(to + size - sizeof word, &tail, sizeof word);
        };
        if (size > 32) {
            std::memcpy(to, from, size);
        } else if (size >= 16) {
            ends(std::array<std::uint64_t, 2>());
        } else if (size >= 8) {
            ends(std::uint64_t{});
        } else {
            for (std::size_t i = 0; i < size; ++i) to[i] = from[i];
        }
    }

    void put(char byte) {
        make_room(1);
        *to_++ = byte;
    }
    void put(const char* from, const char* to) {
        const auto count = static_cast<std::size_t>(to - from);
        make_room(count);
        copy(to_, from, count);
        to_ += count;
    }
    /// Copies the text before `p`; the next run begins at `next`.
    void copy_run(const char* p, const char* next) {
        put(run_, p);
        run_ = next;
    }
    void copy_run(const char* p) { copy_run(p, p); }
    /// Where in the form the place `p` of the text will be.
    std::size_t place_of(const char* p) const {
        return size() + static_cast<std::size_t>(p - run_);
    }

    /// Past the value that begins at `p`, which is not the end; null when it has no form.
    const char* value(const char* p, std::size_t levels) {
        switch (*p) {
            case '"':
                return string(p);
            case '{':
                return levels == 0 ? nullptr : object(p, levels - 1);
            case '[':
                return levels == 0 ? nullptr : array(p, levels - 1);
            case 't':
            case 'f':
            case 'n':
                return past_constant(p, end_);
            default:
                return *p == '-' || is_json_digit(*p) ? number(p) : nullptr;
        }
    }

    /// The text between two elements or members, `before` and `p`, must be one comma, or in front of
    /// the first and behind the last nothing.
    [[gnu::always_inline]] void separate(const char* before, const char* p, bool comma) {
        if (p - before == (comma ? 1 : 0)) return;
        copy_run(before, p);
        if (comma) put(',');
    }

    const char* array(const char* p, std::size_t levels) {
        const char* before = p + 1;
        p = past_space(before, end_);
        for (bool first = true;; first = false) {
            if (p == end_) return nullptr;
            if (first && *p == ']') break;
            separate(before, p, !first);
            p = before = value(p, levels);
            if (p == nullptr) return nullptr;
            p = past_space(p, end_);
            if (p == end_) return nullptr;
            if (*p == ']') break;
            if (*p != ',') return nullptr;
            p = past_space(p + 1, end_);
        }
        separate(before, p, false);
        return p + 1;
    }

    const char* object(const char* p, std::size_t levels) {
        const char* const start = p;
        const char* const run = run_;
        const std::size_t base = members_.size();
        const bool top = levels == max_json_depth - 1;
        const char* before = p + 1;
        bool sorted = true;
        p = past_space(before, end_);
        for (bool first = true;; first = false) {
            if (p == end_) return nullptr;
            if (first && *p == '}') break;
            json_string name;
            json_escapes escapes = json_escapes::none;
            const char* const quote = p;
            if (*p != '"') return nullptr;
            const char* const close = scan_json_string(p + 1, end_, escapes);
            if (close == nullptr) return nullptr;
            name = {{p + 1, static_cast<std::size_t>(close - p - 1)},
                    escapes != json_escapes::none};
            const char* const colon = past_space(close + 1, end_);
            if (colon == end_ || *colon != ':') return nullptr;
            p = past_space(colon + 1, end_);
            if (p == end_) return nullptr;
            if (top && is_excluded(name)) {
                p = past_value(p, end_, levels);
            } else {
                separate(before, quote, members_.size() != base);
                const std::size_t at = members_.size();
                begin_member(quote, close, escapes);
                if (at != base) sorted = sorted && !less(members_[at], members_[at - 1]);
                if (p != close + 2) {
                    copy_run(close + 1, p);
                    put(':');
                }
                before = p = *p == '"' ? string(p) : value(p, levels);
                if (p == nullptr) return nullptr;
                members_[at].size = place_of(p) - members_[at].begin;
            }
            if (p == nullptr) return nullptr;
            p = past_space(p, end_);
            if (p == end_) return nullptr;
            if (*p == '}') break;
            if (*p != ',') return nullptr;
            p = past_space(p + 1, end_);
        }
        separate(before, p, false);
        if (!sorted) sort_members(base, start + 1, p, run == run_, top);
        members_.resize(base);
        return p + 1;
    }

    bool is_excluded(const json_string& name) const {
        for (const std::string_view one : excluded_) {
            if (name == one) return true;
        }
        return false;
    }

    /// Begins a member whose name stands between two quotes of the text. Written where it stays:
    /// copying it would read what was stored a moment ago in other sizes, which stalls.
    [[gnu::always_inline]] void begin_member(const char* quote, const char* close,
                                             json_escapes escapes) {
        member& one = members_.emplace_back();
        one.from = quote;
        one.begin = place_of(quote);
        one.name = quote + 1;
        one.name_size = static_cast<std::size_t>(close - quote - 1);
        if (escapes == json_escapes::coded) {
            recode(quote, close);
            copy_run(close + 1);
            one.name = nullptr;
            one.name_size = size() - one.begin - 2;
        }
        one.first_bytes = first_bytes(name_of(one), one.name != nullptr && end_ - one.name >= 8);
    }
    std::string_view name_of(const member& one) const {
        return {one.name != nullptr ? one.name : out_.data() + one.begin + 1, one.name_size};
    }
    static std::uint64_t first_bytes(std::string_view name, bool more_follows) {
        std::uint64_t number = 0;
        const std::size_t used = std::min(name.size(), sizeof number);
        if (std::endian::native == std::endian::little && more_follows && used != 0) {
            std::memcpy(&number, name.data(), sizeof number);
            return __builtin_bswap64(number) & (~std::uint64_t{0} << (64 - 8 * used));
        }
        for (std::size_t i = 0; i < used; ++i)
            number |= std::uint64_t{static_cast<unsigned char>(name[i])} << (56 - 8 * i);
        return number;
    }
    /// Bytewise, as long as no name holds NUL: it is escaped.
    bool less(const member& left, const member& right) const {
        if (left.first_bytes != right.first_bytes) return left.first_bytes < right.first_bytes;
        const int order = name_of(left).compare(name_of(right));
        return order != 0 ? order < 0 : left.begin < right.begin;
    }

    /// Puts the members of an object in order, whose inside is [from, to) in the text. `whole`: all
    /// of it lies in the run.
    void sort_members(std::size_t base, const char* from, const char* to, bool whole, bool top) {
        const std::span<member> mine = std::span(members_).subspan(base);
        copy_run(whole ? from : to, to);
        const std::size_t first = mine.front().begin;
        const std::size_t inside = whole ? static_cast<std::size_t>(to - from) : size() - first;
        make_room(inside + 2);
        // What was written already goes by way of the room behind it.
        char* out = to_;
        if (top) *out++ = '{';
        const auto write = [&](const member& one) {
            const char* const text = whole ? one.from : out_.data() + one.begin;
            copy(out, text, one.size);
            out += one.size;
            *out++ = ',';
        };
        in_order(mine, write);
        if (top) {
            out[-1] = '}';
            sorted_ = std::string_view(to_, inside + 2);
        } else if (whole) {
            to_ += inside;
        } else {
            std::memcpy(out_.data() + first, to_, inside);
        }
    }

    template <class Visit>
    void in_order(std::span<member> mine, const Visit& visit) {
        std::array<const member*, 12> few;
        if (mine.size() > few.size()) {
            std::sort(mine.begin(), mine.end(), [this](const member& left, const member& right) {
                return less(left, right);
            });
            for (const member& one : mine) visit(one);
            return;
        }
        std::size_t count = 0;
        for (const member& one : mine) {
            std::size_t at = count++;
            for (; at != 0 && less(one, *few[at - 1]); --at) few[at] = few[at - 1];
            few[at] = &one;
        }
        for (std::size_t i = 0; i < count; ++i) visit(*few[i]);
    }

    const char* string(const char* quote) {
        json_escapes escapes = json_escapes::none;
        const char* const close = scan_json_string(quote + 1, end_, escapes);
        if (close == nullptr) return nullptr;
        if (escapes == json_escapes::coded) recode(quote, close);
        return close + 1;
    }

    /// Writes a string's escapes as the form spells them, up to the closing quote.
    void recode(const char* quote, const char* close) {
        const char* p = quote + 1;
        make_room(static_cast<std::size_t>(close - run_));
        for (;;) {
            const auto left = static_cast<std::size_t>(close - p);
            p = static_cast<const char*>(std::memchr(p, '\\', left));
            if (p == nullptr) return;
            if (p[1] != 'u' && p[1] != '/') {
                p += 2;
                continue;
            }
            copy_run(p);
            put_code(take_escape(p, close));
            run_ = p;
        }
    }

    /// One character of a string, never longer than the `\u` escape (or `\/`) that it came as.
    void put_code(char32_t code) {
        static constexpr std::string_view shorts = "b\bf\fn\nr\rt\t\"\"\\\\";
        static constexpr std::string_view hex = "0123456789abcdef";
        if (code < 0x80) {
            for (std::size_t i = 1; i < shorts.size(); i += 2) {
                if (static_cast<char32_t>(shorts[i]) != code) continue;
                *to_++ = '\\';
                *to_++ = shorts[i - 1];
                return;
            }
        }
        if (code >= 0x20 && !is_surrogate(code)) {
            char bytes[4];
            const char* const stop = put_utf8(bytes, code);
            for (const char* byte = bytes; byte != stop; ++byte) *to_++ = *byte;
            return;
        }
        *to_++ = '\\';
        *to_++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4) *to_++ = hex[(code >> shift) & 15U];
    }

    /// Past the number at `p`; null also for an exponent beyond what anybody means.
    const char* number(const char* p) {
        const char* const stop = past_number(p, end_);
        if (stop == nullptr || is_canonical_number({p, stop})) return stop;
        copy_run(p, stop);
        make_room(static_cast<std::size_t>(stop - p) + 64);
        to_ = put_canonical_number({p, stop}, to_);
        return to_ == nullptr ? nullptr : stop;
    }

    const char* end_;
    const char* run_;
    std::string& out_;
    std::vector<member>& members_;
    std::span<const std::string_view> excluded_;
    char* to_ = nullptr;                      // where the form goes on
    char* room_ = nullptr;                    // the end of what it may use
    std::optional<std::string_view> sorted_;  // the whole form, when the top level was sorted
};

}  // namespace llmkit::detail
