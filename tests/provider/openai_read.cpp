// What is read of answers and chunks without a DOM, against the same read with nlohmann's.
#include "llmkit/provider/openai_read.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../detail/json_generator.hpp"
#include "llmkit/detail/openai_chunks.hpp"
#include "test.hpp"

namespace test_provider_openai_read {

using namespace llmkit;
using namespace llmkit::detail;
using dom = nlohmann::ordered_json;

namespace {

/// Answers and chunks with what may be in them, and with what should not.
class answer_generator {
public:
    explicit answer_generator(unsigned seed) : any_(seed) {}

    std::size_t below(std::size_t limit) { return any_.below(limit); }

    std::string answer() {
        std::string out;
        object(out, [&](std::string& to) {
            member(to, "choices", [&] { choices(to); });
            if (one_in(2)) member(to, "usage", [&] { usage(to); });
            if (one_in(4)) member(to, "error", [&] { to += one_in(2) ? "null" : R"({"a":1})"; });
            if (one_in(4)) member(to, "object", [&] { to += one_in(2) ? R"("error")" : R"("x")"; });
            if (one_in(2)) member(to, "model", [&] { text(to); });
            if (one_in(2)) member(to, "id", [&] { text(to); });
            if (one_in(4)) member(to, "z", [&] { to += any_.document(); });
        });
        return one_in(2) ? any_.damaged(std::move(out)) : out;
    }

private:
    bool one_in(std::size_t many) { return any_.below(many) == 0; }
    void object(std::string& out, const auto& members) {
        out += '{';
        members(out);
        out += '}';
    }
    void member(std::string& out, std::string_view name, const auto& value) {
        if (out.back() != '{') out += ',';
        out.append("\"").append(name).append("\":");
        if (one_in(30)) {
            out += any_.document();
        } else {
            value();
        }
    }
    void list(std::string& out, const auto& element) {
        out += '[';
        for (std::size_t n = below(3); n > 0; --n) {
            if (out.back() != '[') out += ',';
            element();
        }
        out += ']';
    }
    void text(std::string& out) {
        static constexpr std::string_view texts[] = {"\"\"",
                                                     "\"Hello\"",
                                                     "\" w\\u00f6rld\"",
                                                     "\"a \\\"b\\\"\\n\"",
                                                     "\"\xC3\xA9\"",
                                                     "null",
                                                     "\"\\uD83D\\uDE42\"",
                                                     "\"line\\\\ \xF0\x9F\x99\x82\"",
                                                     "\"stop here, please, and not earlier\""};
        out += texts[below(std::size(texts))];
    }
    void number(std::string& out) {
        static constexpr std::string_view numbers[] = {"0",
                                                       "1",
                                                       "17",
                                                       "12.0",
                                                       "1e3",
                                                       "-1",
                                                       "2.5",
                                                       "1e400",
                                                       "9223372036854775807",
                                                       "9223372036854775808",
                                                       "-0",
                                                       "null"};
        out += numbers[below(std::size(numbers))];
    }
    void usage(std::string& out) {
        object(out, [&](std::string& to) {
            if (!one_in(4)) member(to, "prompt_tokens", [&] { number(to); });
            if (!one_in(4)) member(to, "completion_tokens", [&] { number(to); });
            if (one_in(2)) {
                member(to, "prompt_tokens_details", [&] {
                    object(to, [&](std::string& in) {
                        member(in, "cached_tokens", [&] { number(in); });
                    });
                });
            }
            if (one_in(2)) {
                member(to, "completion_tokens_details", [&] {
                    object(to, [&](std::string& in) {
                        member(in, "reasoning_tokens", [&] { number(in); });
                    });
                });
            }
        });
    }
    void choices(std::string& out) {
        list(out, [&] {
            object(out, [&](std::string& to) {
                if (one_in(2)) member(to, "index", [&] { to += one_in(3) ? "1" : "0"; });
                member(to, one_in(2) ? "delta" : "message", [&] { message(to); });
                if (one_in(2)) {
                    static constexpr std::string_view reasons[] = {"null",
                                                                   R"("stop")",
                                                                   R"("length")",
                                                                   R"("tool_calls")",
                                                                   R"("function_call")",
                                                                   R"("content_filter")",
                                                                   R"("eos")",
                                                                   R"("")"};
                    member(to, "finish_reason", [&] { to += reasons[below(8)]; });
                }
                if (one_in(8)) member(to, "text", [&] { text(to); });
            });
        });
    }
    void message(std::string& out) {
        object(out, [&](std::string& to) {
            if (one_in(2)) member(to, "role", [&] { to += R"("assistant")"; });
            member(to, "content", [&] {
                if (!one_in(4)) return text(to);
                list(to, [&] {
                    object(to, [&](std::string& in) { member(in, "text", [&] { text(in); }); });
                });
            });
            if (one_in(4)) member(to, "refusal", [&] { text(to); });
            if (one_in(8)) member(to, "reasoning_content", [&] { text(to); });
            if (one_in(3)) {
                member(to, "tool_calls", [&] {
                    list(to, [&] {
                        object(to, [&](std::string& in) {
                            if (one_in(2)) member(in, "index", [&] { number(in); });
                            if (one_in(2)) member(in, "id", [&] { text(in); });
                            member(in, "function", [&] {
                                object(in, [&](std::string& at) {
                                    member(at, "name", [&] { text(at); });
                                    member(at, "arguments", [&] { text(at); });
                                });
                            });
                        });
                    });
                });
            }
        });
    }

    llmkit_test::json_generator any_;
};

/// What nlohmann makes of a text.
struct parsed {
    bool known = true;  // false where its grammar is not RFC 8259's
    std::optional<dom> value;
    bool doubled = false;  // a name stands twice somewhere
};

parsed parse(const std::string& text) {
    parsed made;
    std::vector<std::vector<std::string>> open;
    const auto watch = [&](int, dom::parse_event_t event, dom& at) {
        if (event == dom::parse_event_t::object_start) open.emplace_back();
        if (event == dom::parse_event_t::object_end) open.pop_back();
        if (event == dom::parse_event_t::key) {
            const auto& name = at.get_ref<const std::string&>();
            for (const std::string& other : open.back()) made.doubled |= other == name;
            open.back().push_back(name);
        }
        return true;
    };
    try {
        made.value = dom::parse(text, watch);
    } catch (const dom::parse_error& wrong) {
        // Lone surrogates are grammatical; we read them as U+FFFD.
        made.known = std::string_view(wrong.what()).find("surrogate") == std::string_view::npos;
    } catch (const dom::out_of_range&) {
        made.known = false;  // a number that no double holds is still a number
    }
    return made;
}

const dom& at(const dom& from, const char* name) {
    static const dom nothing;
    const auto found = from.is_object() ? from.find(name) : from.end();
    return from.is_object() && found != from.end() ? *found : nothing;
}
std::string text_of(const dom& from) { return from.is_string() ? from.get<std::string>() : ""; }
bool speaks(const dom& from) {
    return from.is_string() ? !text_of(from).empty() : from.is_array() && !from.empty();
}
std::optional<std::int64_t> whole(const dom& from) {
    constexpr double limit = 9007199254740992.0;
    if (from.is_number_unsigned()) {
        const auto number = from.get<std::uint64_t>();
        if (number > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) return std::nullopt;
        return static_cast<std::int64_t>(number);
    }
    if (from.is_number_integer()) return from.get<std::int64_t>();
    if (!from.is_number_float()) return std::nullopt;
    const auto number = from.get<double>();
    if (!(number >= -limit && number <= limit)) return std::nullopt;
    const auto cut = static_cast<std::int64_t>(number);
    return static_cast<double>(cut) == number ? std::optional(cut) : std::nullopt;
}

finish_reason reason(const std::string& word) {
    if (word.empty()) return finish_reason::none;
    if (word == "stop") return finish_reason::stop;
    if (word == "length") return finish_reason::length;
    if (word == "tool_calls" || word == "function_call") return finish_reason::tool_calls;
    return word == "content_filter" ? finish_reason::content_filter : finish_reason::other;
}

/// The facts of an event, but for where its text stands; that text apart.
event_facts facts_of(const dom& said, std::string& text) {
    event_facts facts;
    text.clear();
    const auto each = [](const dom& list, const auto& visit) {
        if (list.is_array())
            for (const dom& one : list) visit(one);
    };
    each(at(said, "choices"), [&](const dom& choice) {
        std::string mine;
        if (choice.is_object()) {
            for (const auto& [name, value] : choice.items()) {
                if (name == "text") {
                    facts.content |= speaks(value);
                    if (!text_of(value).empty()) mine = text_of(value);
                }
                if (name != "delta" && name != "message") continue;
                facts.content |= speaks(at(value, "content")) || speaks(at(value, "refusal")) ||
                                 speaks(at(value, "reasoning_content")) ||
                                 speaks(at(value, "reasoning"));
                if (!text_of(at(value, "content")).empty()) mine = text_of(at(value, "content"));
                facts.tool_call |=
                    at(value, "tool_calls").is_array() && !at(value, "tool_calls").empty();
                facts.tool_call |= at(value, "function_call").is_object();
            }
        }
        if (facts.finish == finish_reason::none)
            facts.finish = reason(text_of(at(choice, "finish_reason")));
        if (text.empty() && whole(at(choice, "index")).value_or(0) == 0) text = mine;
    });
    const auto count = [&](const dom& from, std::int64_t& to) {
        const auto number = whole(from);
        if (!number || *number < 0) return;
        to = *number;
        facts.usage.known = true;
    };
    const dom& usage = at(said, "usage");
    count(at(usage, "prompt_tokens"), facts.usage.input);
    count(at(usage, "completion_tokens"), facts.usage.output);
    count(at(at(usage, "prompt_tokens_details"), "cached_tokens"), facts.usage.cached_input);
    count(at(at(usage, "completion_tokens_details"), "reasoning_tokens"), facts.usage.reasoning);
    facts.error = !at(said, "error").is_null() || text_of(at(said, "object")) == "error";
    return facts;
}

std::vector<tool_call> calls_of(const dom& list) {
    std::vector<tool_call> calls;
    if (!list.is_array()) return calls;
    for (const dom& one : list) {
        tool_call& call = calls.emplace_back();
        const auto index = whole(at(one, "index"));
        call.index = index && *index >= 0 ? static_cast<std::size_t>(*index) : calls.size() - 1;
        call.id = text_of(at(one, "id"));
        call.name = text_of(at(at(one, "function"), "name"));
        call.arguments = text_of(at(at(one, "function"), "arguments"));
    }
    return calls;
}
bool same(const std::vector<tool_call>& a, const std::vector<tool_call>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.index == y.index && x.id == y.id && x.name == y.name && x.arguments == y.arguments;
    });
}

std::string content_of(const dom& content) {
    std::string all = text_of(content);
    if (content.is_array())
        for (const dom& part : content) all += text_of(at(part, "text"));
    return all;
}

/// Of an answer's first choice.
void check_completion(const std::string& body, const dom& said, const event_facts& facts) {
    completion read;
    event_facts scanned;
    scan_openai_body(body, scanned);
    const bool any = openai_body_reader(body, scanned).run(read);
    completion alone;
    REQUIRE(openai_body_reader(body, event_facts()).run(alone) == any);
    REQUIRE(alone.usage() == read.usage());
    const dom& choices = at(said, "choices");
    REQUIRE(any == (choices.is_array() && !choices.empty()));
    REQUIRE(read.finish() == facts.finish);
    REQUIRE(read.usage() == facts.usage);
    REQUIRE(read.model() == text_of(at(said, "model")));
    REQUIRE(read.id() == text_of(at(said, "id")));
    if (!any) return;
    const dom& choice = choices.front();
    const dom& message = at(choice, "message");
    REQUIRE(read.refusal() == text_of(at(message, "refusal")));
    REQUIRE(same(read.tool_calls(), calls_of(at(message, "tool_calls"))));
    if (at(choice, "text").is_null()) REQUIRE(read.text() == content_of(at(message, "content")));
}

/// Of a chunk's first choice with the index 0.
void check_pieces(const std::string& chunk, const dom& said) {
    std::vector<tool_call> calls;
    read_call_pieces(chunk, calls);
    std::vector<tool_call> expected;
    const dom& choices = at(said, "choices");
    if (choices.is_array()) {
        for (const dom& choice : choices) {
            if (!expected.empty() || whole(at(choice, "index")).value_or(0) != 0) continue;
            expected = calls_of(at(at(choice, "delta"), "tool_calls"));
        }
    }
    REQUIRE(same(calls, expected));
}

}  // namespace

TEST_CASE("answers and chunks are read as nlohmann's DOM would be, or refused as by it",
          "[openai_read]") {
    answer_generator generate(2026);
    openai_chunks chunks;  // whose reader also sees each after all others
    int refused = 0, compared = 0, plain = 0;
    for (int i = 0; i < 50'000; ++i) {
        const std::string text = generate.answer();
        const parsed expected = parse(text);
        if (!expected.known) continue;
        INFO(text);
        event_facts facts, together;
        const bool fine = scan_openai_event(text, facts);
        REQUIRE(fine == expected.value.has_value());
        REQUIRE(chunks.read(text, together) == fine);
        REQUIRE(together == facts);
        refused += fine ? 0 : 1;
        if (!fine || expected.doubled) continue;
        ++compared;
        std::string said;
        event_facts meant = facts_of(*expected.value, said);
        std::string read;
        json_string{std::string_view(text).substr(facts.text_at, facts.text_size),
                    facts.text_escaped}
            .append_to(read);
        REQUIRE(read == said);
        meant.text_at = facts.text_at;
        meant.text_size = facts.text_size;
        meant.text_escaped = facts.text_escaped;
        meant.plain = facts.plain;
        plain += facts.plain ? 1 : 0;
        REQUIRE(facts == meant);
        check_completion(text, *expected.value, facts);
        check_pieces(text, *expected.value);
    }
    CHECK(refused > 5000);
    CHECK(compared > 12'000);
    CHECK(plain > 500);
}

TEST_CASE("of a member that stands twice the last one counts, as with most parsers",
          "[openai_read]") {
    completion read;
    const std::string_view twice =
        R"({"choices":[{"message":{"content":"a","content":"b","tool_calls":[{"id":"x"}],)"
        R"("tool_calls":[{"id":"y"}]}}],"model":"m","model":"n"})";
    REQUIRE(openai_body_reader(twice, event_facts()).run(read));
    CHECK(read.text() == "b");
    REQUIRE(read.tool_calls().size() == 1);
    CHECK(read.tool_calls().front().id == "y");
    CHECK(read.model() == "n");
}

}  // namespace test_provider_openai_read
