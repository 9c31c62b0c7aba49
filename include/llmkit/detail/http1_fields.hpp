// llmkit/detail/http1_fields.hpp: reads header lines, and what they say of the body's framing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include <llmkit/detail/http1_error.hpp>
#include <llmkit/detail/http_chars.hpp>
#include <llmkit/transport/headers.hpp>

namespace llmkit::detail {

/// Splits one header line (RFC 9112 §5) into `out`; says what is wrong with it, or `none`.
inline http1_error read_field(std::string_view line, header& out) {
    if (line.front() == ' ' || line.front() == '\t') return http1_error::folded_field;
    const std::size_t colon = token_size(line);
    if (colon == 0 || colon == line.size()) return http1_error::bad_field_name;
    if (line[colon] != ':') {
        const std::string_view rest = trim_blanks(line.substr(colon));
        return rest.starts_with(':') ? http1_error::space_before_colon
                                     : http1_error::bad_field_name;
    }
    const char* const name = line.data();
    line.remove_prefix(colon + 1);
    const std::string_view value = trim_blanks(line);
    if (has_control(value))
        return value.find('\r') != std::string_view::npos ? http1_error::bare_line_break
                                                          : http1_error::bad_field_value;
    out = {{name, colon}, value};
    return http1_error::none;
}

/// What the headers say of the message's framing, gathered as they pass (RFC 9112 §6, §9.3).
///
/// Equal repeated Content-Length values count as one; everything else that two readers might
/// understand in two ways is refused.
class http1_framing {
public:
    /// Looks at one field.
    http1_error note(std::string_view name, std::string_view value) {
        // The length picks out nearly every other header before a letter is compared.
        switch (name.size()) {
            case 4:
                if (same_ignoring_case(name, "host")) ++hosts_;
                break;
            case 6:
                if (same_ignoring_case(name, "expect"))
                    expects_continue_ = same_ignoring_case(value, "100-continue");
                break;
            case 10:
                if (same_ignoring_case(name, "connection")) note_connection(value);
                break;
            case 14:
                if (same_ignoring_case(name, "content-length")) return note_length(value);
                break;
            case 17:
                if (same_ignoring_case(name, "transfer-encoding")) return note_coding(value);
                break;
            default:
                break;
        }
        return http1_error::none;
    }

    /// Looks at the whole, once the head is complete.
    http1_error check(int minor_version) const {
        if (coded_ && length_) return http1_error::length_and_coding;
        if (coded_ && minor_version == 0) return http1_error::coding_in_http10;
        return http1_error::none;
    }

    bool chunked() const { return coded_; }
    std::optional<std::uint64_t> length() const { return length_; }
    std::size_t hosts() const { return hosts_; }
    bool expects_continue() const { return expects_continue_; }
    bool keeps_alive(int minor_version) const {
        return !close_ && (minor_version > 0 || keep_alive_);
    }

private:
    void note_connection(std::string_view value) {
        each_in_list(value, [this](std::string_view option) {
            if (same_ignoring_case(option, "close")) close_ = true;
            if (same_ignoring_case(option, "keep-alive")) keep_alive_ = true;
            return true;
        });
    }

    http1_error note_length(std::string_view value) {
        // An empty element ("5,", ",5") is malformed here, though other lists may hold some.
        for (bool more = true; more;) {
            const std::size_t comma = value.find(',');
            more = comma != std::string_view::npos;
            const std::string_view digits = trim_blanks(value.substr(0, comma));
            value.remove_prefix(more ? comma + 1 : value.size());
            if (digits.empty()) return http1_error::bad_content_length;
            std::uint64_t number = 0;
            for (const char c : digits) {
                if (!is_digit(c)) return http1_error::bad_content_length;
                const auto digit = static_cast<std::uint64_t>(c - '0');
                if (number > (std::numeric_limits<std::uint64_t>::max() - digit) / 10)
                    return http1_error::bad_content_length;
                number = number * 10 + digit;
            }
            if (length_ && *length_ != number) return http1_error::conflicting_lengths;
            length_ = number;
        }
        return http1_error::none;
    }

    // Only "chunked", once: no other coding was offered in TE, so none may come.
    http1_error note_coding(std::string_view value) {
        if (coded_ || !same_ignoring_case(value, "chunked")) return http1_error::unknown_coding;
        coded_ = true;
        return http1_error::none;
    }

    std::optional<std::uint64_t> length_;
    std::size_t hosts_ = 0;
    bool coded_ = false;
    bool close_ = false;
    bool keep_alive_ = false;
    bool expects_continue_ = false;
};

}  // namespace llmkit::detail
