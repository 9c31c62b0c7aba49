// The program of docs/guide.md, before its first step and after each.
//
//     guide 0        guide 1        guide 2 [CONNECTIONS]        guide 3
#include <cstdlib>

#include "guide.hpp"

int main(int argc, char** argv) {
    const int step = argc > 1 ? std::atoi(argv[1]) : -1;
    const std::size_t connections = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 64;
    tally seen;
    int status = 2;
    if (step == 0) status = llmkit::run(step0(seen));
    if (step == 1) status = llmkit::run(step1(seen));
    if (step == 2) status = llmkit::run(step2(seen, connections));
    if (step == 3) status = llmkit::run(step3(seen));
    if (status == 2) fmt::print(stderr, "guide STEP: 0, 1, 2 or 3\n");
    if (status == 0) fmt::print("step {}: {}\n", step, seen.summary());
    return status;
}
