// The smallest program that needs llmkit and its TLS component: two files, so that it would not
// link if a header defined something twice.
#include <llmkit/llmkit.hpp>
#include <llmkit/transport/http.hpp>
#include <llmkit/transport/tls.hpp>

int other();

int main() {
    asio::io_context context;
    auto http = llmkit::http(context.get_executor(), llmkit::tls());  // links only with OpenSSL
    return other();
}
