// llmkit/detail/resp_value.hpp: what a Redis server may say in reply.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmkit::detail {

enum class resp_kind : std::uint8_t {
    nil,
    text,     ///< simple, bulk and verbatim strings, and big numbers
    error,    ///< "WRONGTYPE Operation against a key …"
    integer,  ///< also RESP3's booleans: 0 or 1
    number,   ///< RESP3's doubles
    list,     ///< arrays and sets; maps as key, value, key, value
};

/// One reply of Redis, in RESP2 or RESP3: the differences that matter to nobody are gone.
class resp_value {
public:
    resp_value() = default;

    static resp_value text(std::string what) { return {resp_kind::text, std::move(what)}; }
    static resp_value error(std::string what) { return {resp_kind::error, std::move(what)}; }
    static resp_value integer(std::int64_t what) {
        resp_value out(resp_kind::integer, {});
        out.integer_ = what;
        return out;
    }
    static resp_value number(double what) {
        resp_value out(resp_kind::number, {});
        out.number_ = what;
        return out;
    }
    static resp_value list(std::vector<resp_value> what) {
        resp_value out(resp_kind::list, {});
        out.items_ = std::move(what);
        return out;
    }

    resp_kind kind() const { return kind_; }
    bool is_nil() const { return kind_ == resp_kind::nil; }
    bool is_error() const { return kind_ == resp_kind::error; }
    bool is_list() const { return kind_ == resp_kind::list; }
    /// Whether it is this text, such as "OK".
    bool says(std::string_view what) const { return kind_ == resp_kind::text && text_ == what; }

    /// Of a text or an error; empty otherwise.
    const std::string& text() const { return text_; }
    std::string take_text() { return std::move(text_); }
    /// Of an integer; 0 otherwise.
    std::int64_t integer() const { return integer_; }
    double number() const { return number_; }
    /// Of a list; none otherwise.
    const std::vector<resp_value>& items() const { return items_; }
    std::vector<resp_value>& items() { return items_; }

    friend bool operator==(const resp_value&, const resp_value&) = default;

private:
    resp_value(resp_kind kind, std::string text) : kind_(kind), text_(std::move(text)) {}

    resp_kind kind_ = resp_kind::nil;
    std::int64_t integer_ = 0;
    double number_ = 0;
    std::string text_;
    std::vector<resp_value> items_;
};

}  // namespace llmkit::detail
