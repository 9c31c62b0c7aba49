// llmkit/detail/cadence.hpp: how a stream's events came in time, kept small, and given so again.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <llmkit/core/clock.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/replayed_stream.hpp>

namespace llmkit::detail {

/// The pauses before each event of a stream, in whole microseconds, up to 71 minutes each.
class cadence_recorder {
public:
    explicit cadence_recorder(time_point began) : before_(began) {}

    void add(time_point now) {
        const auto pause = std::chrono::floor<std::chrono::microseconds>(now - before_);
        const auto whole = std::clamp<std::int64_t>(pause.count(), 0, longest);
        pauses_.push_back(static_cast<std::uint32_t>(whole));
        // Of what is rounded off nothing is lost, or many short pauses would come to too little.
        before_ += std::chrono::microseconds(whole);
    }
    std::vector<std::uint32_t> take() {
        pauses_.shrink_to_fit();
        return std::move(pauses_);
    }

private:
    static constexpr std::int64_t longest = std::numeric_limits<std::uint32_t>::max();

    time_point before_;
    std::vector<std::uint32_t> pauses_;
};

/// How a stream is to be given again in time.
struct cadence {
    clock_handle time;
    limit until;                            ///< the reader's
    std::span<const std::uint32_t> pauses;  ///< one for each event
    double speed;                           ///< above 0
    duration longest;                       ///< no pause is longer

    duration pause(std::size_t event) const {
        const double scaled = std::ceil(static_cast<double>(pauses[event]) * 1000.0 / speed);
        const auto most = std::max(longest, duration::zero());
        return scaled < static_cast<double>(most.count())
                   ? duration(static_cast<duration::rep>(scaled))
                   : most;
    }
};

/// A kept stream whose events come as they came. One that is read late comes at once, as a network
/// would have kept it for its reader.
class paced_stream final : public stream_source {
public:
    paced_stream(replayed_stream kept, cadence how)
        : kept_(std::move(kept)), how_(std::move(how)), due_(how_.time.now()) {}

    task<stream_item> next() override {
        stream_item item;
        if (try_next(item)) co_return item;
        const limit until = how_.until.earliest(due_);
        const woke why = co_await sleep_until(how_.time, until);
        if (try_next(item)) co_return item;
        if (why == woke::by_close) {
            item = error(error_kind::closed, "the pipeline was closed during this call");
        } else {
            item = error(error_kind::timeout, "the call's limit passed while its answer was given");
        }
        co_return item;
    }
    bool try_next(stream_item& into) override {
        count_up_to(kept_.upcoming());
        return due_ <= how_.time.now() && kept_.try_next(into);
    }
    bool ready() const override { return counted_ > kept_.at() && due_ <= how_.time.now(); }

private:
    void count_up_to(std::size_t event) {
        for (; counted_ <= event && counted_ < how_.pauses.size(); ++counted_)
            due_ = after(due_, how_.pause(counted_));
    }

    replayed_stream kept_;
    cadence how_;
    time_point due_;           // of the event before `counted_`
    std::size_t counted_ = 0;  // events whose pauses are in `due_`
};

}  // namespace llmkit::detail
