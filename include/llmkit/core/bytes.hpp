// llmkit/core/bytes.hpp: immutable text that many can hold without copying it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/detail/pooled.hpp>

namespace llmkit {

/// A reference-counted, immutable run of bytes. Copies and slices share one buffer.
///
///     llmkit::bytes body(std::string("{\"a\":1}"));
///     std::string_view text = body.view();          // valid while any copy or slice lives
class bytes {
public:
    bytes() = default;
    /// Takes the text over; nothing is copied but the string's own move.
    explicit bytes(std::string text) {
        auto owner = detail::make_pooled<std::string>(std::move(text));
        view_ = *owner;
        owner_ = std::move(owner);
    }
    /// A view into something that `owner` keeps alive.
    bytes(std::shared_ptr<const void> owner, std::string_view view)
        : owner_(std::move(owner)), view_(view) {}
    /// Text that lives for ever, such as a literal.
    static bytes literal(std::string_view text) { return bytes(nullptr, text); }
    static bytes copy(std::string_view text) {
        auto room = std::make_shared_for_overwrite<char[]>(text.size());
        text.copy(room.get(), text.size());
        const char* const begin = room.get();
        return bytes(std::move(room), {begin, text.size()});
    }

    std::string_view view() const { return view_; }
    std::size_t size() const { return view_.size(); }
    bool empty() const { return view_.empty(); }
    bytes slice(std::size_t at, std::size_t count) const {
        return bytes(owner_, view_.substr(at, count));
    }

    friend bool operator==(const bytes& a, const bytes& b) { return a.view_ == b.view_; }

private:
    std::shared_ptr<const void> owner_;
    std::string_view view_;
};

}  // namespace llmkit
