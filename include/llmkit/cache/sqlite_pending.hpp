// llmkit/cache/sqlite_pending.hpp: what waits to be written to a file, and can be found already.
#pragma once

#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>

#include <llmkit/cache/entry.hpp>
#include <llmkit/cache/sqlite_job.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit::detail {

/// A change to one key: the last one counts.
struct sqlite_change {
    std::shared_ptr<const cache_entry> entry;  ///< null: to be erased
    file_time at;
    std::size_t size = 0;
};

/// Changes of two kinds: those that a writer is carrying out, which it reads without a lock, and
/// those that came since. Guarded by its owner's mutex.
class sqlite_pending {
public:
    using changes = std::unordered_map<key128, sqlite_change>;

    bool empty() const { return incoming_.empty(); }
    std::size_t bytes() const { return bytes_; }

    /// The newest change to a key; null when there is none.
    const sqlite_change* find(const key128& key) const {
        for (const auto* some : {&incoming_, &writing_}) {
            const auto at = some->find(key);
            if (at != some->end()) return &at->second;
        }
        return nullptr;
    }
    /// What this takes of the bound.
    static std::size_t size_of(const std::shared_ptr<const cache_entry>& entry) {
        return sizeof(sqlite_change) + sizeof(key128) + (entry ? entry->weight() : 0);
    }
    /// Returns the entry that was to be written before, to be let go of after unlocking.
    std::shared_ptr<const cache_entry> add(const key128& key,
                                           std::shared_ptr<const cache_entry> entry, file_time at) {
        sqlite_change& place = incoming_[key];
        const std::size_t size = size_of(entry);
        bytes_ += size;
        bytes_ -= std::exchange(place.size, size);
        place.at = at;
        return std::exchange(place.entry, std::move(entry));
    }

    /// Begins with all that came so far, which does not change until `end`.
    const changes& begin() {
        writing_.swap(incoming_);
        return writing_;
    }
    /// Returns what was written, to be let go of after unlocking.
    changes end() {
        for (const auto& [key, one] : writing_) bytes_ -= one.size;
        return std::exchange(writing_, {});
    }

private:
    changes incoming_;
    changes writing_;
    std::size_t bytes_ = 0;
};

}  // namespace llmkit::detail
