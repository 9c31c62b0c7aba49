#include <llmkit/detail/sha1.hpp>

#include <string>

#include "test.hpp"

namespace test_detail_sha1 {

using llmkit::detail::sha1_hex;

TEST_CASE("SHA-1 gives the digests of RFC 3174", "[sha1]") {
    CHECK(sha1_hex("abc") == "a9993e364706816aba3e25717850c26c9cd0d89d");
    CHECK(sha1_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    CHECK(sha1_hex("") == "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    CHECK(sha1_hex(std::string(1'000'000, 'a')) == "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

}  // namespace test_detail_sha1
