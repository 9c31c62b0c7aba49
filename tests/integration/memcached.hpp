// A real memcached: Debian's, on a free loopback port, for one test.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "integration/nginx.hpp"

namespace llmkit_test {

/// memcached, whose items are lost when it ends.
///
///     memcached_server server(folder, {"-m", "8"});
///     server.kill();                                  // like kill -9
///     server.start();                                 // again, empty, at the same port
class memcached_server {
public:
    explicit memcached_server(const temporary_folder& in, std::vector<std::string> words = {})
        : port(free_port()), in_(in), words_(std::move(words)) {
        start();
    }
    memcached_server(const memcached_server&) = delete;
    memcached_server& operator=(const memcached_server&) = delete;
    ~memcached_server() { kill(); }

    void start() {
        std::vector<std::string> all{
            "memcached", "-p", std::to_string(port), "-l", "127.0.0.1", "-U", "0", "-t", "1"};
        if (::geteuid() == 0) all.insert(all.end(), {"-u", "nobody"});
        all.insert(all.end(), words_.begin(), words_.end());
        process_ = start_program(all, (in_.path() / "memcached.log").string());
        if (process_ < 0)
            throw std::runtime_error("memcached is missing (Debian: apt-get install memcached)");
        for (int tries = 0; tries < 6000; ++tries) {
            if (accepts()) return;
            if (::waitpid(process_, nullptr, WNOHANG) == process_) {
                process_ = -1;
                break;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        kill();
        throw std::runtime_error("memcached does not start: " + in_.read("memcached.log"));
    }
    void kill() {
        if (process_ < 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = -1;
    }
    void stop() const { ::kill(process_, SIGSTOP); }
    void go_on() const { ::kill(process_, SIGCONT); }
    std::string name() const { return "127.0.0.1:" + std::to_string(port); }

    const unsigned short port;

private:
    bool accepts() const {
        asio::io_context context;
        asio::ip::tcp::socket probe(context);
        std::error_code failed;
        probe.connect({asio::ip::address_v4::loopback(), port}, failed);
        return !failed;
    }
    const temporary_folder& in_;
    const std::vector<std::string> words_;
    pid_t process_ = -1;
};

}  // namespace llmkit_test
