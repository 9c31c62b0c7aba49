// How much CPU does a call cost its client, against sockets by hand, libcurl, Boost.Beast and h2load?
//
// 64 calls in flight, a POST of 482 bytes, an answer of 609, connections kept. The server is nginx on
// the other core; only a client's own CPU time counts. All take turns in every round; a ratio is the
// median of the rounds' ratios. Each peer stands in a file of benchmarks/transport/.
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include <llmkit/transport/http2.hpp>
#include <llmkit/transport/tls.hpp>

#include "transport/helper.hpp"
#include "transport/idle.hpp"
#include "transport/measure.hpp"
#include "transport/message.hpp"
#include "transport/nginx_site.hpp"
#include "transport/ours.hpp"
#include "transport/raw.hpp"
#ifdef BENCH_CURL
#include "transport/curl.hpp"
#endif
#ifndef BENCH_BEAST
#define BENCH_BEAST ""
#endif

namespace {

using namespace bench;

/// The rounds of all who take part.
class contest {
public:
    explicit contest(std::size_t calls) : calls_(calls) {}

    template <class Client>
    void turn(const std::string& name, Client& client) {
        const double start = cpu_seconds();
        const std::size_t answered = client.run(calls_);
        double used = cpu_seconds() - start;
        if constexpr (requires { client.used(); }) used = client.used();
        note(name, used);
        if (answered != calls_) {
            std::fprintf(stderr, "%s: %zu of %zu calls were answered\n", name.c_str(), answered,
                         calls_);
            std::exit(1);
        }
    }
    void note(const std::string& name, double seconds) {
        auto& [warm, all] = seen_[name];
        if (warm) all.push_back(seconds * 1e6 / static_cast<double>(calls_));
        warm = true;
    }
    /// Microseconds a call, round by round.
    const std::vector<double>& of(const std::string& name) { return seen_[name].second; }
    std::size_t calls() const { return calls_; }

    void print(const char* title) {
        std::printf("%s, us of CPU a call (median)\n", title);
        for (const auto& [name, rounds] : seen_)
            std::printf("  %-12s %8.2f\n", name.c_str(), median(rounds.second));
    }
    void compare(const std::string& line, const std::string& one, const std::string& with) {
        if (of(with).empty()) return skipped(line, with + " is not installed");
        report(line, ratio(of(one), of(with)), "ratio");
    }

private:
    std::size_t calls_;
    std::map<std::string, std::pair<bool, std::vector<double>>> seen_;
};

void http1(int rounds) {
    const nginx_site nginx;
    const std::string port = std::to_string(nginx.plain());
    const std::string base = "http://127.0.0.1:" + port;
    contest all(4096);
    raw by_hand(nginx.plain());
    ours transport({}, base);
    typed layers(base);
    ours_by_two two(base);
#ifdef BENCH_CURL
    curl libcurl(base, "");
#endif
    helper beast(BENCH_BEAST, {port});
    for (int round = 0; round <= rounds; ++round) {
        all.turn("raw", by_hand);
        all.turn("llmkit", transport);
        all.turn("six layers", layers);
#ifdef BENCH_CURL
        all.turn("libcurl", libcurl);
#endif
        if (beast) all.turn("beast", beast);
        go_anywhere();
        all.turn("two threads", two);
        stay_on(0);
    }
    all.print("HTTP/1.1");
    all.compare("http1_cpu_vs_raw", "llmkit", "raw");
    all.compare("http1_cpu_vs_libcurl", "llmkit", "libcurl");
    all.compare("http1_cpu_vs_beast", "llmkit", "beast");
    all.compare("http1_two_threads_cpu_vs_raw", "two threads", "raw");
    all.compare("typed_chat_cpu_vs_raw", "six layers", "raw");
    if (const auto kib = kib_per_idle({}, base, 400))
        report("memory_per_idle_connection_kib", *kib, "KiB");
}

void https_and_http2(int rounds) {
    const nginx_site nginx;
    const llmkit::tls secure = llmkit::tls().ca_file(nginx.ca());
    contest all(4096);
    ours transport(llmkit::http_options().tls(secure).http2(llmkit::http2()), nginx.base());
    ours plain(llmkit::http_options().tls(secure), nginx.base());
#ifdef BENCH_CURL
    curl libcurl(nginx.base(), nginx.ca());
#endif
    for (int round = 0; round <= rounds; ++round) {
        all.turn("llmkit", transport);
        all.turn("llmkit h1", plain);
#ifdef BENCH_CURL
        all.turn("libcurl", libcurl);
#endif
        if (const auto used = nginx.h2load(all.calls())) all.note("h2load", *used);
    }
    all.print("HTTP/2 over TLS");
    all.compare("http2_tls_cpu_vs_libcurl", "llmkit", "libcurl");
    all.compare("http2_tls_cpu_vs_h2load", "llmkit", "h2load");
    if (const auto kib = kib_per_idle(secure, nginx.base(), 200))
        report("memory_per_idle_tls_connection_kib", *kib, "KiB");
}

}  // namespace

// An argument is the number of rounds; a second one, http1 or http2, runs only that half.
int main(int count, char** words) {
    const int rounds = count > 1 ? std::max(1, std::atoi(words[1])) : 31;
    const std::string only = count > 2 ? words[2] : "";
    stay_on(0);
    report("deadline_ns", deadline_ns(), "ns");
    if (only != "http2") http1(rounds);
    if (only != "http1") https_and_http2(rounds);
}
