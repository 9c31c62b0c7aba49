// llmkit/detail/happy_eyeballs.hpp: in which order addresses are tried, and when (RFC 8305).
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <asio/ip/address.hpp>

#include <llmkit/core/limit.hpp>

namespace llmkit::detail {

/// The addresses with their families in turn, beginning with that of the first one; within a family
/// the order stays (RFC 8305 §4). So a family that does not work costs one attempt, not all.
inline std::vector<asio::ip::address> in_turn(std::vector<asio::ip::address> all) {
    std::vector<asio::ip::address> by_family[2];
    for (const auto& each : all) by_family[each.is_v6() != all.front().is_v6()].push_back(each);
    std::size_t next[2] = {0, 0};
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto in = [&](std::size_t family) { return next[family] < by_family[family].size(); };
        const std::size_t family = in(i % 2) ? i % 2 : 1 - i % 2;
        all[i] = by_family[family][next[family]++];
    }
    return all;
}

/// When each of several attempts begins: the first at once, every other one `delay` after the one
/// before it, or at once when one has failed (RFC 8305 §5). Only decides; told what happened.
///
///     attempts race(3, 250ms);
///     while (auto which = race.due(now)) begin(*which);
///     wait_until(race.next());            // or until an attempt ends: race.failed(), or it won
class attempts {
public:
    attempts(std::size_t count, duration delay) : count_(count), delay_(delay) {}

    /// The one to begin now, if one is due; it counts as begun.
    std::optional<std::size_t> due(time_point now) {
        if (begun_ == count_ || now < at_) return std::nullopt;
        at_ = after(now, delay_);
        ++under_way_;
        return begun_++;
    }
    /// When the next one begins if none fails before; `max` when there is none.
    time_point next() const { return begun_ == count_ ? time_point::max() : at_; }

    /// One that had begun has failed.
    void failed() {
        --under_way_;
        at_ = time_point::min();
    }
    /// The one begun last could not be made now and is to be begun again at `at`.
    void again(time_point at) {
        --under_way_;
        --begun_;
        at_ = at;
    }
    /// All have failed.
    bool lost() const { return begun_ == count_ && under_way_ == 0; }
    std::size_t begun() const { return begun_; }

private:
    std::size_t count_;
    duration delay_;
    std::size_t begun_ = 0;
    std::size_t under_way_ = 0;
    time_point at_ = time_point::min();
};

}  // namespace llmkit::detail
