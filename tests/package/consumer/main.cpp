// The smallest program that needs llmkit and its TLS component: two files, so that it would not
// link if a header defined something twice.
#include <llmkit/core/facts.hpp>

int other();

int main() { return llmkit::to_string(llmkit::finish_reason::stop) == "stop" ? other() : 1; }
