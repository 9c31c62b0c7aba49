// Skipping and reading agree on what is well-formed; what was written or edited stays well-formed.
// Build: clang++-19 -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude THIS_FILE
#include "llmkit/detail/json_scan.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "llmkit/detail/json_edit.hpp"
#include "llmkit/detail/json_write.hpp"

using namespace llmkit::detail;

namespace {

void require(bool holds) {
    if (!holds) __builtin_trap();
}

bool walk(json_scanner& json) {
    json_string text;
    std::int64_t whole = 0;
    double wide = 0;
    bool yes = false;
    if (json.read(text)) {
        require(valid_utf8(text.str()));
        return true;
    }
    return json.members([&](json_string) { walk(json); }) || json.elements([&] { walk(json); }) ||
           json.read(whole) || json.read(wide) || json.read(yes) || json.read_null();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const bool well_formed = json_scanner(input).finish();
    json_scanner json(input);
    walk(json);
    require(json.finish() == well_formed);

    std::string literal;
    write_json(literal, input);
    json_scanner written(literal);
    json_string text;
    require(written.read(text) && written.finish());
    if (valid_utf8(input)) require(text.str() == input);

    std::string edited(input);
    if (set_member(edited, "stream", "true")) {
        require(well_formed && find_member(edited, "stream") == "true");
        require(remove_member(edited, "stream") && !find_member(edited, "stream"));
        require(json_scanner(edited).finish());
    } else {
        require(edited == input);
    }
    return 0;
}
