#include <llmkit/llmkit.hpp>

int other() {
    const llmkit::request ask("models", "");
    return ask.operation() == "models" ? 0 : 1;
}
