// Our HTTP/1.1 parsers beside Node's http_parser (Debian's libhttp-parser-dev), which many servers
// used for years: where both take a message it must be the same one, and where only one does, the
// case must be one of those that are written down here.
#include <http_parser.h>

#include <cctype>
#include <cstddef>
#include <initializer_list>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http1_pieces.hpp"
#include "test.hpp"

namespace test_detail_http1_differential {

using http1_test::outcome;
using llmkit::detail::http1_error;

namespace {

/// What http_parser says of the first message in some bytes.
struct peer_outcome {
    outcome said;
    http_errno why = HPE_OK;  // when it is not complete; HPE_OK for one that was cut
};

class peer {
public:
    peer(http_parser_type type, bool head) : type_(type), head_(head) {}

    peer_outcome run(std::string_view bytes) {
        http_parser_settings settings;
        http_parser_settings_init(&settings);
        settings.on_url = [](http_parser* p, const char* at, std::size_t size) {
            return self(p).url_.append(at, size), 0;
        };
        settings.on_status = [](http_parser* p, const char* at, std::size_t size) {
            return self(p).reason_.append(at, size), 0;
        };
        settings.on_header_field = [](http_parser* p, const char* at, std::size_t size) {
            peer& me = self(p);
            if (me.in_value_) me.end_field();
            return me.name_.append(at, size), 0;
        };
        settings.on_header_value = [](http_parser* p, const char* at, std::size_t size) {
            self(p).in_value_ = true;
            return self(p).value_.append(at, size), 0;
        };
        settings.on_headers_complete = [](http_parser* p) { return self(p).head_complete(p); };
        settings.on_body = [](http_parser* p, const char* at, std::size_t size) {
            return self(p).result_.said.body.append(at, size), 0;
        };
        settings.on_message_complete = [](http_parser* p) { return self(p).complete(p); };

        http_parser parser;
        http_parser_init(&parser, type_);
        parser.data = this;
        http_parser_execute(&parser, &settings, bytes.data(), bytes.size());
        if (!done_ && HTTP_PARSER_ERRNO(&parser) == HPE_OK)
            http_parser_execute(&parser, &settings, nullptr, 0);  // the end of input
        if (!done_) {
            result_.why = HTTP_PARSER_ERRNO(&parser);
            if (result_.why == HPE_INVALID_EOF_STATE) result_.why = HPE_OK;
        }
        return result_;
    }

private:
    static peer& self(http_parser* p) { return *static_cast<peer*>(p->data); }

    void end_field() {
        while (value_.ends_with(' ') || value_.ends_with('\t')) value_.pop_back();
        (result_.said.head ? result_.said.trailers : result_.said.fields) +=
            name_ + ": " + value_ + "\n";
        name_.clear();
        value_.clear();
        in_value_ = false;
    }
    int head_complete(http_parser* p) {
        if (!name_.empty()) end_field();
        outcome& said = result_.said;
        if (type_ == HTTP_RESPONSE && p->status_code < 200 && p->status_code != 101) {
            interim_ = true;
            return 0;
        }
        said.head = true;
        said.first_line = type_ == HTTP_REQUEST
                              ? http_method_str(static_cast<http_method>(p->method)) + (' ' + url_)
                              : std::to_string(p->status_code) + ' ' + reason_;
        // It leaves it to its user to know which answers have no body (RFC 9112 §6.3).
        const bool bodiless =
            type_ == HTTP_RESPONSE && (head_ || p->status_code == 204 || p->status_code == 304);
        return bodiless ? 1 : 0;
    }
    int complete(http_parser* p) {
        if (!name_.empty()) end_field();
        if (std::exchange(interim_, false)) {
            result_ = {};
            reason_.clear();
            return 0;
        }
        done_ = true;
        result_.said.complete = true;
        result_.said.keep_alive = http_should_keep_alive(p) != 0;
        http_parser_pause(p, 1);
        return 0;
    }

    http_parser_type type_;
    bool head_;
    peer_outcome result_;
    std::string url_, reason_, name_, value_;
    bool in_value_ = false;
    bool interim_ = false;
    bool done_ = false;
};

/// Messages as they might be, and as they should not be.
class message_generator {
public:
    explicit message_generator(unsigned seed) : random_(seed) {}

    std::size_t below(std::size_t limit) { return random_() % limit; }

    std::string response() {
        std::string out;
        while (one_in(8))
            out += pick({"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 \r\n\r\n",
                         "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"});
        out += pick({"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.0"},
                    {"HTTP/2.0", "HTTP/1.2", "http/1.1", "HTTP/11", "HTTP/1.1 "});
        out += ' ';
        out += pick({"200 OK", "200 OK", "200 ", "404 Not Found", "204 No Content",
                     "304 Not Modified", "500 Whatever it is", "299 x"},
                    {"200", "20", "2000 OK", "101 Switching Protocols", "999 Far", "099 Low"});
        out += line_end();
        return out + fields() + body();
    }

    std::string request() {
        std::string out = pick({"", "", "", "", "\r\n"}, {"\n", "\r\n\r\n", " "});
        out += pick({"GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"},
                    {"BREW", "get", "CONNECT", "", "P OST"});
        out += ' ';
        out += pick({"/", "/v1/chat/completions", "/a?b=c&d=%20", "http://host/path"},
                    {"*", "host:443", "", "/a b", "/\xC3\xA9", "/a#b", "\\"});
        out += ' ';
        out += pick({"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"},
                    {"HTTP/2.0", "HTTP/1.2", "HTTP/1.1 ", "HTTP"});
        out += line_end();
        out += pick({"Host: h\r\n", "Host: h\r\n", "host:h\r\n"}, {"", "Host: a\r\nHost: b\r\n"});
        return out + fields() + body();
    }

    /// Changes, drops, doubles or inserts bytes.
    std::string damaged(std::string text) {
        static constexpr char characters[] = "\r\n :;,\t\0\x7F\x80GHT/1.0az59,-+\"";
        static constexpr std::string_view bytes(characters, sizeof characters - 1);
        for (std::size_t n = 1 + below(2); n > 0 && !text.empty(); --n) {
            const std::size_t at = below(text.size());
            switch (below(4)) {
                case 0:
                    text[at] = bytes[below(bytes.size())];
                    break;
                case 1:
                    text.erase(at, 1 + below(2));
                    break;
                case 2:
                    text.insert(at, 1, bytes[below(bytes.size())]);
                    break;
                default:
                    text.insert(at, text.substr(at, 1 + below(12)));
            }
        }
        return text;
    }

private:
    using choices = std::initializer_list<std::string_view>;

    bool one_in(std::size_t many) { return below(many) == 0; }
    std::string pick(choices good, choices bad = {}) {
        const choices& from = bad.size() != 0 && one_in(16) ? bad : good;
        return std::string(*(from.begin() + below(from.size())));
    }
    std::string line_end() { return pick({"\r\n"}, {"\r\n", "\n", "\r", "\r\r\n", " \r\n"}); }

    std::string fields() {
        std::string out;
        for (std::size_t n = below(4); n > 0; --n) {
            out += pick({"Content-Type", "X", "date", "x-request-id", "Keep-Alive"},
                        {"X Y", "X ", "", " X", "X\t", "X\x01", "(x)", "\xC3\xA9"});
            out += pick({": ", ":", ":\t ", ":  "}, {"", " : ", ":\r\n ", ": \r\n\t"});
            out += pick({"a", "a b", "text/plain; q=\"x\"", "", "a  ", "\xC3\xA9\x80"},
                        {"a\x01", "a\x7F", "a\rb", "a\r\n b"});
            out += line_end();
        }
        if (one_in(3)) {
            out += "Connection:";
            out +=
                pick({" close", " keep-alive", " Keep-Alive, x", " x, CLOSE", "close"},
                     {"close, keep-alive", " upgrade", " upgrade\r\nUpgrade: ws", "", " closed"});
            out += "\r\n";
        }
        kind_ = below(4);
        if (kind_ == 1) {
            size_ = below(20);
            const std::string digits = std::to_string(size_);
            out += "Content-Length:";
            if (one_in(12)) {
                out += pick({" +5", " 5x", "", " -1", " 0x5", " 5 5", " 5,5", " 5, 5", " 5,6",
                             " 18446744073709551615", " 18446744073709551616",
                             " 00000000000000000005"});
            } else {
                out += ' ' + digits;
            }
            out += "\r\n";
            if (one_in(12)) {
                out += pick({"Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"});
            } else if (one_in(12)) {
                out += "content-length: " + digits + "\r\n";
            }
        } else if (kind_ == 2) {
            out += "Transfer-Encoding:" +
                   pick({" chunked", "chunked", " Chunked  "},
                        {" gzip, chunked", " chunked, chunked", " identity", " gzip", " chunkedx",
                         " chunked\r\nTransfer-Encoding: chunked", " chunked,", ""});
            out += "\r\n";
            if (one_in(16)) out += "Content-Length: 5\r\n";
        }
        return out + pick({"\r\n"}, {"\n", "\r\n", "", "\r"});
    }

    std::string body() {
        if (kind_ == 0) return one_in(4) ? text(below(30)) : "";
        if (kind_ == 1) return text(one_in(8) ? size_ + below(5) : size_);
        if (kind_ == 3) return one_in(3) ? text(below(40)) : "";
        std::string out;
        for (std::size_t n = below(4); n > 0; --n) {
            const std::size_t size = 1 + below(20);
            out += pick({"", "", "0", "000"}, {" ", "0x", "+", "-"});
            out += hex(size);
            out += pick({"", "", "", ";a=b", ";a", " ;a=\"b c\""},
                        {" ", ";", ";a=\x01", "\t", "g", ",x"});
            out += line_end() + text(size) + pick({"\r\n"}, {"\n", "", "\r\n\r\n", "x\r\n"});
        }
        out += pick({"0", "0", "000", "0;last"}, {"", "0 ", "00000000000000000"});
        out += line_end();
        out += pick({"", "", "X-Sum: 1\r\n"},
                    {"Content-Length: 5\r\n", "X : 1\r\n", "X: 1\r\n y\r\n"});
        return out + "\r\n" + (one_in(6) ? text(5) : "");
    }
    std::string text(std::size_t size) {
        static constexpr std::string_view letters = "abcdef \r\n0:";
        std::string out;
        while (out.size() < size) out += letters[below(letters.size())];
        return out;
    }
    static std::string hex(std::size_t number) {
        static constexpr std::string_view digits = "0123456789aBcDeF";
        std::string out;
        if (number >= 16) out += digits[number / 16];
        return out + digits[number % 16];
    }

    std::mt19937 random_;
    std::size_t kind_ = 0;  // none, length, chunked, until the end
    std::size_t size_ = 0;
};

bool has_lone_cr(std::string_view bytes) {
    for (std::size_t at = 0; (at = bytes.find('\r', at)) != bytes.npos; ++at)
        if (at + 1 == bytes.size() || bytes[at + 1] != '\n') return true;
    return false;
}
/// Whether the chunks of a message are not what RFC 9112 §7.1 says, read in the plainest way. Debian's
/// http_parser is built without its strict checks and takes any two bytes for a line end.
bool has_bad_chunk(std::string_view bytes) {
    const std::size_t head = bytes.find("\r\n\r\n", bytes.find("hunked"));
    if (head == bytes.npos) return true;
    bytes.remove_prefix(head + 4);
    for (;;) {
        const std::size_t line = bytes.find("\r\n");
        if (line == bytes.npos) return true;
        const std::string_view digits =
            bytes.substr(0, bytes.find_first_not_of("0123456789abcdefABCDEF"));
        std::string_view extension = bytes.substr(0, line).substr(digits.size());
        if (digits.empty() || digits.size() > 16) return true;
        if (!extension.empty()) {
            for (const char c : extension)
                if ((c >= 0 && c < ' ' && c != '\t') || c == '\x7F') return true;
            const std::size_t first = extension.find_first_not_of(" \t");
            if (first == extension.npos || extension[first] != ';') return true;
        }
        const std::size_t size = std::stoull(std::string(digits), nullptr, 16);
        if (size == 0) return false;
        bytes.remove_prefix(line + 2);
        if (bytes.size() < size || bytes.substr(size, 2) != "\r\n") return true;
        bytes.remove_prefix(size + 2);
    }
}
bool asks_for_tunnel(std::string_view bytes) { return bytes.find("CONNECT ") != bytes.npos; }
bool says_close(std::string fields) {
    for (char& c : fields) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return fields.find("close") != fields.npos;
}
/// Whether all lengths that the head names are one, as http_parser refuses also those.
bool names_one_length(std::string_view, const outcome& ours) {
    std::set<std::string> lengths;
    std::string text = ours.fields;
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (std::size_t at = 0; (at = text.find("content-length:", at)) != text.npos;) {
        at += 15;
        std::string digits;
        for (const char c : text.substr(at, text.find('\n', at) - at) + ",") {
            if (c != ',') {
                if (c != ' ' && c != '\t' && (c != '0' || !digits.empty())) digits += c;
                continue;
            }
            lengths.insert(digits);
            digits.clear();
        }
    }
    return lengths.size() == 1;
}
/// http_parser does not know `chunked` when a tab stands behind it; it then reads until the end.
bool misses_chunked(std::string_view bytes) {
    const std::size_t behind = bytes.find_first_not_of(' ', bytes.find("hunked") + 6);
    return bytes.find("hunked") != bytes.npos && behind != bytes.npos && bytes[behind] == '\t';
}
bool any(std::string_view) { return true; }
bool always(std::string_view, const outcome&) { return true; }

/// Where we refuse what http_parser takes.
struct stricter {
    http1_error error;
    const char* why;
    bool (*when)(std::string_view bytes) = any;
};
/// Where we take what http_parser refuses.
struct laxer {
    http_errno error;
    const char* why;
    bool (*when)(std::string_view bytes, const outcome& ours) = always;
};

/// All the differences that are meant. A case in neither list fails the test.
const std::vector<stricter>& where_we_are_stricter() {
    static const std::vector<stricter> list{
        {http1_error::bare_line_break,
         "a line that ends in LF alone, or holds a lone CR, is refused: two readers might see two "
         "lines or one (RFC 9112 §2.2, §11.1)"},
        {http1_error::truncated, "so is the empty line that ends a head: it lacks its LF here",
         has_lone_cr},
        {http1_error::bad_chunk,
         "a chunk has a size of at most 16 digits, an extension or none, and CR LF at both ends",
         has_bad_chunk},
        {http1_error::truncated, "http_parser leaves what follows CONNECT to the tunnel",
         asks_for_tunnel},
        {http1_error::bad_chunk, "http_parser leaves what follows CONNECT to the tunnel",
         asks_for_tunnel},
        {http1_error::truncated, "`chunked` may have a tab behind it", misses_chunked},
        {http1_error::folded_field, "obs-fold is refused (RFC 9112 §5.2)"},
        {http1_error::space_before_colon, "space before a colon is refused (RFC 9112 §5.1)"},
        {http1_error::bad_field_name,
         "a header's name is a token; http_parser takes others too, "
         "and a lone CR before one"},
        {http1_error::bad_field_value, "control characters in a value are refused (RFC 9110 §5.5)"},
        {http1_error::bad_start_line,
         "a first line has single spaces, a target of visible ASCII and a status of three digits"},
        {http1_error::unsupported_version, "only HTTP/1.0 and HTTP/1.1 have this syntax"},
        {http1_error::not_http, "an answer begins with HTTP/, byte for byte"},
        {http1_error::unexpected_upgrade, "nobody here asks for another protocol"},
        {http1_error::bad_host, "a request needs exactly one Host (RFC 9112 §3.2)"},
        {http1_error::coding_in_http10,
         "HTTP/1.0 has no Transfer-Encoding, so a proxy may understand another length (§6.1)"},
        {http1_error::unknown_coding, "no coding but one `chunked` is ever asked for"},
    };
    return list;
}
const std::vector<laxer>& where_we_are_laxer() {
    static const std::vector<laxer> list{
        {HPE_INVALID_METHOD, "any token is a method (RFC 9110 §9.1); the server answers 501"},
        {HPE_INVALID_URL, "a target is a matter of whoever reads it, as long as it is visible"},
        {HPE_UNEXPECTED_CONTENT_LENGTH, "equal lengths, repeated, count as one (RFC 9112 §6.3)",
         names_one_length},
        {HPE_INVALID_CONTENT_LENGTH, "the same in one line: \"5, 5\"", names_one_length},
        {HPE_INVALID_CONTENT_LENGTH,
         "a length may have all 64 bits; the body's limit is for others",
         [](std::string_view bytes, const outcome&) {
             return bytes.find("1844674407370955161") != bytes.npos;
         }},
        {HPE_INVALID_CONTENT_LENGTH, "a trailer says nothing of the body's size (RFC 9110 §6.5.1)",
         [](std::string_view bytes, const outcome&) { return bytes.find("hunked") != bytes.npos; }},
        {HPE_INVALID_CONTENT_LENGTH, "a tab may stand around any value (RFC 9110 §5.6.3)",
         [](std::string_view bytes, const outcome&) { return bytes.find('\t') != bytes.npos; }},
        {HPE_INVALID_CHUNK_SIZE, "a tab may stand before a chunk's extension (RFC 9112 §7.1.1)",
         [](std::string_view bytes, const outcome&) { return bytes.find('\t') != bytes.npos; }},
        {HPE_INVALID_TRANSFER_ENCODING,
         "http_parser also reads headers whose name only begins like Transfer-Encoding",
         [](std::string_view bytes, const outcome&) {
             return bytes.find("Transfer-Encoding:") == bytes.npos;
         }},
    };
    return list;
}

/// Compares one message, however it is cut; adds what differs, if that is meant, to `met`.
template <class Parser, class Reset>
void compare(Parser& parser, Reset reset, http_parser_type type, bool head,
             const std::string& bytes, message_generator& random, std::set<std::string>& met) {
    INFO(bytes);
    reset();
    const outcome ours = http1_test::run(parser, bytes, {});
    reset();
    REQUIRE(http1_test::run(parser, bytes, http1_test::every_byte(bytes.size())) == ours);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; (at += 1 + random.below(20)) < bytes.size();) cuts.push_back(at);
    reset();
    REQUIRE(http1_test::run(parser, bytes, cuts) == ours);

    const peer_outcome theirs = peer(type, head).run(bytes);
    if (ours.complete && theirs.said.complete) {
        REQUIRE(ours.first_line == theirs.said.first_line);
        REQUIRE(ours.fields == theirs.said.fields);
        if (misses_chunked(bytes)) return;
        // After CONNECT http_parser leaves the rest to the tunnel; ours reads what was announced.
        if (!ours.first_line.starts_with("CONNECT ")) {
            REQUIRE(ours.body == theirs.said.body);
            REQUIRE(ours.trailers == theirs.said.trailers);
        }
        // Told both "close" and "keep-alive" we close; it also takes "clos" for "close".
        const bool told = says_close(ours.fields);
        if (ours.keep_alive != theirs.said.keep_alive) REQUIRE(ours.keep_alive != told);
        met.insert("both");
    } else if (ours.complete) {
        const char* why = nullptr;
        for (const laxer& one : where_we_are_laxer())
            if (one.error == theirs.why && one.when(bytes, ours)) why = one.why;
        INFO("http_parser says " << http_errno_name(theirs.why));
        REQUIRE(why != nullptr);
        met.insert(why);
    } else if (theirs.said.complete) {
        const char* why = nullptr;
        for (const stricter& one : where_we_are_stricter())
            if (one.error == ours.error && one.when(bytes)) why = one.why;
        INFO("ours says " << llmkit::detail::describe(ours.error));
        REQUIRE(why != nullptr);
        met.insert(why);
    } else {
        met.insert("neither");
    }
}

constexpr int messages = 15000;

}  // namespace

TEST_CASE("answers are the same to http_parser, or differ in a way that is written down",
          "[http1]") {
    message_generator random(3);
    std::set<std::string> met;
    llmkit::detail::http1_response_parser parser;
    for (int i = 0; i < messages; ++i) {
        std::string text = random.response();
        if (i % 2 == 1) text = random.damaged(std::move(text));
        const bool head = i % 8 == 0;
        compare(
            parser, [&] { parser.reset(head ? "HEAD" : "GET"); }, HTTP_RESPONSE, head, text, random,
            met);
    }
    CHECK(met.size() > 12);
}

TEST_CASE("requests are the same to http_parser, or differ in a way that is written down",
          "[http1]") {
    message_generator random(4);
    std::set<std::string> met;
    llmkit::detail::http1_request_parser parser;
    for (int i = 0; i < messages; ++i) {
        std::string text = random.request();
        if (i % 2 == 1) text = random.damaged(std::move(text));
        compare(parser, [&] { parser.reset(); }, HTTP_REQUEST, false, text, random, met);
    }
    CHECK(met.size() > 12);
}

}  // namespace test_detail_http1_differential
