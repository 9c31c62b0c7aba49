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
        if (try_next(item)) co_return item;
        const bool paced = pays_to_wait();
        const time_point due = after(last_, rule_.within);
        if (paced) co_await sleep_until(time_, ask_.wait_limit(time_.now()).earliest(due));
        const time_point before = time_.now();
        if (!inner_.try_next(item)) item = co_await inner_.next();
        arrived(paced, before);
        gather(item);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        if (held_) {
            into = std::move(*held_);
            held_.reset();
        } else if (inner_.try_next(into)) {
            arrived(false, time_point());
        } else {
            return false;
        }
        gather(into);
        return true;
    }
    bool ready() const override { return held_ || inner_.ready(); }

private:
    /// Puts what is at hand behind `item`.
    void gather(stream_item& item) {
        if (!item || !only_text(item->facts())) return;
        if (!std::exchange(begun_, true)) return;  // the first is never held up
        pieces_.clear();
        pieces_.push_back(std::move(*item));
        std::size_t text = pieces_.front().facts().text_size;
        stream_item more;
        while (pieces_.size() < rule_.max_events && text < rule_.max_bytes &&
               inner_.try_next(more)) {
            if (!more || !same_but_text(pieces_.front(), *more)) {
                held_ = std::move(more);
                break;
            }
            text += more->facts().text_size;
            pieces_.push_back(std::move(*more));
        }
        item = pieces_.size() == 1 ? std::move(pieces_.front()) : join_texts(pieces_);
    }
    // Waiting pays only if events gather meanwhile and the source says so (`ready`). One that never
    // does is left in peace after a few tries, or each of its events would be late. Nor does it pay
    // shortly before the deadline, which would take what has arrived.
    bool pays_to_wait() const {
        if (!begun_ || rule_.within <= duration::zero() || fruitless_ >= 4) return false;
        const time_point until = after(last_, rule_.within);
        return time_.now() < until && !inner_.ready() &&
               until < ask_.options().deadline.effective();
    }
    void arrived(bool paced, time_point before) {
        if (rule_.within <= duration::zero()) return;
        last_ = time_.now();
        if (inner_.ready()) {
            fruitless_ = 0;
        } else if (paced && last_ - before < std::chrono::microseconds(100)) {
            ++fruitless_;
        }
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
