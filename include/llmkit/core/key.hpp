// llmkit/core/key.hpp: short names for requests, equal exactly when the requests mean the same.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <llmkit/core/canonical_json.hpp>

// Header-only, so that the library links nothing for it; the build may have said so already.
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

namespace llmkit {

/// A 128-bit key.
struct key128 {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    friend constexpr auto operator<=>(const key128&, const key128&) = default;
};

/// 32 lower-case hexadecimal digits.
constexpr std::array<char, 32> hex_digits(const key128& key) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<char, 32> out{};
    for (unsigned i = 0; i < 16; ++i) {
        out[i] = digits[(key.high >> (60 - 4 * i)) & 15U];
        out[16 + i] = digits[(key.low >> (60 - 4 * i)) & 15U];
    }
    return out;
}
inline std::string to_hex(const key128& key) {
    const auto digits = hex_digits(key);
    return {digits.data(), digits.size()};
}

/// XXH3's 128 bits of `bytes`; the same on every machine. Fast and well spread, but no defence
/// against somebody who looks for collisions: who shares answers by key compares what it stands
/// for.
inline key128 hash128(std::string_view bytes) {
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    return {hash.high64, hash.low64};
}

/// Makes one key of several parts.
///
///     auto key = key_builder().add(schema).add(tenant).add(operation).add(body).finish();
///
/// Each part carries its kind and length, so that "ab","c" and "a","bc" differ. Nothing is
/// allocated.
class key_builder {
public:
    key_builder& add(std::string_view part) {
        if (part.size() <= longest_part) {
            start('s', 8 + part.size());
            put(part.size());
            put_bytes(part.data(), part.size());
        } else {
            const key128 hash = hash128(part);
            start('S', 24);
            put(part.size());
            put(hash.high);
            put(hash.low);
        }
        return *this;
    }
    key_builder& add(std::uint64_t number) {
        start('n', 8);
        put(number);
        return *this;
    }
    key_builder& add(const key128& key) {
        start('k', 16);
        put(key.high);
        put(key.low);
        return *this;
    }

    key128 finish() const { return hash128({bytes_.data(), size_}); }

private:
    static constexpr std::size_t longest_part = 64;

    /// Begins a part of so many bytes. When they don't fit, what is there is folded into its hash.
    void start(char kind, std::size_t bytes) {
        if (size_ + 1 + bytes > bytes_.size()) {
            const key128 folded = finish();
            size_ = 0;
            bytes_[size_++] = 'f';
            put(folded.high);
            put(folded.low);
        }
        bytes_[size_++] = kind;
    }
    void put(std::uint64_t number) {
        char* const to = bytes_.data() + size_;  // one store, where the bytes lie so anyway
        for (unsigned i = 0; i < 8; ++i) to[i] = static_cast<char>(number >> (8 * i));
        size_ += 8;
    }
    void put_bytes(const char* from, std::size_t count) {
        if (count != 0) std::memcpy(bytes_.data() + size_, from, count);
        size_ += count;
    }

    std::array<char, 240> bytes_;  // XXH3 is fastest up to here
    std::size_t size_ = 0;
};

/// What a request body says about transport only: not part of what is asked.
inline constexpr std::array<std::string_view, 2> transport_only_members{"stream", "stream_options"};

/// The key of a request's body; `form` is what it stands for, until this thread writes another form.
inline key128 body_key(std::string_view body, std::string_view& form,
                       std::span<const std::string_view> excluded_top_level) {
    const auto written = detail::latest_form::write(body, excluded_top_level);
    form = written.value_or(body);
    return key_builder().add(written ? "json" : "raw").add(hash128(form)).finish();
}
/// The key of a request's body. `canonical` becomes the bytes that the key stands for: the
/// canonical form, or the body itself when it is no JSON (those two never share a key).
///
///     std::string canonical;
///     key128 key = body_key(R"({"model":"m","stream":true})", canonical, transport_only_members);
inline key128 body_key(std::string_view body, std::string& canonical,
                       std::span<const std::string_view> excluded_top_level = {}) {
    std::string_view form;
    const key128 key = body_key(body, form, excluded_top_level);
    canonical.assign(form);
    if (detail::latest_form::large()) detail::latest_form::drop();
    return key;
}

}  // namespace llmkit

/// Keys are hashes already: half of one is as good as any.
template <>
struct std::hash<llmkit::key128> {
    std::size_t operator()(const llmkit::key128& key) const noexcept {
        return static_cast<std::size_t>(key.low);
    }
};
