// A real server that nobody here wrote: Debian's nginx on free loopback ports, for one test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

extern char** environ;

namespace llmkit_test {

/// A folder of its own, removed with what is in it.
class temporary_folder {
public:
    temporary_folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "llmkit-XXXXXX").string();
        if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary folder");
        path_ = pattern;
        // nginx's workers run as another user when the tests run as root.
        std::filesystem::permissions(path_, std::filesystem::perms(0755));
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }
    void write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories((path_ / name).parent_path());
        std::ofstream(path_ / name, std::ios::binary) << text;
    }
    std::string read(const std::string& name) const {
        std::ifstream in(path_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

private:
    std::filesystem::path path_;
};

/// Starts a program with its output in `log`; -1 when there is none of that name.
inline pid_t start_program(std::vector<std::string> words, const std::string& log) {
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                       0644);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child = -1;
    const int failed =
        ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    return failed ? -1 : child;
}
/// Runs a program to its end; whether it ended well.
inline bool run_program(std::vector<std::string> words, const std::string& log) {
    const pid_t child = start_program(std::move(words), log);
    int status = 1;
    return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

/// A loopback port that was free a moment ago.
inline unsigned short free_port() {
    asio::io_context context;
    asio::ip::tcp::acceptor probe(context, {asio::ip::address_v4::loopback(), 0});
    return probe.local_endpoint().port();
}
/// A server that nobody here wrote, at a loopback port; it ends with this object. Throws with a plain
/// message when it is missing or does not start, so the test fails instead of passing without having
/// tested anything.
///
///     server_program server("nghttpd", "nghttp2-server", port, {"--no-tls", std::to_string(port)},
///                           folder);
class server_program {
public:
    /// Its output goes to `NAME.log` in the folder. `package` is what Debian calls it.
    server_program(const std::string& name, const std::string& package, unsigned short port,
                   std::vector<std::string> words, const temporary_folder& in) {
        // Not on the PATH of ordinary users in Debian.
        const std::string there = "/usr/sbin/" + name;
        words.insert(words.begin(), ::access(there.c_str(), X_OK) == 0 ? there : name);
        process_ = start_program(std::move(words), (in.path() / (name + ".log")).string());
        if (process_ < 0)
            throw std::runtime_error(name + " is missing (Debian: apt-get install " + package +
                                     ")");
        for (int tries = 0; tries < 1000; ++tries) {
            if (answers(port)) return;
            if (::waitpid(process_, nullptr, WNOHANG) == process_) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        throw std::runtime_error(name + " does not start: " + in.read(name + ".log"));
    }
    server_program(const server_program&) = delete;
    server_program& operator=(const server_program&) = delete;
    ~server_program() {
        ::kill(process_, SIGTERM);
        ::waitpid(process_, nullptr, 0);
    }

private:
    static bool answers(unsigned short port) {
        asio::io_context context;
        asio::ip::tcp::socket probe(context);
        std::error_code failed;
        probe.connect({asio::ip::address_v4::loopback(), port}, failed);
        return !failed;
    }
    pid_t process_ = -1;
};

/// A certificate authority and the certificates it signs, made by openssl(1) in a folder.
///
///     certificates made(folder);
///     made.sign("good", "DNS:localhost,IP:127.0.0.1");     // good.pem, good.key; ca.pem
class certificates {
public:
    explicit certificates(const temporary_folder& in) : in_(in) {
        openssl({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out",
                 "ca.pem", "-subj", "/CN=llmkit test CA", "-days", "2"});
    }
    /// `names` as in subjectAltName; `expired`: valid for one day, ten years ago.
    void sign(const std::string& name, const std::string& names, bool expired = false) {
        openssl({"req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out",
                 name + ".csr", "-subj", "/CN=" + name});
        // `openssl ca` is the one command of OpenSSL 3.0 that sets both dates.
        in_.write(name + ".cnf",
                  "[ca]\ndefault_ca=it\n[it]\ndatabase=" + file(name + ".index") + "\nserial=" +
                      file(name + ".serial") + "\nnew_certs_dir=" + in_.path().string() +
                      "\ndefault_md=sha256\npolicy=any\nx509_extensions=" +
                      "names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=" + names + "\n");
        in_.write(name + ".index", "");
        in_.write(name + ".serial", "01\n");
        const std::string from = expired ? "20150101000000Z" : "20200101000000Z";
        const std::string to = expired ? "20150102000000Z" : "20490101000000Z";
        openssl({"ca", "-batch", "-config", file(name + ".cnf"), "-cert", "ca.pem", "-keyfile",
                 "ca.key", "-in", name + ".csr", "-out", name + ".pem", "-notext", "-startdate",
                 from, "-enddate", to});
    }
    std::string file(const std::string& name) const { return (in_.path() / name).string(); }
    std::string ca() const { return file("ca.pem"); }

private:
    void openssl(std::vector<std::string> words) {
        // Paths are relative to the folder; openssl has no option for it.
        for (auto& word : words) {
            const bool name =
                word.ends_with(".pem") || word.ends_with(".key") || word.ends_with(".csr");
            if (name && word.front() != '/') word = file(word);
        }
        words.insert(words.begin(), "openssl");
        if (!run_program(words, file("openssl.log")))
            throw std::runtime_error("openssl failed (Debian: apt-get install openssl): " +
                                     in_.read("openssl.log"));
    }
    const temporary_folder& in_;
};

/// nginx with the given `server { … }` blocks. Throws with a plain message when it is missing, so
/// the test fails instead of passing without having tested anything.
///
///     const auto port = free_port();
///     nginx web(folder, "server { listen 127.0.0.1:" + std::to_string(port) + "; … }");
class nginx {
public:
    /// With `workers` it has processes that a reload replaces.
    nginx(const temporary_folder& in, const std::string& servers, bool workers = false) {
        const std::string folder = in.path().string();
        std::string config = std::string("daemon off; master_process ") + (workers ? "on" : "off") +
                             "; worker_processes 1;\npid " + folder + "/nginx.pid; error_log " +
                             folder +
                             "/error.log notice;\nevents { worker_connections 512; }\n"
                             "http { access_log off; default_type application/json;\n";
        for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
            config += std::string(kind) + "_temp_path " + folder + "/" + kind + ";\n";
        in.write("nginx.conf", config + servers + "\n}\n");
        process_ = start_program({program(), "-c", folder + "/nginx.conf", "-p", folder},
                                 folder + "/nginx.log");
        if (process_ < 0)
            throw std::runtime_error("nginx is missing (Debian: apt-get install nginx-light)");
        for (int tries = 0; tries < 500; ++tries) {
            if (std::filesystem::exists(in.path() / "nginx.pid")) return;
            if (::waitpid(process_, nullptr, WNOHANG) == process_) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        throw std::runtime_error("nginx does not start: " + in.read("nginx.log") +
                                 in.read("error.log"));
    }
    /// New processes for new connections; the old ones end with theirs.
    void reload() { ::kill(process_, SIGHUP); }
    nginx(const nginx&) = delete;
    nginx& operator=(const nginx&) = delete;
    ~nginx() {
        ::kill(process_, SIGTERM);
        ::waitpid(process_, nullptr, 0);
    }

private:
    // Not on the PATH of ordinary users in Debian.
    static std::string program() {
        return ::access("/usr/sbin/nginx", X_OK) == 0 ? "/usr/sbin/nginx" : "nginx";
    }
    pid_t process_ = -1;
};

}  // namespace llmkit_test
