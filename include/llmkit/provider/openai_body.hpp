// llmkit/provider/openai_body.hpp: make a request's body say what the call's options say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/core/request.hpp>
#include <llmkit/detail/json_edit.hpp>

namespace llmkit::detail {

/// The body of a call as it goes out. An untouched body is shared, not copied.
struct openai_body {
    bytes text;
    bool injected = false;     ///< usage was asked for by a layer, not by the caller
    std::int64_t choices = 1;  ///< how many answers were asked for
    std::string model;
};

/// Makes a body say what the call's options say: streamed or not, usage or not, which model. False
/// when it is no JSON object.
inline bool write_openai_body(const request& ask, bool streamed, const std::string& model,
                              openai_body& out) {
    std::optional<std::string_view> stream, stream_options;
    bool named = false;
    bool any = false;
    json_scanner scan(ask.body());
    const bool object = scan.members([&](json_string key) {
        any = true;
        std::string_view raw;
        json_string text;
        if (key == "stream" && scan.read_raw(raw)) {
            stream = raw;
        } else if (key == "stream_options" && scan.read_raw(raw)) {
            stream_options = raw;
        } else if (key == "n") {
            scan.read(out.choices);
        } else if (key == "model") {
            named = true;
            if (scan.read(text)) out.model = text.str();
        }
    });
    if (!object || !scan.finish()) return false;

    out.text = ask.shared_body();
    std::string edited;
    const auto set = [&](std::string_view name, std::string_view value, bool there) {
        if (edited.empty()) {
            edited.reserve(ask.body().size() + 96);
            edited = ask.body();
        }
        if (there) {
            set_member(edited, name, value);
            return;
        }
        // The last brace is the object's own, so a new member needs no second look at the rest.
        edited.resize(edited.rfind('}'));
        if (std::exchange(any, true)) edited += ',';
        edited.append("\"").append(name).append("\":").append(value) += '}';
    };
    if (!named && !model.empty()) {
        std::string quoted;
        write_json(quoted, std::string_view(model));
        set("model", quoted, false);
        out.model = model;
    }
    if (streamed) {
        if (stream != "true") set("stream", "true", stream.has_value());
        const bool given = stream_options && *stream_options != "null";
        const bool asked = given && find_member(*stream_options, "include_usage") == "true";
        if (ask.options().metered && !asked) {
            std::string wanted(given ? *stream_options : "{}");
            if (set_member(wanted, "include_usage", "true")) {
                set("stream_options", wanted, stream_options.has_value());
                out.injected = true;
            }
        }
    } else {
        for (const std::string_view name : {"stream", "stream_options"}) {
            if (!(name == "stream" ? stream : stream_options)) continue;
            if (edited.empty()) edited = ask.body();
            remove_member(edited, name);
        }
    }
    if (!edited.empty()) out.text = bytes(std::move(edited));
    return true;
}

}  // namespace llmkit::detail
