// Entries for the tests of stores, and whether two say the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <llmkit/cache/entry.hpp>
#include <llmkit/core/limit.hpp>
#include <llmkit/testing/plain_dialect.hpp>

namespace llmkit_test {

using namespace llmkit;
using namespace std::chrono_literals;

/// A streamed answer with all that an entry can hold.
inline cache_entry full_entry(time_point now) {
    cache_entry made;
    made.operation = "chat/completions";
    made.canonical = bytes(std::string(R"({"messages":"hi","model":"m"})"));
    made.tenant = "acme";
    made.origin = "openai https://api.example";
    made.headers = hash128("headers");
    made.model = "m-2024";
    made.request_id = "req_1";
    made.dialect = "plain";
    made.speaks = &testing::speaks_plain();
    made.streamed = true;
    event_facts said;
    said.content = said.tool_call = said.text_escaped = true;
    said.text_at = 2;
    said.text_size = 300;
    made.events.emplace_back(bytes(std::string(400, 'x')), said, bytes(std::string("delta")));
    event_facts usage;
    usage.injected = true;
    usage.usage = {12, 3, 4, 2, true};
    usage.finish = finish_reason::tool_calls;
    made.events.emplace_back(bytes(std::string("usage")), usage);
    event_facts end;
    end.last = true;
    made.events.emplace_back(bytes(), end);
    made.usage = {12, 3, 4, 2, true};
    made.pauses = {250'000, 0, ~std::uint32_t{0}};
    made.tags = {{1, 2}, {3, ~std::uint64_t{0}}};
    made.stored_at = now - 3s;
    made.fresh_until = now + 1h;
    made.keep_until = now + 2h;
    return made;
}

/// A whole answer that says `text`.
inline std::shared_ptr<const cache_entry> entry_saying(std::string text, time_point now,
                                                       duration keep = 1h) {
    auto made = std::make_shared<cache_entry>();
    made->operation = "chat/completions";
    made->dialect = "plain";
    made->speaks = &testing::speaks_plain();
    made->events.push_back(testing::plain_dialect::body(std::move(text)));
    made->stored_at = now;
    made->fresh_until = after(now, keep);
    made->keep_until = after(now, keep);
    return made;
}

inline bool same(const cache_entry& a, const cache_entry& b) {
    if (a.events.size() != b.events.size()) return false;
    for (std::size_t i = 0; i < a.events.size(); ++i) {
        if (a.events[i].data() != b.events[i].data() || a.events[i].name() != b.events[i].name() ||
            a.events[i].facts() != b.events[i].facts()) {
            return false;
        }
    }
    return a.operation == b.operation && a.canonical == b.canonical && a.tenant == b.tenant &&
           a.origin == b.origin && a.headers == b.headers && a.model == b.model &&
           a.request_id == b.request_id && a.dialect == b.dialect && a.speaks == b.speaks &&
           a.streamed == b.streamed && a.usage == b.usage && a.tags == b.tags &&
           a.pauses == b.pauses && a.refusal.to_string() == b.refusal.to_string() &&
           a.stored_at == b.stored_at && a.fresh_until == b.fresh_until &&
           a.keep_until == b.keep_until;
}

}  // namespace llmkit_test
