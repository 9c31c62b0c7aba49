// Does the response parser decide the same however its input is cut, and stay within its rules?
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "../tests/detail/http1_pieces.hpp"

// The first byte chooses the request's method and the limits; the rest is what the server sent.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view methods[] = {"GET", "HEAD", "CONNECT", "POST"};
    const std::string_view method = methods[data[0] % 4];
    llmkit::detail::http1_limits limits;
    if (data[0] & 4) {
        limits.line_bytes = 48;
        limits.head_bytes = 160;
        limits.fields = 4;
        limits.chunk_line_bytes = 12;
        limits.chunk_extension_bytes = 16;
        limits.trailer_bytes = 32;
        limits.interim_responses = 1;
        limits.body_bytes = 64;
    }
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    llmkit::detail::http1_response_parser parser(limits);
    parser.reset(method);
    const auto whole = http1_test::run(parser, bytes, {});
    parser.reset(method);
    if (http1_test::run(parser, bytes, http1_test::every_byte(bytes.size())) != whole) std::abort();
    parser.reset(method);
    if (http1_test::run(parser, bytes, {data[0] % size}) != whole) std::abort();
    if (whole.body.size() > limits.body_bytes) std::abort();
    if (!llmkit::headers::valid_value(parser.reason())) std::abort();
    if (!parser.fields().problem().empty() || !parser.trailers().problem().empty()) std::abort();
    if (parser.fields().size() > limits.fields) std::abort();
    return 0;
}
