#include <llmkit/cache/codec.hpp>

#include <cstdint>
#include <string>

#include <llmkit/provider/openai_dialect.hpp>
#include <llmkit/simulation/world.hpp>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_cache_codec {

using namespace llmkit;
using namespace llmkit_test;

namespace {

const time_point start = simulation::world::began;
const entry_codec codec;

/// `payload` as a codec would have written it: with a checksum that is right.
std::string sealed(const std::string& payload, char packed_by = 0) {
    std::string out("lce\x01", 4);
    const std::string checked = packed_by + payload;
    detail::field_writer(out).key(hash128(checked));
    return out + checked;
}

/// A full entry without what came later, as the first release wrote it.
std::string written_first() {
    std::string hex =
        "6c636501764e41120b7f97d628c60866f78d4232004110636861742f636f6d706c6574696f6e730461636d651a"
        "6f70656e61692068747470733a2f2f6170692e6578616d706c65066d2d32303234057265715f3105706c61696e"
        "cfd3a9ee392649acf708bd2525ca316afff782ad168080c58bc6d10180808a978ca303180608041d7b226d6573"
        "7361676573223a226869222c226d6f64656c223a226d227d03a30002ac020564656c74619003";
    for (int i = 0; i < 400; ++i) hex += "78";
    hex += "4803180608040005757361676504000000";
    std::string out;
    for (std::size_t at = 0; at < hex.size(); at += 2)
        out += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
    return out;
}

}  // namespace

TEST_CASE("an entry read back says what was written", "[codec]") {
    const cache_entry put = full_entry(start);
    const auto got = codec.decode(codec.encode(put, start), start);
    REQUIRE(got);
    CHECK(same(*got, put));

    const auto none = codec.decode(codec.encode(cache_entry(), start), start);
    REQUIRE(none);
    CHECK(same(*none, cache_entry()));
}

TEST_CASE("what the first release wrote is read, and nothing it knows is written otherwise",
          "[codec]") {
    cache_entry put = full_entry(start);
    put.tags.clear();
    put.pauses.clear();
    const auto got = codec.decode(written_first(), start);
    REQUIRE(got);
    CHECK(same(*got, put));
    CHECK(codec.encode(put, start) == written_first());
}

TEST_CASE("an entry with a part from a later release is none", "[codec]") {
    std::string payload;
    detail::write_entry(payload, cache_entry(), start);
    CHECK(codec.decode(sealed(payload), start));
    payload[0] = static_cast<char>(0x80);
    CHECK_FALSE(codec.decode(sealed(payload), start));
}

TEST_CASE("a refusal is read back, and one of an unknown kind is none", "[codec]") {
    cache_entry put;
    put.refusal = error(error_kind::context_length, "too long")
                      .with_status(400)
                      .with_code("context_length_exceeded")
                      .with_where("POST https://api.example/v1/chat/completions");
    const auto got = codec.decode(codec.encode(put, start), start);
    REQUIRE(got);
    CHECK(same(*got, put));
    CHECK(got->refusal.status() == 400);
    CHECK(got->weight() >= cache_entry().weight() + 70);
    std::string payload;
    detail::write_entry(payload, put, start);
    CHECK(codec.decode(sealed(payload), start));
    payload.replace(payload.find("context length"), 7, "contest");
    CHECK_FALSE(codec.decode(sealed(payload), start));
}

TEST_CASE("more tags than a call can have are no tags", "[codec]") {
    cache_entry put;
    put.tags.resize(most_tags);
    CHECK(codec.decode(codec.encode(put, start), start));
    put.tags.resize(most_tags + 1);
    CHECK_FALSE(codec.decode(codec.encode(put, start), start));
}

TEST_CASE("a stored entry is compact", "[codec]") {
    const cache_entry put = full_entry(start);
    std::size_t texts = put.canonical.size();
    for (const event& one : put.events) texts += one.data().size() + one.name().size();
    CHECK(codec.encode(put, start).size() < texts + 220);
}

TEST_CASE("an entry keeps its age on another clock", "[codec]") {
    const cache_entry put = full_entry(start);
    const std::string stored = codec.encode(put, start + 10min);
    const time_point there{1h * 5000};  // the same moment on another machine's clock
    const auto got = codec.decode(stored, there);
    REQUIRE(got);
    CHECK(got->stored_at == there - 10min - 3s);
    CHECK(got->fresh_until == there + 50min);
    CHECK(got->keep_until == there + 110min);
}

TEST_CASE("times at the ends of the clock neither overflow nor change", "[codec]") {
    cache_entry put;
    put.stored_at = time_point::min();
    put.fresh_until = put.keep_until = time_point::max();
    const auto got = codec.decode(codec.encode(put, start), start);
    REQUIRE(got);
    CHECK(got->keep_until == time_point::max());
    CHECK(got->stored_at < start - 24h * 365);
    const auto late = codec.decode(codec.encode(put, time_point::max()), time_point::max());
    REQUIRE(late);
    CHECK(late->fresh_until == time_point::max());
}

TEST_CASE("an entry finds its dialect again by name", "[codec]") {
    cache_entry put;
    put.dialect = "openai";
    const auto got = codec.decode(codec.encode(put, start), start);
    REQUIRE(got);
    CHECK(got->speaks == &openai_dialect());

    // What nobody could reshape is not written, and not read from another program.
    put.dialect = "klingon";
    CHECK(codec.encode(put, start).empty());
    std::string payload;
    detail::write_entry(payload, put, start);
    CHECK_FALSE(codec.decode(sealed(payload), start));
    put.dialect = "openai";
    payload.clear();
    detail::write_entry(payload, put, start);
    CHECK(codec.decode(sealed(payload), start));
}

TEST_CASE("an entry that was cut short anywhere is none", "[codec]") {
    const std::string stored = codec.encode(full_entry(start), start);
    std::string payload = stored.substr(21);
    std::size_t read = 0;
    for (std::size_t size = 0; size < stored.size(); ++size) {
        if (codec.decode(stored.substr(0, size), start)) ++read;
        if (size < payload.size() && codec.decode(sealed(payload.substr(0, size)), start)) ++read;
    }
    CHECK(read == 0);
    CHECK_FALSE(codec.decode(stored + '\0', start));
    CHECK_FALSE(codec.decode(sealed(payload + '\0'), start));
}

TEST_CASE("an entry with one wrong bit anywhere is none", "[codec]") {
    std::string stored = codec.encode(full_entry(start), start);
    std::size_t read = 0;
    for (std::size_t at = 0; at < stored.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            const char before = stored[at];
            stored[at] = static_cast<char>(before ^ (1 << bit));
            if (codec.decode(stored, start)) ++read;
            stored[at] = before;
        }
    }
    CHECK(read == 0);
    CHECK(codec.decode(stored, start));
}

TEST_CASE("fields out of bounds make no entry, also under a right checksum", "[codec]") {
    const std::string stored = codec.encode(full_entry(start), start);
    const std::string payload = stored.substr(21);
    // Whatever one byte becomes, what is read can be used: its parts lie inside.
    for (std::size_t at = 0; at < payload.size(); ++at) {
        for (const int value : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
            std::string changed = payload;
            changed[at] = static_cast<char>(value);
            const auto got = codec.decode(sealed(changed), start);
            if (!got) continue;
            for (const event& one : got->events) {
                const event_facts& facts = one.facts();
                REQUIRE(std::size_t{facts.text_at} + facts.text_size <= one.data().size());
                REQUIRE(facts.finish <= finish_reason::other);
            }
        }
    }
    // An absurd number of events, each of which would take memory.
    cache_entry none;
    std::string many;
    detail::write_entry(many, none, start);
    many.pop_back();
    detail::field_writer(many).number(std::uint64_t{1} << 62);
    CHECK_FALSE(codec.decode(sealed(many), start));
    CHECK_FALSE(codec.decode(sealed(std::string(12, '\xff')), start));
}

TEST_CASE("what is too large is not written", "[codec]") {
    cache_entry put;
    put.events.emplace_back(bytes(std::string(entry_codec::most_bytes, 'x')));
    CHECK(codec.encode(put, start).empty());
}

TEST_CASE("an entry packed in an unknown way is none", "[codec]") {
    std::string payload;
    detail::write_entry(payload, cache_entry(), start);
    CHECK(codec.decode(sealed(payload), start));
    CHECK_FALSE(codec.decode(sealed(payload, 1), start));
}

}  // namespace test_cache_codec
