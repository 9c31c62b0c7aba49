// llmkit/detail/label_table.hpp: a bounded set of names, numbered as they come.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace llmkit::detail {

/// Numbers up to `Most` different names; every further one is `other()`, so that labels taken from
/// requests cannot grow memory. A known name is found without a lock; names are never forgotten.
///
/// Bytes outside printable ASCII become '?', and only the first 120 are kept: a label goes into
/// logs and exports.
template <std::size_t Most>
class label_table {
public:
    static constexpr std::size_t longest = 120;
    static constexpr std::size_t other() { return Most; }
    static constexpr std::size_t numbers() { return Most + 1; }

    std::size_t number_of(std::string_view name) {
        if (const std::size_t known = find(name); known != missing) return known;
        const std::string label = cleaned(name);
        if (const std::size_t known = find(label); known != missing) return known;
        if (used_.load(std::memory_order_acquire) == Most) return other();
        const std::lock_guard lock(adding_);
        if (const std::size_t known = find(label); known != missing) return known;
        const std::size_t number = used_.load(std::memory_order_relaxed);
        if (number == Most) return other();
        names_[number] = std::make_unique<const std::string>(label);
        std::size_t at = std::hash<std::string_view>{}(label) % slots;
        while (table_[at].load(std::memory_order_relaxed) != 0) at = (at + 1) % slots;
        used_.store(number + 1, std::memory_order_release);
        table_[at].store(static_cast<std::uint32_t>(number + 1), std::memory_order_release);
        return number;
    }

    /// The name behind a number that `number_of` gave; "other" for `other()`.
    std::string_view name_of(std::size_t number) const {
        return number < Most ? std::string_view(*names_[number]) : std::string_view("other");
    }

    /// How many names there are; they have the numbers below.
    std::size_t size() const { return used_.load(std::memory_order_acquire); }

private:
    static constexpr std::size_t slots = 2 * Most + 1;  // never full, so that every search ends
    static constexpr std::size_t missing = Most + 1;

    std::size_t find(std::string_view name) const {
        for (std::size_t at = std::hash<std::string_view>{}(name) % slots;; at = (at + 1) % slots) {
            const std::uint32_t number = table_[at].load(std::memory_order_acquire);
            if (number == 0) return missing;
            if (*names_[number - 1] == name) return number - 1;
        }
    }

    static std::string cleaned(std::string_view name) {
        std::string label(name.substr(0, longest));
        for (char& c : label) {
            if (c < ' ' || c > '~') c = '?';
        }
        return label;
    }

    std::array<std::atomic<std::uint32_t>, slots> table_{};  // number + 1; 0 is empty
    std::array<std::unique_ptr<const std::string>, Most> names_;
    std::atomic<std::size_t> used_ = 0;
    std::mutex adding_;
};

}  // namespace llmkit::detail
