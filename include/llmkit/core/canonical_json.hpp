// llmkit/core/canonical_json.hpp: one spelling for all JSON texts that mean the same.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <llmkit/detail/canonical_writer.hpp>

namespace llmkit {

namespace detail {

/// The canonical form that this thread has written last, which lies where the next one will. Who
/// needs a form only now, for its hash and to compare it, is spared a copy of it.
class latest_form {
public:
    /// Writes the form of a text; nothing when it has none.
    static std::optional<std::string_view> write(std::string_view json,
                                                 std::span<const std::string_view> excluded) {
        latest_form& mine = of_this_thread();
        ++mine.number_;
        mine.form_ = {};
        const auto form = canonical_writer(json, excluded, mine.kept_).write();
        if (form) mine.form_ = *form;
        return form;
    }
    /// Whether it takes so much memory that it should not be left lying.
    static bool large() { return of_this_thread().kept_.out.size() > 256 * 1024; }
    static void drop() {
        latest_form& mine = of_this_thread();
        mine.kept_ = {};
        mine.form_ = {};
        ++mine.number_;
    }
    /// Tells the latest form from all others, whichever thread wrote them.
    static std::uint64_t number() { return of_this_thread().number_; }
    /// The form of that number, as long as it is this thread's latest.
    static std::optional<std::string_view> find(std::uint64_t number) {
        const latest_form& mine = of_this_thread();
        return number == mine.number_ ? std::optional(mine.form_) : std::nullopt;
    }

private:
    latest_form() : number_(threads_.fetch_add(1, std::memory_order_relaxed) << 40U) {}
    static latest_form& of_this_thread() {
        thread_local latest_form mine;
        return mine;
    }

    static inline std::atomic<std::uint64_t> threads_{1};

    canonical_writer::memory kept_;
    std::string_view form_;
    std::uint64_t number_;
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
    const auto form = detail::latest_form::write(json, excluded_top_level);
    out.assign(form.value_or(std::string_view()));
    if (detail::latest_form::large()) detail::latest_form::drop();
    return form.has_value();
}

}  // namespace llmkit
