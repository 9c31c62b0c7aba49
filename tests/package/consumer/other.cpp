#if __has_include(<llmkit/llmkit.hpp>)
#include <llmkit/llmkit.hpp>
#else  // until it is written
#include <llmkit/core/facts.hpp>
#endif

int other() { return llmkit::token_usage{}.known ? 1 : 0; }
