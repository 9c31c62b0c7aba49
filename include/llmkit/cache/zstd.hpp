// llmkit/cache/zstd.hpp: stored entries compressed where it pays. Needs libzstd (llmkit::zstd).
#pragma once

#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <llmkit/cache/codec.hpp>

namespace llmkit {

struct zstd_policy {
    /// 1 is quickest, 19 smallest.
    int level = 3;
    /// Smaller entries are left as they are.
    std::size_t min_bytes = 512;
};
static_assert(std::is_trivially_destructible_v<zstd_policy>);

namespace detail {

class zstd_packing final : public entry_packing {
public:
    explicit zstd_packing(zstd_policy policy) : policy_(policy) {}

    std::uint8_t id() const override { return 1; }

    std::optional<std::string> pack(std::string_view text) const override {
        if (text.size() < policy_.min_bytes) return std::nullopt;
        // A tenth is the least that pays; what does not fit in the rest is not worth it.
        std::string out(text.size() - text.size() / 10, '\0');
        thread_local const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(
            ZSTD_createCCtx(), &ZSTD_freeCCtx);
        if (!context) return std::nullopt;
        const std::size_t size = ZSTD_compressCCtx(context.get(), out.data(), out.size(),
                                                   text.data(), text.size(), policy_.level);
        if (ZSTD_isError(size)) return std::nullopt;
        out.resize(size);
        return out;
    }

    std::optional<std::string> unpack(std::string_view packed, std::size_t most) const override {
        const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
        if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size > most)
            return std::nullopt;
        std::string out(static_cast<std::size_t>(size), '\0');
        thread_local const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(
            ZSTD_createDCtx(), &ZSTD_freeDCtx);
        if (!context) return std::nullopt;
        const std::size_t got = ZSTD_decompressDCtx(context.get(), out.data(), out.size(),
                                                    packed.data(), packed.size());
        if (ZSTD_isError(got) || got != out.size()) return std::nullopt;
        return out;
    }

private:
    const zstd_policy policy_;
};

}  // namespace detail

/// A codec that compresses entries by zstd when that makes them smaller by a tenth at least.
///
///     auto store = llmkit::sqlite_cache("answers.db", {}, llmkit::zstd_codec());
///
/// It reads what the plain codec wrote as well. To the plain codec, what was compressed is a miss.
inline entry_codec zstd_codec(zstd_policy policy = {}) {
    return entry_codec(std::make_shared<detail::zstd_packing>(policy));
}

}  // namespace llmkit
