// CPU time of this process, medians of ratios, and the lines that script/bench promises.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

namespace bench {

/// What this process has used so far, all threads together; a server is another process.
inline double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

/// Keeps this thread, and what it starts, on one core; on a machine with a single one it does
/// nothing.
inline void stay_on(unsigned core) {
    if (std::thread::hardware_concurrency() < 2) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

/// On all cores again.
inline void go_anywhere() {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned core = 0; core < std::thread::hardware_concurrency(); ++core) CPU_SET(core, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

inline double median(std::vector<double> all) {
    if (all.empty()) return 0;
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), middle, all.end());
    return *middle;
}
/// The median of the rounds' ratios: what slows a whole round falls out.
inline double ratio(const std::vector<double>& over, const std::vector<double>& under) {
    std::vector<double> each;
    for (std::size_t i = 0; i < std::min(over.size(), under.size()); ++i)
        each.push_back(over[i] / under[i]);
    return median(std::move(each));
}

inline void report(const std::string& name, double value, const char* unit) {
    std::printf("result transport.%s %.4g %s\n", name.c_str(), value, unit);
    std::fflush(stdout);
}
inline void skipped(const std::string& name, const std::string& why) {
    std::printf("skipped transport.%s: %s\n", name.c_str(), why.c_str());
}

}  // namespace bench
