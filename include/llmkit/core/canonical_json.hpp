// llmkit/core/canonical_json.hpp: one spelling for all JSON texts that mean the same.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/json_scan.hpp>

namespace llmkit {
namespace detail {

class canonical_writer {
public:
    canonical_writer(std::string_view json, std::string& out,
                     std::span<const std::string_view> excluded)
        : scan_(json), out_(out), excluded_(excluded) {
        members_.reserve(48);
        // Strings never grow, and sorting needs the room once more: this nearly always suffices.
        if (out_.size() < 2 * json.size() + 64) out_.resize(2 * json.size() + 64);
        p_ = out_.data();
        end_ = p_ + out_.size();
    }

    /// Whether it could be written; `written` then is what the first bytes of `out` hold.
    bool write() { return value() && scan_.finish(); }
    std::string_view written() const { return std::string_view(out_).substr(0, size()); }

private:
    struct member {
        std::size_t begin;
        std::size_t name_size;  // with its quotes
        std::size_t size;
        std::uint64_t first_bytes;  // of the name, as a number that sorts like them
    };

    std::size_t size() const { return static_cast<std::size_t>(p_ - out_.data()); }

    void make_room(std::size_t bytes) {
        if (static_cast<std::size_t>(end_ - p_) < bytes) grow(bytes);
    }
    [[gnu::noinline]] void grow(std::size_t bytes) {
        const std::size_t used = size();
        out_.resize(std::max(out_.size() * 2, used + bytes));
        p_ = out_.data() + used;
        end_ = out_.data() + out_.size();
    }

    void put(char byte) {
        make_room(1);
        *p_++ = byte;
    }
    void put(std::string_view text) {
        make_room(text.size());
        copy(text.data(), text.size());
    }

    /// Most pieces are short; they are not worth a call of memcpy. Needs room.
    void copy(const char* from, std::size_t size) {
        if (size > 16) {
            std::memcpy(p_, from, size);
        } else if (size >= 8) {
            copy_ends<std::uint64_t>(from, size);
        } else if (size >= 4) {
            copy_ends<std::uint32_t>(from, size);
        } else {
            for (std::size_t i = 0; i < size; ++i) p_[i] = from[i];
        }
        p_ += size;
    }
    template <class Word>
    void copy_ends(const char* from, std::size_t size) {
        Word head;
        Word tail;
        std::memcpy(&head, from, sizeof head);
        std::memcpy(&tail, from + size - sizeof tail, sizeof tail);
        std::memcpy(p_, &head, sizeof head);
        std::memcpy(p_ + size - sizeof tail, &tail, sizeof tail);
    }

    bool value() {
        json_string text;
        std::string_view raw;
        switch (scan_.kind()) {
            case json_kind::object:
                return object();
            case json_kind::array:
                return array();
            case json_kind::string:
                if (!scan_.read(text)) return false;
                string(text);
                return true;
            case json_kind::number:
                return scan_.read_raw(raw) && number(raw);
            default:
                if (!scan_.read_raw(raw)) return false;
                put(raw);
                return true;
        }
    }

    bool array() {
        put('[');
        bool fine = true;
        bool first = true;
        fine = scan_.elements([&] {
            if (!fine) return;
            if (!first) put(',');
            first = false;
            fine = value();
        }) && fine;
        put(']');
        return fine;
    }

    bool object() {
        const bool top = members_.empty() && size() == 0;
        const std::size_t start = size() + 1;
        const std::size_t base = members_.size();
        bool fine = true;
        bool sorted = true;
        put('{');
        fine = scan_.members([&](json_string name) {
            if (!fine || (top && is_excluded(name))) return;
            if (members_.size() != base) put(',');
            member here{size(), 0, 0, 0};
            string(name);
            here.name_size = size() - here.begin;
            here.first_bytes = sortable(name_of(here));
            if (members_.size() != base) sorted = sorted && !less(here, members_.back());
            members_.push_back(here);
            put(':');
            fine = value();
            members_.back().size = size() - here.begin;
        }) && fine;
        if (fine && !sorted) sort_members(base, start);
        members_.resize(base);
        put('}');
        return fine;
    }

    bool is_excluded(const json_string& name) const {
        return std::any_of(excluded_.begin(), excluded_.end(),
                           [&](std::string_view one) { return name == one; });
    }

    std::string_view name_of(const member& one) const {
        return {out_.data() + one.begin + 1, one.name_size - 2};
    }
    static std::uint64_t sortable(std::string_view name) {
        std::uint64_t number = 0;
        if (std::endian::native == std::endian::little && name.size() >= sizeof number) {
            std::memcpy(&number, name.data(), sizeof number);
            return __builtin_bswap64(number);
        }
        for (std::size_t i = 0; i < std::min(name.size(), sizeof number); ++i)
            number |= std::uint64_t{static_cast<unsigned char>(name[i])} << (56 - 8 * i);
        return number;
    }
    /// Bytewise, as long as no name holds NUL: it is escaped.
    bool less(const member& left, const member& right) const {
        if (left.first_bytes != right.first_bytes) return left.first_bytes < right.first_bytes;
        const int order = name_of(left).compare(name_of(right));
        return order != 0 ? order < 0 : left.begin < right.begin;
    }

    /// Puts the members of the object whose inside begins at `start` in order, by way of the room
    /// behind it.
    void sort_members(std::size_t base, std::size_t start) {
        const std::size_t inside = size() - start;
        make_room(inside + 1);
        const std::span<member> mine = std::span(members_).subspan(base);
        const auto before = [this](const member& left, const member& right) {
            return less(left, right);
        };
        if (mine.size() > 12) {
            std::sort(mine.begin(), mine.end(), before);
        } else {
            for (auto one = mine.begin() + 1; one != mine.end(); ++one)
                std::rotate(std::upper_bound(mine.begin(), one, *one, before), one, one + 1);
        }
        char* to = p_;
        for (const member& one : mine) {
            std::memcpy(to, out_.data() + one.begin, one.size);
            to += one.size;
            *to++ = ',';
        }
        std::memcpy(out_.data() + start, p_, inside);
    }

    void string(const json_string& text) {
        make_room(text.raw.size() + 2);
        *p_++ = '"';
        if (text.escaped) {
            escaped_text(text.raw);
        } else {
            copy(text.raw.data(), text.raw.size());
        }
        *p_++ = '"';
    }

    void escaped_text(std::string_view raw) {
        const char* from = raw.data();
        const char* const end = from + raw.size();
        while (from != end) {
            const auto left = static_cast<std::size_t>(end - from);
            const auto* found = static_cast<const char*>(std::memchr(from, '\\', left));
            const char* const stop = found == nullptr ? end : found;
            copy(from, static_cast<std::size_t>(stop - from));
            from = stop;
            if (from == end) return;
            if (from[1] != 'u' && from[1] != '/') {
                *p_++ = *from++;
                *p_++ = *from++;
            } else {
                put_code(take_escape(from, end));
            }
        }
    }

    /// One character of a string, never longer than the `\u` escape (or `\/`) that it came as.
    void put_code(char32_t code) {
        static constexpr std::string_view shorts = "b\bf\fn\nr\rt\t\"\"\\\\";
        static constexpr std::string_view hex = "0123456789abcdef";
        if (code < 0x80) {
            for (std::size_t i = 1; i < shorts.size(); i += 2) {
                if (static_cast<char32_t>(shorts[i]) != code) continue;
                *p_++ = '\\';
                *p_++ = shorts[i - 1];
                return;
            }
        }
        if (code >= 0x20 && !is_surrogate(code)) {
            char bytes[4];
            const char* const stop = put_utf8(bytes, code);
            for (const char* byte = bytes; byte != stop; ++byte) *p_++ = *byte;
            return;
        }
        *p_++ = '\\';
        *p_++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4) *p_++ = hex[(code >> shift) & 15U];
    }

    /// False for an exponent beyond what anybody means.
    bool number(std::string_view raw) {
        constexpr std::size_t plain_digits = 20;
        const bool plain = raw.find_first_of(".eE") == raw.npos;
        if (plain && raw.size() <= plain_digits && raw != "-0") {
            put(raw);
            return true;
        }
        make_room(raw.size() + 2 * plain_digits + 24);
        char* const start = p_;
        if (raw.front() == '-') {
            *p_++ = '-';
            raw.remove_prefix(1);
        }
        const std::size_t e = std::min(raw.find_first_of("eE"), raw.size());
        const std::size_t point = std::min(raw.find('.'), e);
        long long exponent = 0;
        // The digits without zeros in front and behind: the value is digits × 10^exponent.
        char* const digits = p_;
        char* last = p_;
        for (const char c : raw.substr(0, e)) {
            if (c == '.' || (c == '0' && p_ == digits)) continue;
            *p_++ = c;
            if (c != '0') last = p_;
        }
        if (p_ == digits) {
            p_ = start;
            *p_++ = '0';
            return true;
        }
        exponent = (p_ - last) - (point < e ? static_cast<long long>(e - point - 1) : 0);
        p_ = last;
        if (e != raw.size()) {
            std::string_view power = raw.substr(e + 1);
            const bool negative = power.front() == '-';
            power.remove_prefix(negative || power.front() == '+' ? 1 : 0);
            long long given = 0;
            const char* const stop = power.data() + power.size();
            if (std::from_chars(power.data(), stop, given).ec != std::errc()) return false;
            constexpr long long absurd = 1'000'000'000'000'000;
            if (given > absurd) return false;
            exponent += negative ? -given : given;
        }
        place_point(digits, exponent, static_cast<long long>(plain_digits));
        return true;
    }

    /// Writes digits × 10^exponent without an exponent where at most `most` digits stand on either
    /// side of the point.
    void place_point(char* digits, long long exponent, long long most) {
        const long long whole = (p_ - digits) + exponent;  // digits before the point
        if (whole > most || exponent < -most) {
            *p_++ = 'e';
            p_ = std::to_chars(p_, p_ + 20, exponent).ptr;
        } else if (exponent >= 0) {
            for (; exponent > 0; --exponent) *p_++ = '0';
        } else {
            const long long zeros = whole > 0 ? 0 : 1 - whole;  // "0" before it, and those behind
            char* const from = digits + (whole > 0 ? whole : 0);
            const auto tail = static_cast<std::size_t>(p_ - from);
            std::memmove(from + zeros + 1, from, tail);
            std::memset(from, '0', static_cast<std::size_t>(zeros));
            (whole > 0 ? *from : digits[1]) = '.';
            if (whole <= 0) std::memset(digits + 2, '0', static_cast<std::size_t>(zeros - 1));
            p_ += zeros + 1;
        }
    }

    json_scanner scan_;
    std::string& out_;
    std::span<const std::string_view> excluded_;
    char* p_ = nullptr;
    char* end_ = nullptr;
    std::array<std::byte, 1792> first_members_;
    std::pmr::monotonic_buffer_resource arena_{first_members_.data(), first_members_.size()};
    std::pmr::vector<member> members_{&arena_};  // of all objects that are open, innermost last
};

}  // namespace detail

/// Writes the canonical form of a JSON text to `out`: texts that mean the same have equal bytes,
/// and texts that do not have different ones. Members of the top-level object named in
/// `excluded_top_level` are left out.
///
///     std::string form;
///     canonical_json(R"({"b": 1.0, "a": "\u0041"})", form);  // {"a":"A","b":1}
///
/// The rules:
/// - no space between tokens; members ordered by the bytes of their names as written here;
/// - a name that is there twice stays twice, in the order given: parsers disagree about what it
///   means, so such a document equals none without;
/// - strings: `\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t` and else `\u00xx` for what must be escaped,
///   UTF-8 for everything else; a lone surrogate stays `\udxxx`. No Unicode normalisation;
/// - numbers: by their exact decimal value, never through a double. Without exponent and needless
///   zeros while at most 20 digits stand before the point and at most 20 behind, else as digits,
///   `e` and exponent. So `1`, `1.0`, `10e-1` are `1`; `-0` is `0`; `0.70` is `0.7`; `1e20` is
///   `1e20`.
///
/// False, and `out` empty, when the text is malformed, nested deeper than 256, or has an exponent
/// beyond 10^15. Members out of order are copied once a level that holds them.
inline bool canonical_json(std::string_view json, std::string& out,
                           std::span<const std::string_view> excluded_top_level = {}) {
    // Kept by the thread, because to clear it anew for each text would cost more than the work.
    thread_local std::string scratch;
    detail::canonical_writer writer(json, scratch, excluded_top_level);
    const bool fine = writer.write();
    out.assign(fine ? writer.written() : std::string_view());
    if (constexpr std::size_t kept = 256 * 1024; scratch.size() > kept) scratch = std::string();
    return fine;
}

}  // namespace llmkit
