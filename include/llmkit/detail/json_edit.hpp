// llmkit/detail/json_edit.hpp: change one member of a JSON object and leave the rest as it was
// typed.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/detail/json_scan.hpp>
#include <llmkit/detail/json_write.hpp>

namespace llmkit::detail {

/// The text of a top-level member's value, as it stands in `json`; of its last one when the name is
/// there twice, which is the one most parsers take. Nothing when there is none, when `json` is no
/// object, or when it is malformed anywhere.
///
///     find_member(R"({"model":"m","stream":true})", "stream");  // true
inline std::optional<std::string_view> find_member(std::string_view json, std::string_view name) {
    std::optional<std::string_view> found;
    json_scanner scan(json);
    const bool object = scan.members([&](json_string key) {
        std::string_view value;
        if (key == name && scan.read_raw(value)) found = value;
    });
    if (!object || !scan.finish()) return std::nullopt;
    return found;
}

/// Where a member stands in its object's text.
struct member_place {
    std::size_t previous = 0;  ///< the end of the member before it, or of the opening brace
    std::size_t begin = 0;     ///< its name's opening quote
    std::size_t value = 0;     ///< its value's first byte
    std::size_t end = 0;       ///< behind its value
};

/// Calls `visit(key, place)` for every top-level member. False, perhaps after some calls, when
/// `json` is no well-formed object.
template <class Visit>
bool for_each_member(std::string_view json, Visit visit) {
    json_scanner scan(json);
    member_place place{.end = scan.offset() + 1};
    const bool object = scan.members([&](json_string key) {
        std::string_view value;
        if (!scan.read_raw(value)) return;
        place.previous = place.end;
        place.begin = static_cast<std::size_t>(key.raw.data() - json.data()) - 1;
        place.value = static_cast<std::size_t>(value.data() - json.data());
        place.end = place.value + value.size();
        visit(key, place);
    });
    return object && scan.finish();
}

/// Removes every top-level member of that name. False, and `json` as it was, when it is no
/// well-formed object.
inline bool remove_member(std::string& json, std::string_view name) {
    std::string out;
    std::size_t copied = 0;
    bool cut_head = false;  // everything so far was removed, so the next member's comma goes too
    bool any_kept = false;
    const bool well_formed = for_each_member(json, [&](json_string key, const member_place& place) {
        if (key == name) {
            out.append(json, copied, place.previous - copied);
            copied = place.end;
            cut_head = !any_kept;
        } else {
            if (cut_head) copied = place.begin;
            cut_head = false;
            any_kept = true;
        }
    });
    if (!well_formed) return false;
    out.append(json, copied);
    json = std::move(out);
    return true;
}

/// Gives the top-level member `name` the JSON text `value`: replaces the value where it stands, or
/// inserts the member at the end. Further members of the same name are removed, so that every
/// parser sees the new one.
///
///     std::string body = R"({"model":"m"})";
///     set_member(body, "stream", "true");  // {"model":"m","stream":true}
///
/// False, and `json` as it was, when it is no well-formed object or `value` is no well-formed JSON.
inline bool set_member(std::string& json, std::string_view name, std::string_view value) {
    if (!json_scanner(value).finish()) return false;
    std::string out;
    std::size_t copied = 0;
    std::size_t end_of_last = 0;
    bool set = false;
    const bool well_formed = for_each_member(json, [&](json_string key, const member_place& place) {
        end_of_last = place.end;
        if (!(key == name)) return;
        out.append(json, copied, (set ? place.previous : place.value) - copied);
        if (!set) out.append(value);
        copied = place.end;
        set = true;
    });
    if (!well_formed) return false;
    if (!set) {
        const bool empty = end_of_last == 0;
        const std::size_t at = empty ? json.find('{') + 1 : end_of_last;
        out.append(json, 0, at);
        if (!empty) out += ',';
        write_json(out, name);
        out += ':';
        out.append(value);
        copied = at;
    }
    out.append(json, copied);
    json = std::move(out);
    return true;
}

}  // namespace llmkit::detail
