// llmkit/cache/entry_bytes.hpp: a cache entry's fields as a compact run of bytes, and back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/cache/entry.hpp>
#include <llmkit/core/bytes.hpp>

namespace llmkit::detail {

/// Writes numbers seven bits a byte (LEB128), small ones first; signed ones zigzag; text with its
/// length before it.
class field_writer {
public:
    explicit field_writer(std::string& out) : out_(out) {}

    void number(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
        out_ += static_cast<char>(value);
    }
    void sign(std::int64_t value) {
        const auto bits = static_cast<std::uint64_t>(value);
        number((bits << 1) ^ (value < 0 ? ~std::uint64_t{0} : 0));
    }
    void text(std::string_view value) {
        number(value.size());
        out_ += value;
    }
    void key(const key128& value) {
        for (const std::uint64_t half : {value.high, value.low})
            for (int shift = 0; shift < 64; shift += 8) out_ += static_cast<char>(half >> shift);
    }
    void usage(const token_usage& value) {
        for (const auto count : {value.input, value.output, value.cached_input, value.reasoning})
            sign(count);
    }
    void pauses(const std::vector<std::uint32_t>& all) {
        for (const std::uint32_t pause : all) number(pause);
    }
    void refusal(const error& why) {
        text(to_string(why.kind()));
        text(why.message());
        number(static_cast<std::uint64_t>(std::max(why.status(), 0)));
        text(why.code());
        text(why.where());
    }
    void tags(const std::vector<tag_mark>& marks) {
        number(marks.size());
        for (const tag_mark& mark : marks) key({mark.tag, mark.generation});
    }

private:
    std::string& out_;
};

/// Reads them again. After anything impossible `fine` is false and all reads give nothing.
class field_reader {
public:
    explicit field_reader(bytes from, std::size_t at) : from_(std::move(from)), at_(at) {}

    bool fine() const { return fine_; }
    bool finished() const { return fine_ && at_ == from_.size(); }
    std::size_t left() const { return from_.size() - at_; }

    std::uint8_t byte() {
        if (!has(1)) return 0;
        return static_cast<std::uint8_t>(from_.view()[at_++]);
    }
    std::uint64_t number() {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const std::uint64_t next = byte();
            if (shift == 63 && next > 1) break;
            value |= (next & 0x7F) << shift;
            if (next < 0x80) return value;
        }
        fine_ = false;
        return 0;
    }
    std::int64_t sign() {
        const std::uint64_t bits = number();
        const std::uint64_t flipped = (bits & 1) != 0 ? ~std::uint64_t{0} : 0;
        return static_cast<std::int64_t>((bits >> 1) ^ flipped);
    }
    /// A part of the whole buffer, which it keeps alive.
    bytes text() {
        const std::uint64_t size = number();
        if (!has(size) || size == 0) return bytes();
        const std::size_t from = std::exchange(at_, at_ + static_cast<std::size_t>(size));
        return from_.slice(from, static_cast<std::size_t>(size));
    }
    std::string string() { return std::string(text().view()); }
    key128 key() {
        key128 value;
        for (std::uint64_t* half : {&value.high, &value.low})
            for (int shift = 0; shift < 64; shift += 8) *half |= std::uint64_t{byte()} << shift;
        return value;
    }
    token_usage usage() {
        token_usage value;
        for (auto* count : {&value.input, &value.output, &value.cached_input, &value.reasoning})
            *count = sign();
        value.known = true;
        return value;
    }
    std::vector<std::uint32_t> pauses(std::size_t count) {
        std::vector<std::uint32_t> all;
        fine_ = fine_ && count <= left();
        for (std::size_t i = 0; fine_ && i < count; ++i) {
            const std::uint64_t pause = number();
            fine_ = fine_ && pause <= std::numeric_limits<std::uint32_t>::max();
            all.push_back(static_cast<std::uint32_t>(pause));
        }
        return all;
    }
    error refusal() {
        const std::string name = string();
        const std::string message = string();
        const std::uint64_t status = number();
        const std::string code = string();
        const error_kind kind = named_kind(name);
        fine_ = fine_ && kind != error_kind::unset && status < 1000;
        return error(kind, message)
            .with_status(static_cast<int>(status))
            .with_code(code)
            .with_where(string());
    }
    std::vector<tag_mark> tags() {
        std::vector<tag_mark> marks;
        const std::uint64_t count = number();
        fine_ = fine_ && count > 0 && count <= most_tags;
        for (std::uint64_t i = 0; fine_ && i < count; ++i) {
            const key128 both = key();
            marks.push_back({both.high, both.low});
        }
        return marks;
    }

private:
    /// Kinds are written by name: their numbers change when there are new ones.
    static error_kind named_kind(std::string_view name) {
        for (std::size_t i = 0; i < error_kind_count; ++i) {
            if (to_string(static_cast<error_kind>(i)) == name) return static_cast<error_kind>(i);
        }
        return error_kind::unset;
    }
    bool has(std::uint64_t count) { return fine_ = fine_ && count <= left(); }

    bytes from_;
    std::size_t at_;
    bool fine_ = true;
};

/// A time as its distance from now. No distance that can be written is for ever; that one is.
class relative_time {
public:
    explicit relative_time(time_point now) : now_(now) {}

    std::int64_t write(time_point at) const {
        if (at == time_point::max()) return forever;
        std::int64_t span = 0;
        if (__builtin_sub_overflow(count(at), count(now_), &span)) span = at < now_ ? -far : far;
        return span;
    }
    time_point read(std::int64_t span) const {
        if (span == forever) return time_point::max();
        std::int64_t at = 0;
        if (__builtin_add_overflow(count(now_), span, &at)) {
            return span < 0 ? time_point::min() : time_point::max();
        }
        return time_point(duration(at));
    }

private:
    static constexpr std::int64_t forever = std::numeric_limits<std::int64_t>::max();
    static constexpr std::int64_t far = forever - 1;
    static std::int64_t count(time_point at) { return at.time_since_epoch().count(); }

    time_point now_;
};

// Bits of an event's first byte; those of an entry are the same where they mean the same.
inline constexpr unsigned event_content = 1, event_tool_call = 2, event_last = 4,
                          event_injected = 8, event_error = 16, event_escaped = 32,
                          event_usage = 64, event_text = 128;
// Whoever does not know a bit of an entry does not read it: a part that is new has a bit, and what
// has none of the new parts is written as it always was.
inline constexpr unsigned entry_streamed = 1, entry_tags = 2, entry_pauses = 4, entry_refusal = 8,
                          entry_usage = event_usage;
inline constexpr unsigned entry_known =
    entry_streamed | entry_tags | entry_pauses | entry_refusal | entry_usage;

inline void write_event(field_writer& out, std::string& raw, const event& one) {
    const event_facts& facts = one.facts();
    const bool placed = facts.text_at != 0 || facts.text_size != 0;
    unsigned bits = 0;
    if (facts.content) bits |= event_content;
    if (facts.tool_call) bits |= event_tool_call;
    if (facts.last) bits |= event_last;
    if (facts.injected) bits |= event_injected;
    if (facts.error) bits |= event_error;
    if (facts.text_escaped) bits |= event_escaped;
    if (facts.usage.known) bits |= event_usage;
    if (placed) bits |= event_text;
    raw += static_cast<char>(bits);
    raw += static_cast<char>(facts.finish);
    if (placed) {
        out.number(facts.text_at);
        out.number(facts.text_size);
    }
    if (facts.usage.known) out.usage(facts.usage);
    out.text(one.name());
    out.text(one.data());
}

/// False when it cannot be an event.
inline bool read_event(field_reader& in, event& into) {
    const unsigned bits = in.byte();
    const unsigned finish = in.byte();
    if (finish > static_cast<unsigned>(finish_reason::other)) return false;
    event_facts facts;
    facts.content = (bits & event_content) != 0;
    facts.tool_call = (bits & event_tool_call) != 0;
    facts.last = (bits & event_last) != 0;
    facts.injected = (bits & event_injected) != 0;
    facts.error = (bits & event_error) != 0;
    facts.text_escaped = (bits & event_escaped) != 0;
    facts.finish = static_cast<finish_reason>(finish);
    std::uint64_t text_at = 0;
    std::uint64_t text_size = 0;
    if ((bits & event_text) != 0) {
        text_at = in.number();
        text_size = in.number();
    }
    if ((bits & event_usage) != 0) facts.usage = in.usage();
    bytes name = in.text();
    bytes data = in.text();
    // Whoever shows the text cuts it out of the data without a look.
    if (!in.fine() || text_at > data.size() || text_size > data.size() - text_at) return false;
    facts.text_at = static_cast<std::uint32_t>(text_at);
    facts.text_size = static_cast<std::uint32_t>(text_size);
    into = event(std::move(data), facts, std::move(name));
    return text_at + text_size <= std::numeric_limits<std::uint32_t>::max();
}

inline void write_entry(std::string& out, const cache_entry& entry, time_point now) {
    field_writer fields(out);
    const relative_time time(now);
    unsigned bits = 0;
    if (entry.streamed) bits |= entry_streamed;
    if (entry.usage.known) bits |= entry_usage;
    if (!entry.tags.empty()) bits |= entry_tags;
    const bool paced = !entry.pauses.empty() && entry.pauses.size() == entry.events.size();
    if (paced) bits |= entry_pauses;
    if (entry.refusal.kind() != error_kind::unset) bits |= entry_refusal;
    out += static_cast<char>(bits);
    for (const auto* text : {&entry.operation, &entry.tenant, &entry.origin, &entry.model,
                             &entry.request_id, &entry.dialect}) {
        fields.text(*text);
    }
    fields.key(entry.headers);
    for (const auto at : {entry.stored_at, entry.fresh_until, entry.keep_until})
        fields.sign(time.write(at));
    if (entry.usage.known) fields.usage(entry.usage);
    if (!entry.tags.empty()) fields.tags(entry.tags);
    fields.text(entry.canonical.view());
    fields.number(entry.events.size());
    for (const event& one : entry.events) write_event(fields, out, one);
    if (paced) fields.pauses(entry.pauses);
    if ((bits & entry_refusal) != 0) fields.refusal(entry.refusal);
}

/// The entry written in `from` at `at`, its long texts parts of `from`; null when it is none. Its
/// events take at most `most` bytes beside `from`. Who speaks its dialect is left to the caller.
inline std::shared_ptr<cache_entry> read_entry(bytes from, std::size_t at, time_point written,
                                               std::size_t most) {
    field_reader fields(std::move(from), at);
    const relative_time time(written);
    auto entry = std::make_shared<cache_entry>();
    const unsigned bits = fields.byte();
    if ((bits & ~entry_known) != 0) return nullptr;
    entry->streamed = (bits & entry_streamed) != 0;
    for (auto* text : {&entry->operation, &entry->tenant, &entry->origin, &entry->model,
                       &entry->request_id, &entry->dialect}) {
        *text = fields.string();
    }
    entry->headers = fields.key();
    for (auto* moment : {&entry->stored_at, &entry->fresh_until, &entry->keep_until})
        *moment = time.read(fields.sign());
    if ((bits & entry_usage) != 0) entry->usage = fields.usage();
    if ((bits & entry_tags) != 0) entry->tags = fields.tags();
    entry->canonical = fields.text();
    const std::uint64_t count = fields.number();
    if (!fields.fine() || count > most / sizeof(event) || count > fields.left()) return nullptr;
    entry->events.resize(static_cast<std::size_t>(count));
    for (event& one : entry->events) {
        if (!read_event(fields, one)) return nullptr;
    }
    if ((bits & entry_pauses) != 0) entry->pauses = fields.pauses(entry->events.size());
    if ((bits & entry_refusal) != 0) entry->refusal = fields.refusal();
    if (!fields.finished()) return nullptr;
    return entry;
}

}  // namespace llmkit::detail
