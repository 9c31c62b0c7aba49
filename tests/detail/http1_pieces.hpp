// Runs an HTTP/1.1 parser over bytes cut in every way, for the tests and the fuzzers.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <llmkit/detail/http1_parser.hpp>

namespace http1_test {

using namespace llmkit::detail;

/// All that a parser said of one message. Two ways to cut the same bytes must give equal outcomes.
struct outcome {
    bool complete = false;
    http1_error error = http1_error::none;
    bool head = false;
    std::string first_line;  // "200 OK" or "GET /"
    std::string fields;      // "Name: value\n" …
    std::string trailers;
    std::string body;
    bool keep_alive = false;
    std::size_t consumed = 0;  // of a complete message

    friend bool operator==(const outcome&, const outcome&) = default;
};

inline std::string first_line(const http1_response_parser& p) {
    return std::to_string(p.status()) + ' ' + p.reason();
}
inline std::string first_line(const http1_request_parser& p) {
    return p.method() + ' ' + p.target();
}

inline std::string text_of(const llmkit::headers& fields) {
    std::string out;
    for (const auto [name, value] : fields)
        out.append(name).append(": ").append(value).append("\n");
    return out;
}

/// Feeds `bytes` cut at the ends of `pieces`, then the end of input. Each piece is a copy of its
/// own, so that the sanitizers see a view that outlives it. False rules of the interface end in
/// an exception.
template <class Parser>
outcome run(Parser& parser, std::string_view bytes, const std::vector<std::size_t>& cuts) {
    outcome out;
    std::size_t at = 0;
    std::size_t consumed = 0;
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::logic_error(what);
    };
    // True when the message is over.
    const auto take = [&](const http1_progress& p, std::string_view in) {
        require(p.consumed <= in.size(), "consumed more than there was");
        consumed += p.consumed;
        switch (p.step) {
            case http1_step::need_more:
                require(p.consumed == in.size(), "need_more, but input is left");
                return false;
            case http1_step::head:
                require(!out.head, "two heads");
                out.head = true;
                out.first_line = first_line(parser);
                out.fields = text_of(parser.fields());
                return false;
            case http1_step::data:
                require(out.head, "data before the head");
                require(!p.data.empty(), "empty data");
                require(p.data.data() >= in.data() &&
                            p.data.data() + p.data.size() <= in.data() + in.size(),
                        "data outside of the input");
                out.body += p.data;
                return false;
            case http1_step::complete:
                require(parser.complete() && out.head, "complete without a head");
                out.complete = true;
                out.consumed = consumed;
                out.trailers = text_of(parser.trailers());
                out.keep_alive = parser.keep_alive();
                return true;
            case http1_step::failed:
                require(parser.failed() && parser.error() != http1_error::none, "no error");
                require(!parser.keep_alive(), "kept alive after a failure");
                out.error = parser.error();
                return true;
        }
        return true;
    };
    for (std::size_t i = 0; i <= cuts.size(); ++i) {
        const std::size_t end = i < cuts.size() ? cuts[i] : bytes.size();
        const std::vector<char> piece(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                      bytes.begin() + static_cast<std::ptrdiff_t>(end));
        at = end;
        std::string_view in(piece.data(), piece.size());
        for (;;) {
            const http1_progress p = parser.step(in);
            if (take(p, in)) return out;
            in.remove_prefix(p.consumed);
            if (p.step == http1_step::need_more) break;
        }
    }
    take(parser.finish(), {});
    return out;
}

inline std::vector<std::size_t> every_byte(std::size_t size) {
    std::vector<std::size_t> cuts;
    for (std::size_t i = 1; i < size; ++i) cuts.push_back(i);
    return cuts;
}

/// The first way to cut that disagrees with the whole, in words; empty when all agree.
template <class Parser, class Reset>
std::string disagreement(Parser& parser, Reset reset, std::string_view bytes,
                         const outcome& whole) {
    reset();
    if (run(parser, bytes, every_byte(bytes.size())) != whole) return "one byte at a time";
    for (std::size_t i = 0; i <= bytes.size(); ++i) {
        reset();
        if (run(parser, bytes, {i}) != whole) return "cut at " + std::to_string(i);
    }
    return {};
}

}  // namespace http1_test
