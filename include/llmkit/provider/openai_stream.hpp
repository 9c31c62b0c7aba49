// llmkit/provider/openai_stream.hpp: a streamed answer's bytes as events, and when it is complete.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/event_stream.hpp>
#include <llmkit/detail/openai_chunks.hpp>
#include <llmkit/detail/sse.hpp>
#include <llmkit/provider/openai_exchange.hpp>

namespace llmkit::detail {

/// Which of several choices have said that they are finished; some servers say it again beside the
/// usage.
class finished_choices {
public:
    void read(std::string_view chunk) {
        json_scanner scan(chunk);
        scan.members([&](json_string key) {
            if (key == "choices") scan.elements([&] { choice(scan); });
        });
    }
    std::int64_t count() const { return static_cast<std::int64_t>(which_.size()); }

private:
    void choice(json_scanner& scan) {
        std::int64_t index = 0;
        json_string reason;
        scan.members([&](json_string member) {
            if (member == "index") scan.read(index);
            if (member == "finish_reason") scan.read(reason);
        });
        if (!reason.empty()) which_.insert(index);
    }

    std::set<std::int64_t> which_;
};

/// Events that are already there.
class ready_events final : public stream_source {
public:
    explicit ready_events(std::vector<event> all) : all_(std::move(all)) {}
    task<stream_item> next() override {
        stream_item item;
        try_next(item);
        co_return item;
    }
    bool try_next(stream_item& into) override {
        into = at_ == all_.size() ? stream_item() : stream_item(std::move(all_[at_++]));
        return true;
    }
    bool ready() const override { return true; }

private:
    std::vector<event> all_;
    std::size_t at_ = 0;
};

/// The events of a streamed answer.
///
/// It is complete at `[DONE]`, whatever the connection does then, or when the input ends after
/// every choice has given its finish reason. An error event is a failure, by its type. A chunk that
/// is no JSON is dropped whole; if no other came, that is a failure. An event's bytes lie in the
/// transport's buffer wherever they came in one piece. Of an operation that is not known here all
/// events are passed on, until the input ends.
class openai_stream final : public stream_source {
public:
    openai_stream(http_response answer, openai_exchange exchange, const openai_call& sent,
                  std::size_t max_event, bytes first_piece = bytes())
        : exchange_(std::move(exchange)),
          answer_(std::move(answer)),
          framer_(max_event),
          choices_(sent.body.choices),
          injected_(sent.body.injected),
          known_(sent.answers) {
        if (!first_piece.empty()) take_piece(std::move(first_piece));
    }

    task<stream_item> next() override {
        for (;;) {
            stream_item item;
            if (try_next(item)) co_return item;
            if (framer_.failed()) {
                co_return exchange_.fail(
                    error(error_kind::too_large, "an event of the stream is over the size limit"));
            }
            auto piece = co_await answer_.read();
            if (!piece) co_return at_end(&piece.error());
            if (piece->empty()) co_return at_end(nullptr);
            take_piece(std::move(*piece));
        }
    }
    bool try_next(stream_item& into) override {
        while (framed_) {
            // What the framer shows lives until it is asked again, which tells `ready()` whether
            // the next event will have to wait.
            auto item = read_event();
            framed_ = framer_.next(raw_);
            if (!item) continue;
            into = std::move(*item);
            return true;
        }
        return false;
    }
    bool ready() const override { return framed_; }

private:
    void take_piece(bytes piece) {
        piece_ = std::move(piece);
        framer_.feed(piece_.view());
        framed_ = framer_.next(raw_);
    }

    /// Nothing for an event that says nothing.
    std::optional<stream_item> read_event() {
        event_facts facts;
        if (raw_.name == "error") return exchange_.refuse(raw_.data);  // be it JSON or not
        if (!chunks_.read(raw_.data, facts)) {
            if (!known_) return event(shared(raw_.data), facts, bytes::copy(raw_.name));
            ++malformed_;
            if (bad_start_.empty()) bad_start_ = raw_.data.substr(0, 1000);
            return std::nullopt;
        }
        if (facts.error) return exchange_.refuse(raw_.data);
        if (facts.last) answer_.finish();  // the end of the message may still be on its way
        if (facts.last && !valid_ && known_) return at_end(nullptr);
        valid_ = true;
        exchange_.first_event();
        if (facts.finish != finish_reason::none) {
            any_finished_ = true;
            if (choices_ > 1) finished_.read(raw_.data);
        }
        facts.injected = injected_ && facts.usage.known && !facts.content && !facts.tool_call &&
                         facts.finish == finish_reason::none;
        const bytes name = raw_.name.empty() ? bytes() : bytes::copy(raw_.name);
        return event(shared(raw_.data), facts, name);
    }

    /// The bytes without a copy when they lie in the piece.
    bytes shared(std::string_view data) const {
        const std::string_view whole = piece_.view();
        const std::less<const char*> before;
        const bool inside = !before(data.data(), whole.data()) &&
                            !before(whole.data() + whole.size(), data.data() + data.size());
        if (!inside) return bytes::copy(data);
        return piece_.slice(static_cast<std::size_t>(data.data() - whole.data()), data.size());
    }

    /// No more input: complete, or why not. `lost` is the transport's failure.
    stream_item at_end(const error* lost) {
        if (any_finished_ && (choices_ <= 1 || finished_.count() >= choices_)) return stream_item();
        if (lost) return exchange_.fail(*lost);
        if (!known_) return stream_item();
        if (!valid_ && malformed_ != 0) {
            return exchange_.nonsense("the stream holds no chunk of an answer", bad_start_);
        }
        if (!valid_) {
            return exchange_.fail(error(error_kind::truncated, "the stream ended without a chunk"));
        }
        return exchange_.fail(
            error(error_kind::truncated, "the stream ended before the model had finished"));
    }

    openai_exchange exchange_;  // holds what the answer's limit points to: it goes last
    http_response answer_;
    bytes piece_;
    sse_framer framer_;
    openai_chunks chunks_;
    sse_event raw_;
    bool framed_ = false;  // raw_ holds an event that was not read yet
    std::int64_t choices_;
    bool any_finished_ = false;
    finished_choices finished_;  // of several
    std::size_t malformed_ = 0;
    std::string bad_start_;
    bool valid_ = false;
    bool injected_;
    bool known_;  // else nobody knows when it is complete but the connection
};

}  // namespace llmkit::detail
