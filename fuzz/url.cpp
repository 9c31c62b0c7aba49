// Is every URL that is accepted safe to put into a request, and read again as itself?
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <llmkit/detail/http1_write.hpp>
#include <llmkit/transport/url.hpp>

namespace {
void check(const llmkit::url& url) {
    std::string why;
    const auto again = llmkit::url::parse(url.text(), why);
    if (!again || *again != url || url.port() == 0 || url.host().empty()) std::abort();
    if (!url.path().starts_with('/')) std::abort();
    std::string head;
    if (!llmkit::detail::write_request_head(head, "GET", url.target(), url.authority(), {},
                                            llmkit::detail::http1_body::none(), why))
        std::abort();
}
}  // namespace

// "URL LF operation".
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const std::size_t line = bytes.find('\n');
    std::string why;
    const auto url = llmkit::url::parse(bytes.substr(0, line), why);
    if (url.has_value() != why.empty()) std::abort();
    if (!url) return 0;
    check(*url);
    if (line == std::string_view::npos) return 0;
    const auto joined = url->join(bytes.substr(line + 1), why);
    if (joined.has_value() != why.empty()) std::abort();
    if (!joined) return 0;
    check(*joined);
    if (joined->origin() != url->origin() || !joined->path().starts_with(url->path())) std::abort();
    return 0;
}
