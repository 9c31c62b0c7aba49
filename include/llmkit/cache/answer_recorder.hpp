// llmkit/cache/answer_recorder.hpp: watches an answer pass by, and has it stored when it was whole.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include <llmkit/cache/answers.hpp>
#include <llmkit/core/event_stream.hpp>
#include <llmkit/core/response.hpp>
#include <llmkit/detail/answer_recording.hpp>
#include <llmkit/detail/cadence.hpp>

namespace llmkit::detail {

/// Watches an answer pass by and stores it when it was complete.
template <class Backend>
class answer_recorder final : public stream_tap {
public:
    answer_recorder(std::shared_ptr<cache_core<Backend>> core, const key128& key, request ask,
                    const response_head& head, std::vector<tag_mark> tags, time_point began)
        : core_(std::move(core)),
          key_(key),
          ask_(std::move(ask)),
          head_(head),
          tags_(std::move(tags)),
          recorded_(core_->max_entry_bytes()) {
        if (core_->times(head)) cadence_.emplace(began);
    }

    void on_event(const event& one) override {
        try {
            recorded_.add(one);
            if (cadence_) cadence_->add(core_->time.now());
        } catch (const std::bad_alloc&) {
            recorded_.drop();
        }
    }
    void on_end(outcome how, const error*) override {
        // Everything held is let go of at the end: the claim keeps the shared call open.
        const auto claim = std::move(head_.claim);
        if (how != outcome::complete || !recorded_.worth_keeping(head_.streamed)) return;
        if (claim && !claim->take()) return;
        try {
            store(claim);
        } catch (const std::exception&) {
            // No memory, or a store that throws: the caller has his answer all the same.
        }
    }

private:
    void store(const std::shared_ptr<answer_claim>& claim) {
        auto pauses = cadence_ ? cadence_->take() : std::vector<std::uint32_t>();
        auto kept = core_->entry(ask_, head_, recorded_, std::move(tags_), std::move(pauses));
        cache_core<Backend>::keep(core_, key_, ask_, std::move(kept), claim);
    }

    std::shared_ptr<cache_core<Backend>> core_;
    key128 key_;
    request ask_;
    response_head head_;
    std::vector<tag_mark> tags_;
    answer_recording recorded_;
    std::optional<cadence_recorder> cadence_;
};

}  // namespace llmkit::detail
