// llmkit/cache/sqlite_batch.hpp: what has come together is written into a file of answers at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/sqlite_answers.hpp>
#include <llmkit/cache/sqlite_pending.hpp>
#include <llmkit/cache/sqlite_policy.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/limit.hpp>

namespace llmkit::detail {

/// When answers were asked for last, in milliseconds of the calendar.
using sqlite_touches = std::unordered_map<key128, std::int64_t>;

/// Removes what was not asked for the longest where `incoming` bytes want room; a tenth more than is
/// needed, so that not every batch has to.
inline bool make_room(sqlite_writer& to, const sqlite_policy& policy, std::uint64_t incoming,
                      sqlite_stats& made) {
    if (to.bytes() + incoming <= policy.max_bytes) return true;
    const std::uint64_t target = policy.max_bytes - policy.max_bytes / 10;
    int gone = 1;
    while (gone > 0 && to.bytes() + incoming > target) {
        to.begin();
        gone = to.evict();
        if (!to.commit()) return false;
        made.evictions += static_cast<std::uint64_t>(gone);
    }
    return true;
}

inline void write_answer(sqlite_writer& to, const entry_codec& codec, const sqlite_policy& policy,
                         const key128& key, const sqlite_change& one, sqlite_stats& made) {
    if (!one.entry) return to.erase(key);
    const std::string entry = codec.encode(*one.entry, one.at.now);
    if (entry.empty()) {
        ++made.dropped;
        return;
    }
    const auto until = std::min(one.entry->keep_until, after(one.at.now, policy.max_age));
    to.put(key, one.at.wall, one.at.wall_of(until), entry);
    ++made.writes;
}

/// False when SQLite could not; then nothing of the batch is in the file.
inline bool write_answers(sqlite_writer& to, const entry_codec& codec, const sqlite_policy& policy,
                          const sqlite_pending::changes& batch, const sqlite_touches& touches,
                          sqlite_stats& made) {
    // Before anything is pushed out for not being used.
    if (!touches.empty()) {
        to.begin();
        for (const auto& [key, when] : touches) to.touch(key, when);
        if (!to.commit()) return false;
    }
    std::uint64_t incoming = 0;
    for (const auto& [key, one] : batch) incoming += one.size;
    if (!make_room(to, policy, incoming, made)) return false;
    std::int64_t now = 0;
    to.begin();
    for (const auto& [key, one] : batch) {
        now = std::max(now, one.at.wall);
        write_answer(to, codec, policy, key, one, made);
    }
    made.expirations = static_cast<std::uint64_t>(to.expire(now));
    return to.commit();
}

}  // namespace llmkit::detail
