// llmkit/detail/random_source.hpp: random numbers that many threads draw from without a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace llmkit::detail {

/// SplitMix64 (Steele, Lea, Flood 2014) over a shared counter: a standard generator of 64 bits. For
/// jitter and names, not for secrets.
class random_source {
public:
    using result_type = std::uint64_t;

    explicit random_source(std::uint64_t seed) : state_(seed) {}

    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
    result_type operator()() noexcept {
        std::uint64_t z = state_.fetch_add(step, std::memory_order_relaxed) + step;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31);
    }

private:
    static constexpr std::uint64_t step = 0x9e3779b97f4a7c15U;
    std::atomic<std::uint64_t> state_;
};

}  // namespace llmkit::detail
