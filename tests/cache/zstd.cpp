#include <llmkit/cache/zstd.hpp>

#include <string>

#include <llmkit/simulation/world.hpp>

#include "cache/entries.hpp"
#include "test.hpp"

namespace test_cache_zstd {

using namespace llmkit;
using namespace llmkit_test;

namespace {

const time_point start = simulation::world::began;
const entry_codec plain;
const entry_codec packing = zstd_codec();

/// Text in which nothing repeats.
std::string noise(std::size_t size) {
    std::string text;
    for (std::uint64_t n = 0; text.size() < size; ++n) {
        detail::field_writer(text).key(key_builder().add(n).finish());
    }
    return text;
}
cache_entry saying(std::string text) { return *entry_saying(std::move(text), start); }

}  // namespace

TEST_CASE("an entry is compressed when that pays", "[zstd]") {
    std::string words;
    for (int i = 0; i < 500; ++i) words += "word " + std::to_string(i) + ' ';
    const std::string small = packing.encode(saying(words), start);
    CHECK(small.size() < words.size() / 2);
    const auto got = packing.decode(small, start);
    REQUIRE(got);
    CHECK(same(*got, saying(words)));

    for (const auto& entry : {saying("short"), saying(noise(4000))}) {
        CHECK(packing.encode(entry, start) == plain.encode(entry, start));
        CHECK(packing.decode(plain.encode(entry, start), start));
    }
}

TEST_CASE("a compressed entry is none to a codec without zstd", "[zstd]") {
    const std::string small = packing.encode(full_entry(start), start);
    CHECK(packing.decode(small, start));
    CHECK_FALSE(plain.decode(small, start));
}

TEST_CASE("a compressed entry that was cut short or changed is none", "[zstd]") {
    std::string small = packing.encode(full_entry(start), start);
    std::size_t read = 0;
    for (std::size_t size = 0; size < small.size(); ++size) {
        if (packing.decode(small.substr(0, size), start)) ++read;
    }
    for (std::size_t at = 0; at < small.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = small;
            changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
            if (packing.decode(changed, start)) ++read;
        }
    }
    CHECK(read == 0);
}

TEST_CASE("what would unpack to more than the limit is refused before", "[zstd]") {
    const detail::zstd_packing packer{zstd_policy()};
    const auto bomb = packer.pack(std::string(1'000'000, ' '));
    REQUIRE(bomb);
    CHECK(bomb->size() < 1000);
    CHECK(packer.unpack(*bomb, 1'000'000));
    CHECK_FALSE(packer.unpack(*bomb, 999'999));
    CHECK_FALSE(packer.unpack(*bomb + *bomb, 10'000'000));
    CHECK_FALSE(packer.unpack("", 100));
    CHECK_FALSE(packer.unpack("no zstd at all", 100));
}

}  // namespace test_cache_zstd
