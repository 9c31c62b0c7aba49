// The smallest program that needs llmkit and its TLS component: two files, so that it would not
// link if a header defined something twice.
#if __has_include(<llmkit/transport/tls.hpp>)
#include <llmkit/llmkit.hpp>
#include <llmkit/transport/tls.hpp>
#else  // until it is written
#include <llmkit/core/facts.hpp>
#endif

int other();

int main() {
#if __has_include(<llmkit/transport/tls.hpp>)
    [[maybe_unused]] auto secure = llmkit::tls();  // links only with OpenSSL
#endif
    return llmkit::to_string(llmkit::finish_reason::stop) == "stop" ? other() : 1;
}
