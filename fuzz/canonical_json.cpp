// A canonical form is well-formed, its own canonical form, and does not depend on spelling.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/core/canonical_json.hpp"
#include "llmkit/detail/json_scan.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace llmkit;
using namespace llmkit::detail;

namespace {

void require(bool holds) {
    if (!holds) __builtin_trap();
}

// The same document with spaces, and every string written anew.
void respell(json_scanner& json, std::string& out) {
    json_string text;
    std::string_view raw;
    bool first = true;
    const auto string = [&](const json_string& one) {
        out += '"';
        for (std::size_t i = 0; i < one.raw.size(); ++i) {
            const char c = one.raw[i];
            if (c == '\\') {
                const std::size_t length = one.raw[i + 1] == 'u' ? 6 : 2;
                out += one.raw.substr(i, length);
                i += length - 1;
            } else if (c == '/') {
                out += "\\/";
            } else if (c == 'a') {
                out += "\\u0061";
            } else {
                out += c;
            }
        }
        out += '"';
    };
    out += ' ';
    if (json.kind() == json_kind::object) {
        out += '{';
        json.members([&](json_string name) {
            out += first ? "\n" : ",";
            first = false;
            string(name);
            out += '\t';
            out += ':';
            respell(json, out);
        });
        out += '}';
    } else if (json.kind() == json_kind::array) {
        out += '[';
        json.elements([&] {
            out += first ? "\r" : ",";
            first = false;
            respell(json, out);
        });
        out += ']';
    } else if (json.read(text)) {
        string(text);
    } else if (json.read_raw(raw)) {
        out += raw;
    }
    out += ' ';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    std::string form;
    if (!canonical_json(input, form)) {
        require(form.empty());
        return 0;
    }
    require(json_scanner(input).finish() && json_scanner(form).finish());
    std::string again;
    require(canonical_json(form, again) && again == form);
    std::string other;
    json_scanner json(input);
    respell(json, other);
    require(canonical_json(other, again) && again == form);
    static constexpr std::array<std::string_view, 1> excluded{"a"};
    require(canonical_json(input, again, excluded) && again.size() <= form.size());
    return 0;
}
