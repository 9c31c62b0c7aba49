// A client that is a program of its own and says how much CPU it used.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// False when there is no such program. Ends with this object.
class helper {
public:
    helper(std::string program, std::vector<std::string> arguments) {
        int in[2];
        int out[2];
        if (::access(program.c_str(), X_OK) != 0 || ::pipe(in) != 0 || ::pipe(out) != 0) return;
        arguments.insert(arguments.begin(), std::move(program));
        process_ = ::fork();
        if (process_ == 0) {
            ::dup2(in[0], 0);
            ::dup2(out[1], 1);
            for (const int each : {in[0], in[1], out[0], out[1]}) ::close(each);
            std::vector<char*> words;
            for (auto& each : arguments) words.push_back(each.data());
            words.push_back(nullptr);
            ::execv(words[0], words.data());
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        ask_ = ::fdopen(in[1], "w");
        told_ = ::fdopen(out[0], "r");
    }
    helper(const helper&) = delete;
    helper& operator=(const helper&) = delete;
    ~helper() {
        if (!*this) return;
        std::fclose(ask_);  // the end of its input
        std::fclose(told_);
        ::waitpid(process_, nullptr, 0);
    }
    explicit operator bool() const { return process_ > 0; }

    std::size_t run(std::size_t calls) {
        std::fprintf(ask_, "%zu\n", calls);
        std::fflush(ask_);
        std::size_t answered = 0;
        if (std::fscanf(told_, "%zu %lf", &answered, &used_) != 2) return 0;
        return answered;
    }
    /// CPU seconds of the last run.
    double used() const { return used_; }

private:
    pid_t process_ = -1;
    std::FILE* ask_ = nullptr;
    std::FILE* told_ = nullptr;
    double used_ = 0;
};

}  // namespace bench
