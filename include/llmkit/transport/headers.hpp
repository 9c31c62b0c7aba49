// llmkit/transport/headers.hpp: the header fields of an HTTP message, in order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/http_chars.hpp>

namespace llmkit {

/// One field as `headers` shows it: two views that live until the `headers` change.
struct header {
    std::string_view name;
    std::string_view value;
};

/// Header fields in the order they were added. Names compare without regard to case and keep the
/// spelling they came in; a name may occur more than once.
///
///     headers h;
///     h.set("Content-Type", "application/json").add("X-Tag", "a").add("X-Tag", "b");
///     h.get("content-type");                       // "application/json"
///     for (auto [name, value] : h) …
///
/// All text lies in one buffer, as it stands in a message: a small set costs two allocations, and
/// writing it one copy. Views handed out live until the next change. Anything may be put in;
/// `problem()` says whether it may be sent, and nothing that has a problem is ever written to a
/// connection.
class headers {
public:
    /// Appends a field. Throws `std::length_error` beyond 4 GiB of text.
    headers& add(std::string_view name, std::string_view value) {
        if (holds(name) || holds(value)) return add(std::string(name), std::string(value));
        const std::size_t begin = text_.size();
        const std::size_t size = name.size() + value.size() + around;
        if (size > most - begin) throw std::length_error("llmkit: headers > 4 GiB");
        if (fields_.capacity() == 0) reserve(8, 256);
        note(name.size(), name.size() + 2, value.size());
        text_.resize(begin + size);
        char* to = std::copy(name.begin(), name.end(), text_.data() + begin);
        *to++ = ':';
        *to++ = ' ';
        to = std::copy(value.begin(), value.end(), to);
        *to++ = '\r';
        *to = '\n';
        return *this;
    }

    /// Appends a field as it stands in a message, for parsers: `line` begins with the name and ends
    /// in CR LF, the value lies in it.
    headers& add_line(std::string_view line, std::size_t name_size, std::string_view value) {
        if (line.size() > most - text_.size()) throw std::length_error("llmkit: headers > 4 GiB");
        note(name_size, static_cast<std::size_t>(value.data() - line.data()), value.size());
        text_.append(line);
        return *this;
    }

    /// Gives the name this one value: the first field of that name changes in its place, further
    /// ones go away; without one, the field is appended.
    headers& set(std::string_view name, std::string_view value) {
        if (holds(name) || holds(value)) return set(std::string(name), std::string(value));
        const std::size_t first = find(name, 0);
        if (first == fields_.size()) return add(name, value);
        for (std::size_t i = find(name, first + 1); i < fields_.size(); i = find(name, i)) erase(i);
        field& old = fields_[first];
        if (value.size() > most - text_.size()) throw std::length_error("llmkit: headers > 4 GiB");
        text_.replace(std::size_t{old.begin} + old.value, old.value_size, value);
        const auto size = static_cast<std::uint32_t>(value.size());
        // Modulo 2³², so that it is right when the text shrinks, too.
        for (std::size_t i = first + 1; i < fields_.size(); ++i)
            fields_[i].begin += size - old.value_size;
        old.value_size = size;
        return *this;
    }

    /// Takes out every field of that name; how many there were.
    std::size_t remove(std::string_view name) {
        if (holds(name)) return remove(std::string(name));
        std::size_t count = 0;
        for (std::size_t i = find(name, 0); i < fields_.size(); i = find(name, i), ++count)
            erase(i);
        return count;
    }

    /// The first value of that name.
    std::optional<std::string_view> get(std::string_view name) const {
        const std::size_t i = find(name, 0);
        if (i == fields_.size()) return std::nullopt;
        return (*this)[i].value;
    }

    bool contains(std::string_view name) const { return find(name, 0) != fields_.size(); }

    std::size_t size() const { return fields_.size(); }
    bool empty() const { return fields_.empty(); }

    /// The field at a place below `size()`.
    header operator[](std::size_t i) const {
        const field& f = fields_[i];
        const char* const line = text_.data() + f.begin;
        return {{line, f.name_size}, {line + f.value, f.value_size}};
    }

    /// All fields as they stand in a message: `Name: value` and CR LF for each, blanks around a value
    /// as they came. Not to be sent when there is a `problem()`.
    std::string_view lines() const { return text_; }

    /// Forgets all fields, keeps the memory.
    void clear() {
        text_.clear();
        fields_.clear();
    }

    /// Makes room, so that filling up to these sizes allocates no more.
    void reserve(std::size_t fields, std::size_t bytes) {
        fields_.reserve(fields);
        text_.reserve(bytes);
    }

    /// Whether text may be a field's name: a token of RFC 9110 §5.6.2.
    static constexpr bool valid_name(std::string_view name) { return detail::is_token(name); }

    /// Whether text may be a field's value: no CR, LF, NUL or other control but a tab
    /// (RFC 9110 §5.5). Whoever let these through would let a value smuggle in further fields.
    static bool valid_value(std::string_view value) { return !detail::has_control(value); }

    /// What is wrong with a field, in words; empty when it may be sent. Names the field when its
    /// name is sound, never shows the value, which may be a key.
    static std::string problem(std::string_view name, std::string_view value) {
        if (name.empty()) return "a header has no name: give it one";
        if (!valid_name(name))
            return "a header's name holds a character that HTTP forbids there: use letters, digits "
                   "and '-', without a colon or spaces";
        for (const char c : value) {
            if (!detail::is_control(c)) continue;
            const std::string_view what = c == '\r' || c == '\n' ? "a line break"
                                          : c == '\0'            ? "a NUL byte"
                                                                 : "a control character";
            return std::string("the value of header '")
                .append(name)
                .append("' holds ")
                .append(what)
                .append(": remove it (a key read from a file often ends in a newline)");
        }
        return {};
    }

    /// The first problem among the fields; empty when all may be sent.
    std::string problem() const {
        for (const auto [name, value] : *this)
            if (!valid_name(name) || !valid_value(value)) return problem(name, value);
        return {};
    }

    class iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = header;
        using difference_type = std::ptrdiff_t;
        using pointer = void;
        using reference = header;

        iterator() = default;
        iterator(const headers& from, std::size_t at) : from_(&from), at_(at) {}
        header operator*() const { return (*from_)[at_]; }
        iterator& operator++() {
            ++at_;
            return *this;
        }
        iterator operator++(int) {
            iterator old = *this;
            ++at_;
            return old;
        }
        friend bool operator==(const iterator& a, const iterator& b) { return a.at_ == b.at_; }

    private:
        const headers* from_ = nullptr;
        std::size_t at_ = 0;
    };
    iterator begin() const { return {*this, 0}; }
    iterator end() const { return {*this, fields_.size()}; }

private:
    static constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
    static constexpr std::size_t around = 4;  // colon, space, CR and LF

    struct field {
        std::uint32_t begin;  // of its line in text_
        std::uint32_t name_size;
        std::uint32_t value;  // where it begins in the line
        std::uint32_t value_size;
    };

    void note(std::size_t name_size, std::size_t value, std::size_t value_size) {
        fields_.push_back({static_cast<std::uint32_t>(text_.size()),
                           static_cast<std::uint32_t>(name_size), static_cast<std::uint32_t>(value),
                           static_cast<std::uint32_t>(value_size)});
    }

    // A view into our own buffer would dangle when that grows.
    bool holds(std::string_view view) const {
        const std::less<const char*> before;
        return !view.empty() && !before(view.data(), text_.data()) &&
               before(view.data(), text_.data() + text_.size());
    }

    std::size_t find(std::string_view name, std::size_t from) const {
        for (; from < fields_.size(); ++from)
            if (detail::same_ignoring_case((*this)[from].name, name)) break;
        return from;
    }

    void erase(std::size_t i) {
        const std::size_t begin = fields_[i].begin;
        const std::size_t end = i + 1 < fields_.size() ? fields_[i + 1].begin : text_.size();
        text_.erase(begin, end - begin);
        fields_.erase(fields_.begin() + static_cast<std::ptrdiff_t>(i));
        for (; i < fields_.size(); ++i) fields_[i].begin -= static_cast<std::uint32_t>(end - begin);
    }

    std::string text_;
    std::vector<field> fields_;
};

}  // namespace llmkit
