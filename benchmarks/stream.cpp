// What does a streamed token cost to read, from the socket's bytes to its text?
//
// A stream of chat completion chunks of 330 bytes, in pieces of 16 KiB as a socket gives them. Read
// in turn: newlines only (which nothing that frames can do without), framed into events, and on to
// the text of each delta, as a reader of a chat_stream gets it: as the chunks of one stream, and each
// by itself; and the same with simdjson (on demand, and its DOM) and with nlohmann's DOM behind our
// framing. A ratio is the median of the rounds'
// ratios.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#ifdef LLMKIT_PEER_SIMDJSON__SIMDJSON
#include <simdjson.h>
#endif

#include <llmkit/core/pipeline.hpp>
#include <llmkit/detail/openai_chunks.hpp>
#include <llmkit/detail/sse.hpp>
#include <llmkit/provider/openai.hpp>

using namespace llmkit;

namespace {

constexpr int rounds = 25;
constexpr std::size_t events = 4000;
constexpr std::size_t piece_size = std::size_t{16} << 10U;
constexpr std::size_t event_size = 330;  // data and line ends, on average

/// How a server spells its chunks.
enum class spelling { openai, llama_cpp };

/// The bytes of a stream, and the text in it.
struct stream_text {
    std::string bytes, text;
};

stream_text make_stream(spelling as) {
    static constexpr std::array<std::string_view, 16> words{
        " the",  " of", " language", " model",     ",",    " a",  " token",        " stream",
        " once", "\\n", " Köln",     " \\\"x\\\"", " and", " is", " considerable", "."};
    stream_text made;
    unsigned seed = 1;
    for (std::size_t i = 0; i < events; ++i) {
        seed = seed * 1664525U + 1013904223U;
        const std::string word(words[seed >> 28U]);
        made.text += nlohmann::json::parse('"' + word + '"').get<std::string>();
        std::string line = "data: ";
        if (as == spelling::openai) {
            line +=
                R"({"id":"chatcmpl-BxQ5dV1sTmE8cGnU0oYwzRk4aJhLp","object":"chat.completion.chunk",)"
                R"("created":1753041628,"model":"gpt-4o-mini-2024-07-18","service_tier":"default",)"
                R"("system_fingerprint":"fp_0f03d4f0ee","choices":[{"index":0,"delta":{"content":")";
            line += word;
            line += R"("},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":")";
            // OpenAI evens the lengths out, so that nobody reads the words off them.
            while (line.size() < event_size - 5) line += static_cast<char>('a' + line.size() % 26);
            line += R"("})";
        } else {
            line += R"({"choices":[{"finish_reason":null,"index":0,"delta":{"content":")" + word;
            line += R"("}}],"created":)" + std::to_string(1753041628 + i / 50);
            line += R"(,"id":"chatcmpl-sW4ZJ0yT6ePzXJ5mBqkqH1nTz2JgO3Vd",)"
                    R"("model":"qwen2.5-7b-instruct-q4_k_m.gguf-from-the-library-of-the-house",)"
                    R"("system_fingerprint":"b4719-90e4dba4","object":"chat.completion.chunk"})";
        }
        made.bytes += line + "\n\n";
    }
    return made;
}

/// Calls `take(data)` for every event of the stream.
template <class Take>
void frame(std::string_view bytes, const Take& take) {
    detail::sse_framer framer;
    detail::sse_event event;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece_size, bytes.size()))) {
        framer.feed(bytes.substr(0, piece_size));
        while (framer.next(event)) take(event.data);
    }
}

std::size_t newlines(const stream_text& in) {
    std::size_t count = 0;
    const char* p = in.bytes.data();
    const char* const end = p + in.bytes.size();
    while (const void* found = std::memchr(p, '\n', static_cast<std::size_t>(end - p))) {
        ++count;
        p = static_cast<const char*>(found) + 1;
    }
    return count;
}

std::size_t framed(const stream_text& in) {
    std::size_t count = 0;
    frame(in.bytes, [&](std::string_view data) { count += data.size(); });
    return count;
}

void must_be(const stream_text& in, std::size_t size) {
    if (size == in.text.size()) return;
    std::fprintf(stderr, "read %zu bytes of text, not %zu\n", size, in.text.size());
    std::abort();
}

/// Ours: what the provider and a chat_stream do with an event.
void deltas(const stream_text& in) {
    std::size_t size = 0;
    chat_delta delta;
    detail::openai_chunks chunks;
    frame(in.bytes, [&](std::string_view data) {
        event_facts facts;
        if (!chunks.read(data, facts)) return;
        openai_dialect().read_delta(event(bytes::literal(data), facts), delta);
        size += delta.text().size();
    });
    must_be(in, size);
}

/// The same where no event is like the one before.
void scanned_deltas(const stream_text& in) {
    std::size_t size = 0;
    chat_delta delta;
    frame(in.bytes, [&](std::string_view data) {
        event_facts facts;
        if (!detail::scan_openai_event(data, facts)) return;
        openai_dialect().read_delta(event(bytes::literal(data), facts), delta);
        size += delta.text().size();
    });
    must_be(in, size);
}

void by_nlohmann(const stream_text& in) {
    std::size_t size = 0;
    frame(in.bytes, [&](std::string_view data) {
        const auto chunk = nlohmann::json::parse(data);
        size += chunk["choices"][0]["delta"]["content"].get_ref<const std::string&>().size();
    });
    must_be(in, size);
}

#ifdef LLMKIT_PEER_SIMDJSON__SIMDJSON
constexpr bool simdjson_here = true;
/// On demand: what stands behind the content is checked for its quotes and its UTF-8, but not for
/// being JSON. The parser wants padding behind its text, which the buffer has.
void by_simdjson(const stream_text& in) {
    static simdjson::ondemand::parser parser;
    std::size_t size = 0;
    std::string padded;
    frame(in.bytes, [&](std::string_view data) {
        const std::size_t room = data.size() + simdjson::SIMDJSON_PADDING;
        const bool inside = data.data() >= in.bytes.data() &&
                            data.data() + room <= in.bytes.data() + in.bytes.size();
        if (!inside) {
            padded.assign(data);
            padded.reserve(room);
            data = padded;
        }
        simdjson::ondemand::document chunk = parser.iterate(data.data(), data.size(), room);
        for (simdjson::ondemand::value choice : chunk["choices"].get_array()) {
            const std::string_view text = choice["delta"]["content"].get_string();
            size += text.size();
            break;
        }
    });
    must_be(in, size);
}
/// The whole event is parsed, and so checked, as we do it.
void by_simdjson_dom(const stream_text& in) {
    static simdjson::dom::parser parser;
    std::size_t size = 0;
    frame(in.bytes, [&](std::string_view data) {
        const std::size_t room = data.size() + simdjson::SIMDJSON_PADDING;
        const bool padded = data.data() >= in.bytes.data() &&
                            data.data() + room <= in.bytes.data() + in.bytes.size();
        const simdjson::dom::element chunk = parser.parse(data.data(), data.size(), !padded);
        size += std::string_view(chunk["choices"].at(0)["delta"]["content"]).size();
    });
    must_be(in, size);
}
#else
constexpr bool simdjson_here = false;
void by_simdjson(const stream_text&) {}
void by_simdjson_dom(const stream_text&) {}
#endif

// All of it: provider and chat_stream over a transport that has the pieces ready.
class ready_body final : public http_body {
public:
    explicit ready_body(const std::vector<bytes>& pieces) : pieces_(pieces) {}
    task<result<bytes>> read() override {
        if (at_ == pieces_.size()) co_return bytes();
        co_return pieces_[at_++];
    }

private:
    const std::vector<bytes>& pieces_;
    std::size_t at_ = 0;
};
class ready_transport {
public:
    ready_transport(clock_handle time, const std::vector<bytes>& pieces)
        : time_(std::move(time)), pieces_(&pieces) {}
    clock_handle clock() const { return time_; }
    task<result<http_response>> send(http_request) const {
        auto fields = std::make_shared<headers>();
        fields->add("Content-Type", "text/event-stream");
        co_return http_response(200, std::move(fields), std::make_unique<ready_body>(*pieces_));
    }

private:
    clock_handle time_;
    const std::vector<bytes>* pieces_;
};

template <class Client>
task<void> pull(Client client, const stream_text& in) {
    auto stream = co_await client.stream(chat_request("m").user("Hi"));
    std::size_t size = 0;
    while (auto delta = co_await stream.next()) size += delta.text().size();
    must_be(in, size);
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

volatile std::size_t sink;

/// Nanoseconds an event, one way of reading each.
class figures {
public:
    std::vector<double> scan, framing, delta, scanned, pulled, simdjson, simdjson_dom, dom;

    void measure(const stream_text& in) {
        asio::io_context io(1);
        one_thread(io);
        std::vector<bytes> pieces;
        for (std::size_t at = 0; at < in.bytes.size(); at += piece_size)
            pieces.push_back(bytes::copy(std::string_view(in.bytes).substr(at, piece_size)));
        pieces.push_back(bytes::literal("data: [DONE]\n\n"));
        const ready_transport http(clock_handle(io.get_executor()), pieces);
        const auto client =
            pipeline(openai(http, openai_options().base_url("http://bench.invalid").no_key()));

        for (int round = 0; round <= rounds; ++round) {
            const auto time = [&](std::vector<double>& to, int times, const auto& work) {
                const auto began = std::chrono::steady_clock::now();
                for (int i = 0; i < times; ++i) work();
                const std::chrono::duration<double, std::nano> took =
                    std::chrono::steady_clock::now() - began;
                if (round != 0) to.push_back(took.count() / times / static_cast<double>(events));
            };
            time(scan, 10, [&] { sink = newlines(in); });
            time(framing, 10, [&] { sink = framed(in); });
            time(delta, 3, [&] { deltas(in); });
            time(scanned, 2, [&] { scanned_deltas(in); });
            time(pulled, 1, [&] {
                asio::co_spawn(io, pull(client, in), [](std::exception_ptr failed) {
                    if (failed) std::rethrow_exception(failed);
                });
                io.restart();
                io.run();
            });
            if (simdjson_here) {
                time(simdjson, 2, [&] { by_simdjson(in); });
                time(simdjson_dom, 2, [&] { by_simdjson_dom(in); });
            }
            time(dom, 1, [&] { by_nlohmann(in); });
        }
    }
    void print(const char* name) const {
        std::printf("%-12s", name);
        for (const auto* one :
             {&scan, &framing, &delta, &scanned, &pulled, &simdjson, &simdjson_dom, &dom}) {
            if (one->empty()) {
                std::printf(" %9s", "-");
            } else {
                std::printf(" %9.1f", median(*one));
            }
        }
        std::printf("\n");
    }
};
}  // namespace

int main() {
    figures openai, llama;
    openai.measure(make_stream(spelling::openai));
    llama.measure(make_stream(spelling::llama_cpp));

    std::printf("%-12s", "ns an event");
    for (const char* way :
         {"newlines", "framed", "delta", "scanned", "pulled", "simdjson", "simd DOM", "DOM"}) {
        std::printf(" %9s", way);
    }
    std::printf("\n");
    openai.print("OpenAI");
    llama.print("llama.cpp");
    if (!simdjson_here) std::printf("simdjson is left out, as it is not installed\n");

    const auto result = [](const char* name, double value, const char* unit) {
        std::printf("result stream.%s %.3g %s\n", name, value, unit);
    };
    result("framing_vs_newline_scan", ratio(openai.framing, openai.scan), "ratio");
    result("delta_ns_per_event", median(openai.delta), "ns");
    result("delta_vs_nlohmann_dom", ratio(openai.delta, openai.dom), "ratio");
    if (simdjson_here) {
        result("delta_vs_simdjson", ratio(openai.delta, openai.simdjson), "ratio");
        result("scanned_vs_simdjson_dom", ratio(openai.scanned, openai.simdjson_dom), "ratio");
    }
    result("scanned_ns_per_event", median(openai.scanned), "ns");
    result("pulled_ns_per_event", median(openai.pulled), "ns");
    result("delta_ns_per_event.llama_cpp", median(llama.delta), "ns");
}
