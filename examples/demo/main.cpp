// The same workload before and after: as most programs call a model, and with llmkit.
//
//     script/demo                                    all stages on an embedded provider
//     script/demo --seed 7                           another draw
//     script/demo --base-url URL --model NAME        the full pipeline on a real server
//
// docs/demo.md says what is measured and how.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <llmkit/core/run.hpp>
#include <llmkit/metrics/report.hpp>

#include "after.hpp"
#include "before.hpp"
#include "callers.hpp"
#include "provider.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace {

using namespace demo;

struct plan {
    std::string name;
    std::size_t callers = 0;
    layers with;
};

/// What a run of all stages shares.
class bench {
public:
    bench(const workload& how, bool show_monitor)
        : how_(how), prompts_(make_prompts(how)), calls_(draw_calls(how)), show_(show_monitor) {}

    const std::vector<drawn_call>& calls() const { return calls_; }

    figures before() {
        return measure("before", how_.callers_before, 0, [&](asio::io_context& context, auto port) {
            return std::make_shared<demo::before>(context, port, scaled(how_.total_limit));
        });
    }
    figures with(const plan& chosen) {
        return measure(chosen.name, chosen.callers, chosen.callers, [&](auto& context, auto port) {
            return make_client(context, port, chosen.callers, how_, chosen.with);
        });
    }
    figures all() {
        const std::size_t callers = how_.callers_after;
        llmkit::metrics seen;
        auto measured = measure("after", callers, callers, [&](auto& context, auto port) {
            return make_full_client(context, port, callers, how_, seen);
        });
        if (show_) {
            fmt::print("monitor() in \"after\", in this machine's time:\n{}\n",
                       llmkit::to_table(seen.snapshot()));
        }
        return measured;
    }

private:
    llmkit::duration scaled(double seconds) const {
        return std::chrono::duration_cast<llmkit::duration>(
            std::chrono::duration<double>(seconds * how_.time_scale));
    }

    template <class Make>
    figures measure(const std::string& name, std::size_t callers, std::size_t pool, Make make) {
        provider upstream(how_, prompts_);
        figures seen;
        {
            asio::io_context context(1);
            llmkit::one_thread(context);
            auto client = make(context, upstream.server().port());
            std::vector<std::string> bodies;
            bodies.reserve(calls_.size());
            for (const auto& call : calls_) {
                bodies.push_back(body_of(call, prompts_[call.prompt].text, client->streams()));
            }
            stage running(how_, std::move(bodies), std::move(client), name, callers);
            seen = running.run(context);
        }
        seen.pool = pool;
        seen.upstream_max = upstream.server().in_flight_max();
        seen.upstream = upstream.server().requests();
        seen.connections = upstream.server().connections();
        seen.cost = upstream.bill();
        return seen;
    }

    const workload& how_;
    std::vector<prompt> prompts_;
    std::vector<drawn_call> calls_;
    bool show_;
};

void describe(const workload& how, const std::vector<drawn_call>& calls) {
    const auto repeats = count_repeats(calls);
    fmt::print(
        "{} calls for {} prompts, seed {}. Time runs {:g} times as fast as in the workload; all "
        "figures below are the workload's.\n",
        grouped(calls.size()), grouped(how.prompts), how.seed, 1 / how.time_scale);
    fmt::print("Asked again, one after another: {:.1f} % by the text of the body",
               100 * repeats.by_text);
    if (how.expected_hits_by_text > 0) {
        fmt::print(" (expected {:.1f} %)", 100 * how.expected_hits_by_text);
    }
    fmt::print(", {:.1f} % by its meaning", 100 * repeats.by_meaning);
    if (how.expected_hits_by_meaning > 0) {
        fmt::print(" (expected {:.1f} %)", 100 * how.expected_hits_by_meaning);
    }
    fmt::print(".\n\n");
    std::fflush(stdout);
}

int run_stages(const workload& how, bool show_monitor) {
    bench run(how, show_monitor);
    describe(how, run.calls());

    const std::size_t few = how.callers_before;
    const std::vector<plan> plans = {
        {"pooled", few, {}},
        {"+ retry", few, {.retry = true}},
        {"+ dedup", few, {.dedup = true}},
        {"+ stream", few, {.streamed = true}},
        {"+ callers", how.callers_after, {}},
    };
    std::vector<figures> stages;
    stages.push_back(run.before());
    for (const auto& one : plans) stages.push_back(run.with(one));
    stages.push_back(run.all());

    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r{:79}\r", "");
    fmt::print("{}\n{}\n", to_table(stages), errors_text(stages));
    fmt::print("{}", warnings(stages));
    fmt::print("{}", result_lines(stages.front(), stages.back()));
    return 0;
}

/// Each call of the last stage has two sockets, and both ends are in this process.
void allow_sockets(std::size_t callers) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    const rlim_t wanted = 2 * callers + 100;
    if (files.rlim_cur >= wanted) return;
    files.rlim_cur = std::min(files.rlim_max, wanted);
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < wanted) {
        fmt::print(stderr, "warning: this system allows {} open files, {} are wanted (ulimit -n)\n",
                   files.rlim_cur, wanted);
    }
}

/// Beside the current folder, or where the sources lie seen from the built program.
std::string default_workload(const char* program) {
    const std::filesystem::path named = "examples/demo/workload.json";
    if (std::filesystem::exists(named)) return named;
    return std::filesystem::path(program).parent_path() / "../../.." / named;
}

}  // namespace

int main(int count, char** arguments) {
    std::string file = default_workload(arguments[0]);
    std::optional<std::uint64_t> seed;
    std::optional<std::size_t> calls;
    bool show_monitor = false;
    real_server server;

    CLI::App app("The same workload before and after, over real HTTP on this machine.");
    app.option_defaults()->always_capture_default();
    app.add_option("--workload", file, "the workload's JSON file");
    app.add_option("--seed", seed, "another draw than the workload's own");
    app.add_option("--calls", calls, "so many calls instead of the workload's")
        ->check(CLI::PositiveNumber);
    app.add_flag("--monitor", show_monitor, "print what the last stage's monitor() says, too");
    auto* url = app.add_option("--base-url", server.base_url,
                               "ask a real server instead, such as http://localhost:8080/v1");
    auto* model = app.add_option("--model", server.model, "the model to ask there")->needs(url);
    app.add_option("--key-env", server.key_variable,
                   "the environment variable with its key (default: OPENAI_API_KEY if it is set)")
        ->needs(url);
    url->needs(model);
    CLI11_PARSE(app, count, arguments);

    if (!server.base_url.empty()) return llmkit::run(run_real(server));
    try {
        auto how = read_workload(file);
        if (seed) how.seed = *seed;
        if (calls) how.calls = *calls;
        allow_sockets(std::max(how.callers_before, how.callers_after));
        return run_stages(how, show_monitor);
    } catch (const std::exception& failed) {
        fmt::print(stderr, "{}: {}\n", file, failed.what());
        return 1;
    }
}
