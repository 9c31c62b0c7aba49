// llmkit/detail/lasting_text.hpp: texts made at run time that live as long as the program.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace llmkit::detail {

/// The same text, for ever. For the few names that a program makes: each is kept once.
inline std::string_view lasting_text(std::string text) {
    static std::mutex mutex;
    // Never destroyed: others may read their names while the program ends.
    static auto& texts = *new std::set<std::string>();
    const std::lock_guard lock(mutex);
    return *texts.insert(std::move(text)).first;
}

}  // namespace llmkit::detail
