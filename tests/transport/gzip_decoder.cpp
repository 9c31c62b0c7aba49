#include <llmkit/transport/gzip_decoder.hpp>

#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "integration/nginx.hpp"
#include "test.hpp"
#include "transport/gzip_text.hpp"

namespace test_transport_gzip_decoder {

using namespace llmkit::detail;
using namespace llmkit_test;

namespace {

/// Decodes in pieces of `size` bytes, through a buffer of `room`; nothing when it is not sound.
std::optional<std::string> decoded(std::string_view coded, std::size_t size, std::size_t room,
                                   std::string* problem = nullptr) {
    gzip_decoder decoder;
    std::string plain, buffer(room, '\0');
    for (std::size_t at = 0; at < coded.size(); at += size) {
        const std::string piece(coded.substr(at, size));  // a view that outlives it is seen
        decoder.feed(piece);
        while (const std::size_t count = decoder.take(buffer.data(), room))
            plain.append(buffer, 0, count);
        if (problem) *problem = decoder.problem();
        if (!decoder.problem().empty()) return std::nullopt;
    }
    if (!decoder.complete()) return std::nullopt;
    return plain;
}

std::string mixed_text(std::size_t size) {
    std::mt19937 random(7);
    std::string text;
    while (text.size() < size) {
        text += std::string(random() % 50, static_cast<char>('a' + random() % 26));
        text += static_cast<char>(random() % 256);
    }
    return text.substr(0, size);
}

}  // namespace

TEST_CASE("gzip data is decoded, however it is cut", "[gzip]") {
    for (const std::size_t size : {0u, 1u, 100u, 100'000u}) {
        const std::string text = mixed_text(size);
        for (const int level : {0, 1, 6, 9}) {
            const std::string coded = gzipped(text, level);
            for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1} << 20})
                for (const std::size_t room : {1u, 13u, 16384u}) {
                    if (size > 1000 && piece < 7 && room < 13) continue;
                    CHECK((decoded(coded, piece, room) == text));
                }
        }
    }
}

TEST_CASE("what was flushed comes out at once", "[gzip]") {
    gzip_writer writer;
    gzip_decoder decoder;
    char room[100];
    for (const std::string text : {"data: one\n\n", "data: two\n\n", "data: three\n\n"}) {
        const std::string piece = writer.piece(text);
        decoder.feed(piece);
        CHECK(std::string(room, decoder.take(room, sizeof room)) == text);
        CHECK(decoder.take(room, sizeof room) == 0);
        CHECK_FALSE(decoder.complete());
    }
    const std::string last = writer.end();
    decoder.feed(last);
    CHECK(decoder.take(room, sizeof room) == 0);
    CHECK(decoder.complete());
}

TEST_CASE("several members make one text", "[gzip]") {
    const std::string coded = gzipped("one, ") + gzipped("") + gzipped("two");
    for (const std::size_t piece : {1u, 5u, 1000u}) CHECK(decoded(coded, piece, 100) == "one, two");
    CHECK(decoded("", 1, 100) == "");
}

TEST_CASE("gzip data that is cut anywhere is not complete", "[gzip]") {
    const std::string coded = gzipped("the whole truth, and nothing but the truth");
    for (std::size_t end = 1; end < coded.size(); ++end)
        CHECK(decoded(coded.substr(0, end), 1000, 100) == std::nullopt);
    const std::string two = coded + coded;
    for (std::size_t end = coded.size() + 1; end < two.size(); ++end)
        CHECK(decoded(two.substr(0, end), 1000, 100) == std::nullopt);
}

TEST_CASE("what is wrong with gzip data is said without quoting it", "[gzip]") {
    std::string why;
    CHECK(decoded("plain text", 100, 100, &why) == std::nullopt);
    CHECK(why == "the gzip data is broken: incorrect header check");
    for (const std::size_t piece : {1u, 100u}) {
        CHECK(decoded(gzipped("text") + "garbage", piece, 100, &why) == std::nullopt);
        CHECK(why == "something else follows the gzip data");
    }
    std::string changed = gzipped("text");
    changed[changed.size() - 6] ^= 1;
    CHECK(decoded(changed, 100, 100, &why) == std::nullopt);
    CHECK(why == "the gzip data is broken: incorrect data check");
}

TEST_CASE("gzip(1) and the decoder agree on what it made, and on what was damaged", "[gzip]") {
    temporary_folder folder;
    const std::string text = mixed_text(3000);
    folder.write("text", text);
    const std::string file = (folder.path() / "text").string();
    for (const char* level : {"-1", "-6", "-9"}) {
        REQUIRE(run_program({"gzip", "-k", "-f", level, file}, file + ".log"));
        CHECK((decoded(folder.read("text.gz"), 100, 1000) == text));
    }
    const std::string coded = folder.read("text.gz");
    std::mt19937 random(11);
    int sound = 0;
    for (int i = 0; i < 300; ++i) {
        std::string damaged = coded;
        const bool head = i % 3 == 0;  // behind the two bytes by which gzip(1) tells formats apart
        const std::size_t at = 2 + random() % (head ? 16 : coded.size() - 2);
        const auto bit = static_cast<char>(1 << (random() % 8));
        damaged[at] = static_cast<char>(damaged[at] ^ bit);
        if (i % 4 == 0) damaged.resize(1 + random() % damaged.size());
        folder.write("damaged.gz", damaged);
        folder.write("damaged", "");
        const std::string out = (folder.path() / "damaged").string();
        const bool fine = run_program({"gzip", "-dc", out + ".gz"}, out);
        const auto mine = decoded(damaged, 100, 1000);
        INFO("byte " << at << " of " << damaged.size());
        CHECK(mine.has_value() == fine);
        if (mine && fine) CHECK((*mine == folder.read("damaged")));
        sound += fine;
    }
    CHECK(sound > 0);
    CHECK(sound < 300);
}

}  // namespace test_transport_gzip_decoder
