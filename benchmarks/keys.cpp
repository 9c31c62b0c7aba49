// What does the key of a request cost, made from its text?
//
// The canonical form and its hash, against the hash of the same bytes alone, which no key can be
// made without, and against the obvious way with a request that is parsed already: nlohmann's copy
// without the transport's fields, its dump (which orders the members), and SHA-256 of that. They
// are measured in turn; a ratio is the median of the rounds' ratios.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/evp.h>
#include <nlohmann/json.hpp>

#include <llmkit/core/chat_request.hpp>
#include <llmkit/core/key.hpp>

using namespace llmkit;

namespace {

constexpr int rounds = 31;

volatile std::uint64_t sink;

/// A conversation of so many bytes, a seventh of it JSON's own: several turns, a tool, options.
std::string conversation(std::size_t size) {
    const std::string_view said =
        "The quick brown fox jumps over the lazy dog, while the \"others\" look on.\nThen it goes "
        "home and writes a letter about it to its aunt, who lives in K\u00f6ln and likes such "
        "news. ";
    for (std::size_t length = 16;; length += 4) {
        chat_request ask("gpt-4o-mini");
        ask.system("You are a helpful assistant who answers in one paragraph.").temperature(0);
        ask.max_tokens(256).seed(7).tool(
            "weather", "Weather in a city.",
            R"({"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string"}}})");
        std::string text;
        while (text.size() < length) text += said;
        text.resize(length);
        while (!text.empty() && static_cast<unsigned char>(text.back()) >= 0x80) text.pop_back();
        for (int turn = 0; turn < 3; ++turn) ask.user(text).assistant(text);
        ask.user("And then?").set_json("stream", "true");
        std::string body = ask.body();
        if (body.size() >= size) return body;
    }
}

#ifdef LLMKIT_PEER_OPENSSL__CRYPTO
constexpr bool sha256 = true;
std::uint64_t digest_of(std::string_view text) {
    std::uint64_t digest[4];
    unsigned int written = 0;
    auto* const out = reinterpret_cast<unsigned char*>(digest);
    EVP_Digest(text.data(), text.size(), out, &written, EVP_sha256(), nullptr);
    return digest[0];
}
#else
constexpr bool sha256 = false;
std::uint64_t digest_of(std::string_view text) { return text.size(); }
#endif

/// What a cache written in an afternoon does with a request that it has parsed.
std::uint64_t obvious_key(const nlohmann::json& parsed) {
    nlohmann::json copy = parsed;
    copy.erase("stream");
    copy.erase("stream_options");
    return digest_of(copy.dump());
}

/// Nanoseconds a call.
template <class Work>
double time(std::size_t calls, Work work) {
    const auto began = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < calls; ++i) work();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
    return took.count() / static_cast<double>(calls);
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}
double ratio(const std::vector<double>& over, const std::vector<double>& under) {
    std::vector<double> each;
    for (std::size_t i = 0; i < over.size(); ++i) each.push_back(over[i] / under[i]);
    return median(each);
}

class figures {
public:
    std::vector<double> hash, key, obvious;

    void measure(const std::string& body, std::size_t calls) {
        std::string canonical;
        const nlohmann::json parsed = nlohmann::json::parse(body);
        for (int round = 0; round <= rounds; ++round) {
            const double a = time(calls, [&] { sink = hash128(body).low; });
            const double b =
                time(calls, [&] { sink = body_key(body, canonical, transport_only_members).low; });
            const double c = time(calls / 8, [&] { sink = obvious_key(parsed); });
            if (round == 0) continue;  // warm-up
            hash.push_back(a);
            key.push_back(b);
            obvious.push_back(c);
        }
    }
    void print(const char* name, std::size_t size) const {
        std::printf("%-28s %8zu %10.0f %10.0f %10.0f\n", name, size, median(hash), median(key),
                    median(obvious));
    }
};

}  // namespace

int main() {
    const std::string small = conversation(2'000), large = conversation(20'000);
    const std::string one = chat_request("m").user(std::string(1'900, 'q')).body();
    figures of_small, of_large, of_one;
    of_small.measure(small, 4'000);
    of_large.measure(large, 800);
    of_one.measure(one, 4'000);

    std::printf("%-28s %8s %10s %10s %10s\n", "ns (median)", "bytes", "hash only", "key", "dump");
    of_small.print("a conversation", small.size());
    of_large.print("a long one", large.size());
    of_one.print("one message", one.size());

    const auto result = [](const char* name, double value, const char* unit) {
        std::printf("result keys.%s %.3g %s\n", name, value, unit);
    };
    if (!sha256) std::printf("without SHA-256, as OpenSSL is not installed\n");
    result("canonical_vs_hash_only", ratio(of_small.key, of_small.hash), "ratio");
    if (sha256) {
        result("canonical_vs_dump_sha256", ratio(of_small.key, of_small.obvious), "ratio");
        result("canonical_20k_vs_dump_sha256", ratio(of_large.key, of_large.obvious), "ratio");
    }
    result("canonical_ns", median(of_small.key), "ns");
    result("canonical_20k_ns", median(of_large.key), "ns");
    result("one_message_ns", median(of_one.key), "ns");
}
