// llmkit/cache/tag.hpp: names under which stored answers are invalidated together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <llmkit/core/key.hpp>

namespace llmkit {

/// A tag and its generation. Every tag has one in the store, a random number in an entry of its own
/// under `tag_key`; an answer records the generations of its tags at the moment when it was asked
/// for, and is given only while these are still the tags' generations. To invalidate a tag is to
/// erase its entry: whoever needs a generation next makes a new one. So a tag's entry that is lost,
/// pushed out or too old costs hits and never gives an invalid answer, and no store is ever searched.
struct tag_mark {
    std::uint64_t tag = 0;  ///< `tag_key(name).low`
    std::uint64_t generation = 0;

    friend constexpr bool operator==(const tag_mark&, const tag_mark&) = default;
};

/// A call with more tags is not answered from a cache and not stored.
inline constexpr std::size_t most_tags = 16;

namespace detail {
inline constexpr std::uint64_t tag_keys = 0x6c6c'6d6b'6974'2f74;  // "llmkit/t"
}  // namespace detail

/// The key under which a store has a tag's generation.
///
///     co_await answers.erase(llmkit::tag_key("catalogue-7"), until);   // what `invalidate` does
///
/// Two tags that share a key are invalidated together, which costs hits and nothing else.
inline key128 tag_key(std::string_view tag) { return {detail::tag_keys, hash128(tag).low}; }

/// Whether a key is one of a tag's generation, and not of an answer. What holds for these keys
/// stands in cache/backend.hpp.
constexpr bool is_tag_key(const key128& key) { return key.high == detail::tag_keys; }

}  // namespace llmkit
