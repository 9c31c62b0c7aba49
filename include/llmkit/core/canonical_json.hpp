// llmkit/core/canonical_json.hpp: one spelling for all JSON texts that mean the same.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <llmkit/detail/canonical_writer.hpp>

namespace llmkit {

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
    thread_local detail::canonical_writer::memory kept;
    const auto form = detail::canonical_writer(json, excluded_top_level, kept).write();
    out.assign(form.value_or(std::string_view()));
    if (constexpr std::size_t most = 256 * 1024; kept.out.size() > most) kept = {};
    return form.has_value();
}

}  // namespace llmkit
