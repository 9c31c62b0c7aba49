// Draws that depend on what they are for, not on the order in which they are made, so that a run
// can be repeated although a thousand calls race.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace demo {

/// Mixes two numbers into one (SplitMix64's finaliser).
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a + 0x9e3779b97f4a7c15 * (b + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// A row of draws with a name of its own.
class chance {
public:
    explicit chance(std::uint64_t name) : state_(name) {}

    std::uint64_t bits() { return mix(state_, ++drawn_); }
    /// 0 ≤ x < 1.
    double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
    std::uint64_t below(std::uint64_t count) {
        return static_cast<std::uint64_t>(uniform() * static_cast<double>(count));
    }
    double lognormal(double median, double sigma) {
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // Box and Muller
        return median * std::exp(sigma * radius * std::cos(2 * std::numbers::pi * uniform()));
    }

private:
    std::uint64_t state_;
    std::uint64_t drawn_ = 0;
};

}  // namespace demo
