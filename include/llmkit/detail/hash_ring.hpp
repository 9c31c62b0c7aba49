// llmkit/detail/hash_ring.hpp: which of several servers has a key, so that few keys move.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/core/key.hpp>

namespace llmkit::detail {

/// Consistent hashing: each server has `points` places on a ring of 64-bit numbers, by its name, and
/// a key belongs to the next place after its own. One server more or less of n moves one key in n or
/// so; the order in which they are named does not matter. Names must differ.
class hash_ring {
public:
    static constexpr std::size_t points = 160;

    hash_ring() = default;
    explicit hash_ring(const std::vector<std::string>& names) {
        ring_.reserve(names.size() * points);
        for (std::size_t i = 0; i < names.size(); ++i)
            for (std::size_t n = 0; n < points; ++n)
                ring_.push_back({hash128(names[i] + '#' + std::to_string(n)).low, i});
        // Two that share a place are ordered by name, and not by how they were listed.
        std::sort(ring_.begin(), ring_.end(), [&](const place& a, const place& b) {
            return a.at != b.at ? a.at < b.at : names[a.server] < names[b.server];
        });
    }

    /// The index of the server that has `key`. There must be one.
    std::size_t server_of(const key128& key) const {
        const auto after =
            std::upper_bound(ring_.begin(), ring_.end(), key.low,
                             [](std::uint64_t at, const place& one) { return at < one.at; });
        return after == ring_.end() ? ring_.front().server : after->server;
    }

private:
    struct place {
        std::uint64_t at = 0;
        std::size_t server = 0;
    };
    std::vector<place> ring_;
};

}  // namespace llmkit::detail
