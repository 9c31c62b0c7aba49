// llmkit/cache/codec.hpp: cache entries as bytes, for stores outside the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/cache/entry.hpp>
#include <llmkit/cache/entry_bytes.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit {

/// A way to make entries smaller, such as `zstd_codec` has. Stateless to its users, thread-safe.
class entry_packing {
public:
    virtual ~entry_packing() = default;

    /// Tells its entries from those of others: 1 is zstd's; yours from 128 on.
    virtual std::uint8_t id() const = 0;
    /// The text made smaller; nothing when that does not pay.
    virtual std::optional<std::string> pack(std::string_view text) const = 0;
    /// The text again; nothing when it cannot be, or would be larger than `most` bytes.
    virtual std::optional<std::string> unpack(std::string_view packed, std::size_t most) const = 0;

protected:
    entry_packing() = default;
};

/// Turns entries into bytes and back.
///
///     llmkit::entry_codec codec;
///     std::string stored = codec.encode(*entry, now);
///     auto again = codec.decode(stored, now);            // null: unreadable, a miss
///
/// The bytes begin with a mark and their version, and are checked by 128 bits of XXH3: what was cut
/// short, changed, written by another version or packed in a way that this codec lacks reads as
/// null, never as something else, and takes a few times `most_bytes` of memory at worst. Times are
/// written as distances from `now`, because no other process has the same clock. Any machine reads
/// what another wrote. A handle; thread-safe.
class entry_codec {
public:
    /// Larger entries are neither written nor read.
    static constexpr std::size_t most_bytes = std::size_t{64} << 20;

    entry_codec() = default;
    explicit entry_codec(std::shared_ptr<const entry_packing> packing)
        : packing_(std::move(packing)) {}

    /// Empty when it could not be read again: too large, or a dialect that no `known_dialect` made
    /// known.
    std::string encode(const cache_entry& entry, time_point now) const {
        if (entry.weight() > most_bytes) return {};
        if (!entry.dialect.empty() && !known_dialect::find(entry.dialect)) return {};
        std::string out(mark);
        out.append(checked_from - mark.size(), '\0');
        out += '\0';
        detail::write_entry(out, entry, now);
        if (packing_) {
            auto packed = packing_->pack(std::string_view(out).substr(payload_from));
            if (packed) {
                out.replace(payload_from, out.size(), *packed);
                out[checked_from] = static_cast<char>(packing_->id());
            }
        }
        out.replace(mark.size(), checked_from - mark.size(), checksum(out));
        return out;
    }

    /// The entry, `written` being the moment of its encoding on the reader's clock. Null when it
    /// cannot be read.
    std::shared_ptr<const cache_entry> decode(std::string stored, time_point written) const {
        if (stored.size() <= payload_from || stored.size() > most_bytes) return nullptr;
        if (!stored.starts_with(mark)) return nullptr;
        if (checksum(stored) != std::string_view(stored).substr(mark.size(), 16)) return nullptr;
        const auto packed_by = static_cast<std::uint8_t>(stored[checked_from]);
        std::size_t at = payload_from;
        if (packed_by != 0) {
            if (!packing_ || packing_->id() != packed_by) return nullptr;
            auto text = packing_->unpack(std::string_view(stored).substr(at), most_bytes);
            if (!text) return nullptr;
            stored = std::move(*text);
            at = 0;
        }
        return entry_of(bytes(std::move(stored)), at, written);
    }

private:
    static constexpr std::string_view mark{"lce\x01"};             // the last is the version
    static constexpr std::size_t checked_from = mark.size() + 16;  // how it is packed
    static constexpr std::size_t payload_from = checked_from + 1;

    static std::string checksum(std::string_view whole) {
        std::string out;
        detail::field_writer(out).key(hash128(whole.substr(checked_from)));
        return out;
    }
    static std::shared_ptr<const cache_entry> entry_of(bytes text, std::size_t at,
                                                       time_point written) {
        auto entry = detail::read_entry(std::move(text), at, written, most_bytes);
        if (!entry || entry->dialect.empty()) return entry;
        entry->speaks = known_dialect::find(entry->dialect);
        if (!entry->speaks) return nullptr;
        return entry;
    }

    std::shared_ptr<const entry_packing> packing_;
};

}  // namespace llmkit
