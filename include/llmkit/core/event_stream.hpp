// llmkit/core/event_stream.hpp: an answer's events, pulled one by one by whoever wants them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/event.hpp>

namespace llmkit {

/// How a stream ended.
enum class outcome : std::uint8_t {
    complete,   ///< the provider said everything
    failed,     ///< it ended in an error
    abandoned,  ///< the reader went away first
};

/// Where events come from. `next` is called by one reader at a time and not again after the end or
/// a failure. Destroying a source frees at once what stands behind it. Behind `dedup` the reader
/// changes: `next` runs on the shared call's lane, `try_next`, taps and the destructor on whichever
/// thread wants the event, never two at a time.
class stream_source {
public:
    virtual ~stream_source() = default;
    virtual task<stream_item> next() = 0;
    /// What `next` would give, where that needs no wait: true when `into` was set. Events that came
    /// together pass all layers this way, without a coroutine for each. Must not block; not called
    /// while `next` runs.
    virtual bool try_next(stream_item& /*into*/) { return false; }
    /// A hint: `try_next` has something to give.
    virtual bool ready() const { return false; }
};

/// Watches a stream that passes by, for layers that only look: no coroutine for each event.
///
/// `on_event` comes with every event before the reader gets it; `on_end` exactly once. Both must
/// be quick and must not throw; they run where the reader runs, `abandoned` in its destructor.
class stream_tap {
public:
    virtual ~stream_tap() = default;
    virtual void on_event(const event&) {}
    virtual void on_end(outcome, const error*) {}
};

/// An answer as a stream. A unary answer is a stream of one event.
///
///     while (auto item = co_await stream.next()) use(item->data());
///     if (stream.failed()) report(stream.error());
///
/// Move-only; one reader at a time. Nothing is read ahead of the reader, so that a slow reader
/// slows the sender. Destroying it cancels what stands behind it, synchronously.
class event_stream {
public:
    event_stream() = default;  // ends at once
    explicit event_stream(std::unique_ptr<stream_source> source) : source_(std::move(source)) {}
    /// A whole answer that is already there: one event, no allocation.
    explicit event_stream(event only) : ahead_(std::move(only)), single_(true) {}

    event_stream(event_stream&& other) noexcept { take(other); }
    event_stream& operator=(event_stream&& other) noexcept {
        if (this != &other) {
            abandon();
            take(other);
        }
        return *this;
    }
    ~event_stream() { abandon(); }

    /// The next event; false at the end and after a failure, then `failed()` tells them apart.
    /// Throws only on the caller's cancellation.
    task<stream_item> next() {
        stream_item item;
        while (!try_next(item)) {
            item = co_await source_->next();
            if (observe(item)) break;
        }
        co_return item;
    }

    /// What `next` would give, where that needs no wait: true when `into` was set, also by the end
    /// or a failure, and empty otherwise. For readers who take what has arrived in one go; throws
    /// nothing of its own and notices no cancellation. Not while `next` runs.
    bool try_next(stream_item& into) {
        for (;;) {
            if (state_ != state::open) {
                into = final_item();
                return true;
            }
            if (ahead_) {
                into = take_ahead();
            } else if (!source_) {
                into = stream_item();
            } else if (!source_->try_next(into)) {
                into = stream_item();  // not one that was hidden
                return false;
            }
            if (observe(into)) return true;
        }
    }

    /// Fetches the first event (or the failure that stands in its place) and keeps it for `next`.
    task<void> peek() {
        if (ahead_ || !source_ || state_ != state::open) co_return;
        stream_item first;
        if (!source_->try_next(first)) first = co_await source_->next();
        ahead_ = std::move(first);
    }
    /// What `peek` found: an event, a failure, the end (false, not failed), or null without peek.
    const stream_item* peeked() const { return ahead_ ? &*ahead_ : nullptr; }

    /// Fetches one more behind what was peeked at, for a short look ahead: at most a few, because
    /// they are all kept. Does nothing once the end, a failure or the last event was found.
    task<void> peek_more() {
        const stream_item* newest = newest_peeked();
        if (!newest) co_return co_await peek();
        if (!source_ || state_ != state::open || !*newest || (*newest)->facts().last) co_return;
        stream_item item;
        if (!source_->try_next(item)) item = co_await source_->next();
        behind_.push_back(std::move(item));
    }
    /// What `peek` and `peek_more` found last; null when nothing is kept.
    const stream_item* newest_peeked() const {
        return behind_.empty() ? peeked() : &behind_.back();
    }

    /// True when the whole answer is one event that is already there.
    bool single() const { return single_ && ahead_.has_value(); }
    /// A hint: `next` will not wait.
    bool ready() const { return ahead_ || state_ != state::open || (source_ && source_->ready()); }

    bool ended() const { return state_ != state::open; }
    bool failed() const { return state_ == state::failed; }
    /// Why it failed. Precondition: `failed()`.
    const llmkit::error& error() const { return *error_; }

    /// Lets `watcher` see every event from here on and the end. A single ready event is shown at
    /// once, and costs no allocation: that is why this takes a value.
    template <class Tap>
        requires std::derived_from<Tap, stream_tap>
    void attach(Tap watcher) {
        if (single()) {
            if (ahead_->failed()) {
                watcher.on_end(outcome::failed, &ahead_->error());
            } else {
                watcher.on_event(**ahead_);
                watcher.on_end(outcome::complete, nullptr);
            }
            return;
        }
        taps_.push_back(std::make_unique<Tap>(std::move(watcher)));
    }

    /// Events that were only asked for by a layer (usage for metering) end here: taps see them,
    /// the reader does not.
    void hide_injected() { hide_injected_ = true; }

    /// Keeps `what` alive as long as the stream.
    void pin(std::shared_ptr<const void> what) {
        if (!pin_) {
            pin_ = std::move(what);
        } else {
            pin_ = std::make_shared<
                std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(
                std::move(what), std::move(pin_));
        }
    }

private:
    enum class state : std::uint8_t { open, complete, failed, moved };

    stream_item take_ahead() {
        stream_item item = std::move(*ahead_);
        ahead_.reset();
        if (!behind_.empty()) {
            ahead_ = std::move(behind_.front());
            behind_.erase(behind_.begin());
        }
        return item;
    }
    stream_item final_item() const {
        return state_ == state::failed ? stream_item(*error_) : stream_item();
    }
    /// Whether the reader may see it.
    bool observe(const stream_item& item) {
        if (item) {
            for (auto& watcher : taps_) watcher->on_event(*item);
            if (item->facts().last) finish(state::complete, nullptr);
            return !(hide_injected_ && item->facts().injected);
        }
        if (item.failed()) {
            error_ = item.error();
            finish(state::failed, &*error_);
        } else {
            finish(state::complete, nullptr);
        }
        return true;
    }
    void finish(state how, const llmkit::error* why) {
        state_ = how;
        source_.reset();
        tell(how == state::failed ? outcome::failed : outcome::complete, why);
        pin_.reset();
    }
    void tell(outcome how, const llmkit::error* why) {
        for (auto& watcher : std::exchange(taps_, {})) watcher->on_end(how, why);
    }
    void abandon() {
        if (state_ != state::open) return;
        state_ = state::moved;
        source_.reset();
        // A failure that was peeked at but never read is a failure all the same.
        if (const stream_item* newest = newest_peeked(); newest && newest->failed()) {
            tell(outcome::failed, &newest->error());
        } else {
            tell(outcome::abandoned, nullptr);
        }
    }
    void take(event_stream& other) {
        // Pinned things go last, so they are the first members and are assigned last.
        source_ = std::move(other.source_);
        ahead_ = std::exchange(other.ahead_, std::nullopt);
        behind_ = std::move(other.behind_);
        taps_ = std::move(other.taps_);
        error_ = std::move(other.error_);
        state_ = std::exchange(other.state_, state::moved);
        single_ = other.single_;
        hide_injected_ = other.hide_injected_;
        pin_ = std::move(other.pin_);
    }

    std::shared_ptr<const void> pin_;
    std::unique_ptr<stream_source> source_;
    std::vector<std::unique_ptr<stream_tap>> taps_;
    std::optional<stream_item> ahead_;
    std::vector<stream_item> behind_;  // more that was peeked at; almost always empty
    std::optional<llmkit::error> error_;
    state state_ = state::open;
    bool single_ = false;
    bool hide_injected_ = false;
};

}  // namespace llmkit
