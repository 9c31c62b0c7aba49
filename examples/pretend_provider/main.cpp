// A provider that lives on this machine and thinks of nothing: to try the examples without a key.
//
//     pretend_provider ./01_hello                      runs the program with OPENAI_BASE_URL set
//     pretend_provider --first 400 --each 20 ./program answers as slowly as a real one
//     pretend_provider                                 prints its address and serves until Ctrl-C
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <llmkit/testing/http_server.hpp>
#include <llmkit/testing/openai_replies.hpp>

using namespace llmkit::testing;
using std::chrono::milliseconds;

namespace {

struct habits {
    int first = 0;       // milliseconds before the first word
    int each = 0;        // and before every further one
    int fail_every = 0;  // every so manieth call gets a 503
};

// "You said: Tell me a story. …", word by word; the same question has the same answer.
std::vector<std::string> words_for(const nlohmann::json& ask) {
    std::string question;
    for (const auto& message : ask.value("messages", nlohmann::json::array())) {
        const auto content = message.value("content", nlohmann::json());
        if (message.value("role", "") == "user" && content.is_string()) {
            question = content.get<std::string>();
        }
    }
    std::string text = "You said: " + question + " I am a pretend model and know no more than that";
    text += ", but I say it in as many words as a real one would. That is all.";
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at + 1), text.size());
        words.push_back(text.substr(at, end - at));
        at = end;
    }
    return words;
}

server_reply chat(const nlohmann::json& ask, const habits& how) {
    const auto words = words_for(ask);
    const std::string model = ask.value("model", "pretend");
    llmkit::token_usage usage;
    usage.input =
        static_cast<std::int64_t>(ask.value("messages", nlohmann::json()).dump().size() / 4);
    usage.output = static_cast<std::int64_t>(words.size());
    server_reply reply;
    reply.pause(milliseconds(how.first));
    if (!ask.value("stream", false)) {
        std::string text;
        for (const auto& word : words) text += word;
        reply.pause(milliseconds(how.each) * (words.size() - 1));
        return reply.header("Content-Type", "application/json")
            .body(openai_body(text, usage, model));
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) reply.pause(milliseconds(how.each));
        reply.event(openai_chunk(words[i], i == 0, model));
    }
    reply.event(openai_finish("stop", model));
    const auto options = ask.value("stream_options", nlohmann::json::object());
    if (options.value("include_usage", false)) reply.event(openai_usage(usage, model));
    return reply.event("[DONE]");
}

server_reply embeddings(const nlohmann::json& ask) {
    nlohmann::json data = nlohmann::json::array();
    std::vector<std::string> inputs;
    if (ask.at("input").is_string()) {
        inputs.push_back(ask.at("input").get<std::string>());
    } else {
        inputs = ask.at("input").get<std::vector<std::string>>();
    }
    for (const auto& input : inputs) {
        data.push_back({{"object", "embedding"},
                        {"index", data.size()},
                        {"embedding", {static_cast<double>(input.size()), 1.0}}});
    }
    const nlohmann::json body = {{"object", "list"},
                                 {"model", ask.value("model", "pretend")},
                                 {"data", data},
                                 {"usage", {{"prompt_tokens", 1}, {"total_tokens", 1}}}};
    return server_reply().header("Content-Type", "application/json").body(body.dump());
}

class pretend_provider {
public:
    explicit pretend_provider(habits how)
        : how_(how), server_([this](const server_request& ask) { return answer(ask); }) {}

    std::string base_url() const { return server_.base_url(); }

private:
    server_reply answer(const server_request& request) {
        if (request.target == "/counts") {
            const nlohmann::json seen = {{"requests", calls_.load()},
                                         {"connections", server_.connections()},
                                         {"in_flight_max", server_.in_flight_max()},
                                         {"departures", server_.departures()}};
            return server_reply().header("Content-Type", "application/json").body(seen.dump());
        }
        const int number = ++calls_;
        if (how_.fail_every > 0 && number % how_.fail_every == 0) {
            return openai_error(503, "The pretend model is overloaded", "server_error");
        }
        const auto ask = nlohmann::json::parse(request.body, nullptr, false);
        if (!ask.is_object()) return openai_error(400, "The body is not a JSON object");
        // The model "error-429" answers with that status, to see what a program makes of it.
        const std::string model = ask.value("model", "");
        if (model.starts_with("error-")) {
            return openai_error(std::stoi(model.substr(6)), "You asked for this error");
        }
        if (request.target == "/v1/chat/completions") return chat(ask, how_);
        if (request.target == "/v1/embeddings") return embeddings(ask);
        return openai_error(404, "There is nothing at " + request.target);
    }

    habits how_;
    std::atomic<int> calls_{0};
    http_server server_;
};

// Runs the program and waits for it. Ctrl-C is the program's business then.
int run_program(const std::vector<std::string>& words) {
    std::vector<char*> arguments;
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t program = fork();
    if (program == 0) {
        execvp(arguments[0], arguments.data());
        std::perror(arguments[0]);
        _exit(127);
    }
    std::signal(SIGINT, SIG_IGN);
    int status = 0;
    waitpid(program, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
    habits how;
    std::vector<std::string> program;
    CLI::App options("A provider that lives on this machine and thinks of nothing");
    options.add_option("--first", how.first, "milliseconds before the first word");
    options.add_option("--each", how.each, "milliseconds before every further word");
    options.add_option("--fail-every", how.fail_every, "every so manieth call gets a 503");
    options.add_option("program", program, "a program to run with OPENAI_BASE_URL set");
    options.positionals_at_end();
    CLI11_PARSE(options, argc, argv);

    pretend_provider provider(how);
    setenv("OPENAI_BASE_URL", provider.base_url().c_str(), 1);
    setenv("OPENAI_API_KEY", "pretend", 1);
    if (!program.empty()) return run_program(program);
    fmt::print("export OPENAI_BASE_URL={} OPENAI_API_KEY=pretend\n", provider.base_url());
    std::fflush(stdout);
    pause();
    return 0;
}
