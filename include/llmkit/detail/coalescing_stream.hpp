// llmkit/detail/coalescing_stream.hpp: a stream whose tiny text events arrive together.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/request.hpp>
#include <llmkit/core/wait.hpp>
#include <llmkit/detail/join_texts.hpp>

namespace llmkit::detail {

/// How far events are put together.
struct coalescing_rule {
    duration within{};
    std::size_t max_events = 32;
    std::size_t max_bytes = 4096;
};

/// Joins the text events that are ready. With `within` it reads at most once in that time, so that
/// more are: an event that comes later than `within` after the one before is never held up.
class coalescing_stream final : public stream_source {
public:
    coalescing_stream(clock_handle time, request ask, event_stream inner,
                      const coalescing_rule& rule)
        : time_(std::move(time)), ask_(std::move(ask)), inner_(std::move(inner)), rule_(rule) {}

    task<stream_item> next() override {
        stream_item item;
        if (held_) {
            item = std::move(*held_);
            held_.reset();
        } else {
            item = co_await pull();
        }
        if (!item || !only_text(item->facts())) co_return item;
        if (!std::exchange(begun_, true)) co_return item;  // the first is never held up

        pieces_.clear();
        pieces_.push_back(std::move(*item));
        std::size_t text = pieces_.front().facts().text_size;
        while (pieces_.size() < rule_.max_events && text < rule_.max_bytes && inner_.ready()) {
            stream_item more = co_await inner_.next();
            if (!more || !same_but_text(pieces_.front(), *more)) {
                held_ = std::move(more);
                break;
            }
            text += more->facts().text_size;
            pieces_.push_back(std::move(*more));
        }
        co_return join_texts(pieces_);
    }
    bool ready() const override { return held_ || inner_.ready(); }

private:
    task<stream_item> pull() {
        const bool paced = co_await pace();
        const time_point before = time_.now();
        stream_item item = co_await inner_.next();
        last_ = time_.now();
        if (inner_.ready()) {
            fruitless_ = 0;
        } else if (paced && last_ - before < std::chrono::microseconds(100)) {
            ++fruitless_;
        }
        co_return item;
    }
    // Waiting pays only if events gather meanwhile and the source says so (`ready`). One that never
    // does is left in peace after a few tries, or each of its events would be late. Nor does it pay
    // shortly before the deadline, which would take what has arrived.
    task<bool> pace() {
        const bool wanted = begun_ && rule_.within > duration::zero() && fruitless_ < 4;
        const time_point until = after(last_, rule_.within);
        const time_point now = time_.now();
        if (!wanted || now >= until || inner_.ready()) co_return false;
        if (until >= ask_.options().deadline.effective()) co_return false;
        co_await sleep_until(time_, ask_.wait_limit(now).earliest(until));
        co_return true;
    }

    clock_handle time_;
    request ask_;
    event_stream inner_;
    coalescing_rule rule_;
    std::optional<stream_item> held_;
    std::vector<event> pieces_;
    time_point last_{};
    bool begun_ = false;
    int fruitless_ = 0;
};

}  // namespace llmkit::detail
