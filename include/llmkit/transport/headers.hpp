// llmkit/transport/headers.hpp: the header fields of an HTTP message, in order.
#pragma once

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
/// All text lies in one buffer: a set of 20 costs two allocations. Views handed out live until the
/// next change. Anything may be put in; `problem()` says whether it may be sent, and nothing that
/// has a problem is ever written to a connection.
class headers {
public:
    /// Appends a field. Throws `std::length_error` beyond 4 GiB of text.
    headers& add(std::string_view name, std::string_view value) {
        if (holds(name) || holds(value)) return add(std::string(name), std::string(value));
        append(name.size(), name.size(), value.size(), name.size() + value.size());
        text_.append(name).append(value);
        return *this;
    }

    /// Appends a field as it stands in a message: the name in front of `line`, its value further on
    /// in it. One copy instead of two; for parsers, and only for text from elsewhere.
    headers& add_line(std::string_view line, std::size_t name_size, std::string_view value) {
        const auto at = static_cast<std::size_t>(value.data() - line.data());
        append(name_size, at, value.size(), at + value.size());
        text_.append(line.data(), at + value.size());
        return *this;
    }

    /// Gives the name this one value: the first field of that name changes in its place, further
    /// ones go away; without one, the field is appended.
    headers& set(std::string_view name, std::string_view value) {
        if (holds(name) || holds(value)) return set(std::string(name), std::string(value));
        const std::size_t first = find(name, 0);
        if (first == fields_.size()) return add(name, value);
        for (std::size_t i = find(name, first + 1); i < fields_.size(); i = find(name, i)) erase(i);
        if (value.size() > room()) throw std::length_error("llmkit: headers > 4 GiB");
        field& old = fields_[first];
        text_.replace(old.value, old.value_size, value);
        const auto size = static_cast<std::uint32_t>(value.size());
        // Modulo 2³², so that it is right when the text shrinks, too.
        for (std::size_t i = first + 1; i < fields_.size(); ++i)
            fields_[i].move(size - old.value_size);
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
        const std::string_view text = text_;
        return {text.substr(f.name, f.name_size), text.substr(f.value, f.value_size)};
    }

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
    // Places in text_; a name comes before its value.
    struct field {
        std::uint32_t name;
        std::uint32_t name_size;
        std::uint32_t value;
        std::uint32_t value_size;

        void move(std::uint32_t by) {
            name += by;
            value += by;
        }
    };

    void append(std::size_t name_size, std::size_t value_at, std::size_t value_size,
                std::size_t bytes) {
        if (bytes > room()) throw std::length_error("llmkit: headers > 4 GiB");
        const auto begin = static_cast<std::uint32_t>(text_.size());
        fields_.push_back({begin, static_cast<std::uint32_t>(name_size),
                           begin + static_cast<std::uint32_t>(value_at),
                           static_cast<std::uint32_t>(value_size)});
    }

    std::size_t room() const { return std::numeric_limits<std::uint32_t>::max() - text_.size(); }

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
        const field gone = fields_[i];
        const std::uint32_t size = gone.value + gone.value_size - gone.name;
        text_.erase(gone.name, size);
        fields_.erase(fields_.begin() + static_cast<std::ptrdiff_t>(i));
        for (; i < fields_.size(); ++i) fields_[i].move(0u - size);
    }

    std::string text_;
    std::vector<field> fields_;
};

}  // namespace llmkit
