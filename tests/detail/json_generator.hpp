// Seeded random JSON documents and damage to them, for differential tests.
#pragma once

#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>

namespace llmkit_test {

class json_generator {
public:
    explicit json_generator(unsigned seed) : random_(seed) {}

    std::string document() {
        std::string out;
        value(out, 0);
        return out;
    }

    /// A document whose top level is an object.
    std::string object_document() {
        std::string out;
        object(out, 0);
        return out;
    }

    /// Changes, drops, doubles or adds a few bytes.
    std::string damaged(std::string text) {
        static constexpr std::string_view bytes =
            "{}[]\",:\\ubtfn-+.eE019 \n\t\x01\x7f\x80\xc3\xed\xf4";
        for (std::size_t n = 1 + below(3); n > 0 && !text.empty(); --n) {
            const std::size_t at = below(text.size());
            const char byte = bytes[below(bytes.size())];
            switch (below(5)) {
                case 0:
                    text[at] = byte;
                    break;
                case 1:
                    text.erase(at, 1 + below(4));
                    break;
                case 2:
                    text.insert(at, 1, byte);
                    break;
                case 3:
                    text.resize(at);
                    break;
                default:
                    text.insert(at, text.substr(at, 1 + below(6)));
            }
        }
        return text;
    }

    std::size_t below(std::size_t limit) { return random_() % limit; }

private:
    void space(std::string& out) {
        static constexpr std::array<std::string_view, 8> spaces{"",  "",   "",   "",
                                                                " ", "\n", "\t", "\r\n  "};
        out += spaces[below(spaces.size())];
    }

    void string(std::string& out) {
        static constexpr std::array<std::string_view, 20> pieces{
            "a",   "B",    "hello world", "0",      "é",       "日本",    "🙂",
            "\\n", "\\\"", "\\\\",        "\\/",    "\\u0041", "\\u00e9", "\\uD83D\\uDE42",
            "\\t", " ",    "\\u001f",     "\\b\\f", "\x7f",    "\\u0000"};
        out += '"';
        for (std::size_t n = below(6) * below(4); n > 0; --n) out += pieces[below(pieces.size())];
        out += '"';
    }

    void number(std::string& out) {
        static constexpr std::array<std::string_view, 18> numbers{"0",
                                                                  "-0",
                                                                  "1",
                                                                  "1.0",
                                                                  "1e0",
                                                                  "10E-1",
                                                                  "123456789012345678",
                                                                  "-17",
                                                                  "0.5",
                                                                  "0.70",
                                                                  "1.5e10",
                                                                  "1e20",
                                                                  "-0.0",
                                                                  "3E+2",
                                                                  "1e-7",
                                                                  "0.1",
                                                                  "2.50",
                                                                  "18446744073709551615"};
        out += numbers[below(numbers.size())];
    }

    void object(std::string& out, int depth) {
        static constexpr std::array<std::string_view, 10> keys{
            "\"a\"", "\"b\"", "\"model\"", "\"c d\"",    "\"\\u0061\"",
            "\"é\"", "\"\"",  "\"z\\n\"",  "\"stream\"", "\"id\""};
        out += '{';
        space(out);
        std::string separator;
        for (std::size_t n = below(6); n > 0; --n) {
            out += separator;
            space(out);
            if (below(4) == 0) {
                string(out);
            } else {
                out += keys[below(keys.size())];
            }
            space(out);
            out += ':';
            value(out, depth + 1);
            separator = ",";
        }
        out += '}';
    }

    void value(std::string& out, int depth) {
        space(out);
        switch (below(depth > 5 ? 5 : 8)) {
            case 0:
                number(out);
                break;
            case 1:
                out += "true";
                break;
            case 2:
                out += below(2) == 0 ? "false" : "null";
                break;
            case 3:
            case 4:
                string(out);
                break;
            case 5: {
                out += '[';
                space(out);
                std::string separator;
                for (std::size_t n = below(5); n > 0; --n) {
                    out += separator;
                    value(out, depth + 1);
                    separator = ",";
                }
                out += ']';
                break;
            }
            default:
                object(out, depth);
        }
        space(out);
    }

    std::mt19937 random_;
};

}  // namespace llmkit_test
