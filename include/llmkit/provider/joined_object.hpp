// llmkit/provider/joined_object.hpp: put together a JSON object that arrives in pieces.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/detail/json_scan.hpp>

namespace llmkit::detail {

/// A JSON object that arrives in pieces, put together as OpenAI's own clients do it.
///
/// Values are kept as JSON text: a string's pieces are joined still escaped, which also mends a
/// surrogate pair that was torn apart.
class joined_object {
public:
    /// Takes a piece in: strings are appended (but names and ids kept), lists are appended, tool
    /// calls are joined by their index, objects member by member; of anything else the last that
    /// is not null counts.
    void join(json_scanner& from) {
        from.members([&](json_string key) {
            if (!(key == "index")) join_member(key, from);
        });
    }
    void join_member(json_string key, json_scanner& from) {
        const json_kind kind = from.kind();
        std::string_view raw;
        if (kind == json_kind::object) {
            as(key.raw, kind).part(0).join(from);
        } else if (kind == json_kind::array && key == "tool_calls") {
            member& calls = as(key.raw, kind);
            from.elements([&] { join_call(calls, from); });
        } else if (kind == json_kind::array) {
            if (from.read_raw(raw)) append_elements(as(key.raw, kind).value, raw);
        } else if (kind == json_kind::string && !is_name(key)) {
            if (from.read_raw(raw)) as(key.raw, kind).value += raw.substr(1, raw.size() - 2);
        } else {
            keep_last(key, from);
        }
    }
    /// The last value that is not null counts.
    void keep_last(json_string key, json_scanner& from) {
        json_kind kind = from.kind();
        std::string_view raw;
        if (!from.read_raw(raw)) return;
        if (kind == json_kind::null) {
            find_or_add(key.raw);
            return;
        }
        if (kind == json_kind::string) raw = raw.substr(1, raw.size() - 2);
        if (kind == json_kind::array || kind == json_kind::object)
            kind = json_kind::invalid;            // whole
        if (raw.empty() && has(key.raw)) return;  // an empty name, repeated with every piece
        as(key.raw, kind).value = raw;
    }
    /// The first value that says something counts: Azure begins with `"id":""` and `"created":0`.
    void keep_first(json_string key, json_scanner& from) {
        const member* old = find(key.raw);
        if (!old || old->value.empty() || old->value == "0") keep_last(key, from);
    }

    bool empty() const { return members_.empty(); }
    bool has(std::string_view name) const { return find(name) != nullptr; }

    /// Appends `"name":value` for every member, with commas between; one before when `comma`.
    void write_members(std::string& out, bool comma) const {
        for (const member& one : members_) {
            if (comma) out += ',';
            comma = true;
            out.append("\"").append(one.name).append("\":");
            one.write(out);
        }
    }

private:
    struct member {
        std::string name;  // escaped, as it came
        json_kind kind = json_kind::null;
        std::string value;  // of strings and arrays what stands inside
        std::vector<std::pair<std::int64_t, joined_object>> parts;  // of objects one, of calls many

        // A search, as an index that somebody made up must not cost memory.
        joined_object& part(std::int64_t index) {
            auto place = std::find_if(parts.begin(), parts.end(),
                                      [&](auto& one) { return one.first >= index; });
            if (place == parts.end() || place->first != index)
                place = parts.insert(place, {index, joined_object()});
            return place->second;
        }
        void write(std::string& out) const {
            if (kind == json_kind::string) {
                out.append("\"").append(value).append("\"");
            } else if (kind == json_kind::array || kind == json_kind::object) {
                out += kind == json_kind::array ? "[" : "";
                out += value;
                for (const auto& [index, object] : parts) {
                    if (out.back() == '}') out += ',';
                    out += '{';
                    object.write_members(out, false);
                    out += '}';
                }
                out += kind == json_kind::array ? "]" : "";
            } else {
                out += kind == json_kind::null ? "null" : value;
            }
        }
    };

    static bool is_name(json_string key) {
        return key == "role" || key == "id" || key == "type" || key == "name";
    }
    static void append_elements(std::string& to, std::string_view array) {
        const std::string_view inside = array.substr(1, array.size() - 2);
        if (inside.find_first_not_of(" \t\r\n") == inside.npos) return;
        if (!to.empty()) to += ',';
        to += inside;
    }
    static void join_call(member& calls, json_scanner& from) {
        std::string_view raw;
        if (!from.read_raw(raw)) return;
        std::int64_t index = -1;
        bool begins = false;
        json_scanner look(raw);
        look.members([&](json_string key) {
            json_string id;
            if (key == "index") look.read(index);
            if (key == "id") begins = look.read(id) && !id.empty();
        });
        // Some servers leave the index out: an id then begins the next call.
        const std::int64_t last = calls.parts.empty() ? -1 : calls.parts.back().first;
        if (index < 0) index = begins ? last + 1 : std::max<std::int64_t>(last, 0);
        json_scanner piece(raw);
        calls.part(index).join(piece);
    }

    const member* find(std::string_view name) const {
        for (const member& one : members_)
            if (one.name == name) return &one;
        return nullptr;
    }
    member& find_or_add(std::string_view name) {
        for (member& one : members_)
            if (one.name == name) return one;
        members_.emplace_back().name = name;
        return members_.back();
    }
    member& as(std::string_view name, json_kind kind) {
        member& one = find_or_add(name);
        if (one.kind != kind) {
            one.kind = kind;
            one.value.clear();
            one.parts.clear();
        }
        return one;
    }

    std::vector<member> members_;
};

}  // namespace llmkit::detail
