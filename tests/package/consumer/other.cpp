#include <llmkit/core/facts.hpp>

int other() { return llmkit::token_usage{}.known ? 1 : 0; }
