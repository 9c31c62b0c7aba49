// What is asked and answered: a chat request of 482 bytes, a completion of 609.
#pragma once

#include <cstddef>
#include <string>

namespace bench {

inline constexpr std::size_t in_flight = 64;
inline constexpr std::size_t request_size = 482;
inline constexpr std::size_t answer_size = 609;

inline std::string padded(std::string before, const std::string& after, std::size_t size) {
    before.append(size - before.size() - after.size(), 'x');
    return before + after;
}
inline const std::string& request_body() {
    static const std::string text =
        padded(R"({"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are brief."},)"
               R"({"role":"user","content":")",
               R"("}],"temperature":0.2})", request_size);
    return text;
}
inline const std::string& answer_body() {
    static const std::string text = padded(
        R"({"id":"chatcmpl-A1b2C3d4E5f6","object":"chat.completion","created":1730000000,)"
        R"("model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant",)"
        R"("content":")",
        R"(","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":57,)"
        R"("completion_tokens":40,"total_tokens":97},"system_fingerprint":"fp_0123456789"})",
        answer_size);
    return text;
}

}  // namespace bench
