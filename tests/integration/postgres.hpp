// Debian's PostgreSQL on a free loopback port, for one test.
#pragma once

#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "integration/nginx.hpp"

namespace llmkit_test {

/// A database cluster of its own, with the user `tester` and the password `sesame open`. Throws with
/// a plain message when PostgreSQL is missing, so the test fails instead of having tested nothing.
class postgres_server {
public:
    static constexpr const char* password = "sesame open";

    explicit postgres_server(std::vector<std::string> settings = {})
        : settings_(std::move(settings)), port_(free_port()) {
        hand_over(make_folder("home"));
        // One that was made before is copied: making one takes a second.
        static const postgres_server blank(for_copies{});
        if (!run_program(run_as({"cp", "-r", blank.data(), data()}), log()))
            throw std::runtime_error("cp failed: " + folder_.read("log"));
        start();
    }
    postgres_server(const postgres_server&) = delete;
    postgres_server& operator=(const postgres_server&) = delete;
    ~postgres_server() { kill(); }

    std::string url(const std::string& with_password = "sesame%20open") const {
        return "postgresql://tester:" + with_password + "@127.0.0.1:" + std::to_string(port_) +
               "/postgres?sslmode=prefer";
    }
    unsigned short port() const { return port_; }
    const temporary_folder& folder() const { return folder_; }
    std::string data() const { return home() + "/data"; }

    std::string home() const { return (folder_.path() / "home").string(); }
    /// A file that only the server may read.
    void give(const std::string& name, const std::string& text) const {
        folder_.write(name, text);
        const std::string path = (folder_.path() / name).string();
        std::filesystem::permissions(path, std::filesystem::perms(0600));
        hand_over(path);
    }

    /// Starts it, and waits until it lets somebody in.
    void start() {
        for (int tries = 0; tries < 300; ++tries) {
            if (process_ <= 0) launch();
            if (answers()) return;
            if (::waitpid(process_, nullptr, WNOHANG) == process_)
                process_ = -1;  // what was killed is not all gone yet
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }
        throw std::runtime_error("PostgreSQL does not start: " + folder_.read("log"));
    }
    /// As a machine that loses its power.
    void kill() {
        if (process_ <= 0) return;
        signal(SIGCONT);
        auto all = processes();
        for (const pid_t one : all) ::kill(one, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = -1;
    }
    /// To the server and all its processes.
    void signal(int which) const {
        for (const pid_t one : processes()) ::kill(one, which);
    }

    /// Runs SQL as an administrator; the first value that it gives, or "".
    std::string sql(const std::string& text) const {
        const std::unique_ptr<PGconn, void (*)(PGconn*)> over(PQconnectdb(url().c_str()), PQfinish);
        const std::unique_ptr<PGresult, void (*)(PGresult*)> rows(PQexec(over.get(), text.c_str()),
                                                                  PQclear);
        const auto how = PQresultStatus(rows.get());
        if (how != PGRES_TUPLES_OK && how != PGRES_COMMAND_OK)
            throw std::runtime_error(text + ": " + PQerrorMessage(over.get()));
        if (PQntuples(rows.get()) == 0 || PQnfields(rows.get()) == 0) return "";
        return PQgetvalue(rows.get(), 0, 0);
    }

private:
    struct for_copies {};
    explicit postgres_server(for_copies) : port_(0) {
        hand_over(make_folder("home"));
        give("home/password", password);
        if (!run_program(run_as({program("initdb"), "-D", data(), "-U", "tester", "--pwfile",
                                 home() + "/password", "--auth=scram-sha-256", "--no-sync",
                                 "--encoding=UTF8", "--locale=C", "--no-instructions"}),
                         log()))
            throw std::runtime_error("initdb failed: " + folder_.read("log"));
    }
    std::string make_folder(const std::string& name) const {
        const auto path = folder_.path() / name;
        std::filesystem::create_directory(path);
        return path.string();
    }
    // Root is refused by PostgreSQL: then as somebody else.
    static const passwd* other_user() {
        if (::geteuid() != 0) return nullptr;
        const passwd* other = ::getpwnam("postgres");
        if (!other) other = ::getpwnam("nobody");
        if (!other) throw std::runtime_error("there is no user postgres, and none nobody");
        return other;
    }
    static void hand_over(const std::string& path) {
        const passwd* other = other_user();
        if (other && ::chown(path.c_str(), other->pw_uid, other->pw_gid) != 0)
            throw std::runtime_error("cannot give a file to another user");
    }
    static std::vector<std::string> run_as(const std::vector<std::string>& words) {
        std::vector<std::string> out;
        if (const passwd* other = other_user())
            out = {"setpriv", "--reuid=" + std::to_string(other->pw_uid),
                   "--regid=" + std::to_string(other->pw_gid), "--clear-groups", "--"};
        out.insert(out.end(), words.begin(), words.end());
        return out;
    }
    std::string log() const { return (folder_.path() / "log").string(); }

    // Not on the PATH in Debian: there may be several versions.
    static std::string program(const std::string& name) {
        std::string newest;
        std::error_code none;
        for (const auto& each : std::filesystem::directory_iterator("/usr/lib/postgresql", none))
            newest = std::max(newest, each.path().string() + "/bin/");
        if (newest.empty())
            throw std::runtime_error("PostgreSQL is missing (Debian: apt-get install postgresql)");
        return newest + name;
    }
    void launch() {
        std::vector<std::string> words{program("postgres"),
                                       "-D",
                                       data(),
                                       "-p",
                                       std::to_string(port_),
                                       "-k",
                                       home(),
                                       "-c",
                                       "listen_addresses=127.0.0.1",
                                       "-c",
                                       "fsync=off",
                                       "-c",
                                       "max_connections=20",
                                       "-c",
                                       "shared_buffers=8MB",
                                       "-c",
                                       "autovacuum=off"};
        for (const auto& each : settings_) words.insert(words.end(), {"-c", each});
        process_ = start_program(run_as(words), log());
        if (process_ < 0)
            throw std::runtime_error("setpriv is missing (Debian: apt-get install util-linux)");
    }
    bool answers() const {
        const std::unique_ptr<PGconn, void (*)(PGconn*)> over(
            PQconnectdb((url() + "&connect_timeout=10").c_str()), PQfinish);
        return PQstatus(over.get()) == CONNECTION_OK;
    }
    // The server first, then those that it has made.
    std::vector<pid_t> processes() const {
        std::vector<pid_t> out;
        if (process_ <= 0) return out;
        out.push_back(process_);
        const std::string self = std::to_string(process_);
        std::ifstream children("/proc/" + self + "/task/" + self + "/children");
        for (pid_t one = 0; children >> one;) out.push_back(one);
        return out;
    }

    const std::vector<std::string> settings_;
    const unsigned short port_;
    temporary_folder folder_;
    pid_t process_ = -1;
};

}  // namespace llmkit_test
