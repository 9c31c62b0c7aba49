// Whatever a server writes, is the wait between none and the longest?
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <llmkit/detail/retry_after.hpp>

// Eight bytes for the clock, then the text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 8) return 0;
    std::int64_t ticks;
    std::memcpy(&ticks, data, 8);
    const std::chrono::system_clock::time_point now{std::chrono::nanoseconds(ticks)};
    const std::string_view text(reinterpret_cast<const char*>(data) + 8, size - 8);
    using namespace llmkit::detail;
    for (const auto wait :
         {parse_retry_after(text, now), parse_retry_after_ms(text), parse_rate_reset(text, now)})
        if (wait && (*wait < std::chrono::nanoseconds(0) || *wait > longest_server_wait))
            std::abort();
    return 0;
}
