// Does the request parser decide the same however its input is cut, and is what it took in sound
// enough to be written again with the same meaning?
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <llmkit/detail/http1_write.hpp>

#include "../tests/detail/http1_pieces.hpp"

using namespace llmkit::detail;

// The first byte chooses the limits.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    http1_limits limits;
    if (data[0] & 1) {
        limits.line_bytes = 48;
        limits.head_bytes = 160;
        limits.fields = 4;
        limits.chunk_line_bytes = 12;
        limits.trailer_bytes = 32;
        limits.body_bytes = 64;
    }
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    http1_request_parser parser(limits);
    const auto whole = http1_test::run(parser, bytes, {});
    const llmkit::headers fields = parser.fields();
    const std::string method = parser.method();
    const std::string target = parser.target();
    parser.reset();
    if (http1_test::run(parser, bytes, http1_test::every_byte(bytes.size())) != whole) std::abort();
    parser.reset();
    if (http1_test::run(parser, bytes, {data[0] % size}) != whole) std::abort();
    if (!whole.complete) return 0;

    llmkit::headers sent = fields;
    sent.remove("content-length");
    sent.remove("transfer-encoding");
    std::string again;
    std::string why;
    if (!write_request_head(again, method, target, "h", sent, http1_body::sized(whole.body.size()),
                            why))
        std::abort();
    again += whole.body;
    http1_request_parser second;
    const auto reread = http1_test::run(second, again, {});
    if (!reread.complete || reread.first_line != whole.first_line || reread.body != whole.body ||
        reread.consumed != again.size())
        std::abort();
    return 0;
}
