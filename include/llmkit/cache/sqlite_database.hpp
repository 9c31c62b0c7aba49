// llmkit/cache/sqlite_database.hpp: one connection to a file of answers, and how it is opened.
#pragma once

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <llmkit/core/error.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit::detail {

/// Whether the file itself is broken, so that no other try can help.
inline bool sqlite_damaged(int code) {
    return (code & 0xFF) == SQLITE_CORRUPT || (code & 0xFF) == SQLITE_NOTADB;
}

/// A prepared statement. Reset after each use, so that no transaction stays open.
class sqlite_statement {
public:
    sqlite_statement() = default;
    sqlite_statement(sqlite3* in, const char* text) {
        sqlite3_stmt* made = nullptr;
        code_ = sqlite3_prepare_v3(in, text, -1, SQLITE_PREPARE_PERSISTENT, &made, nullptr);
        held_.reset(made);
    }

    /// How preparing it went.
    int code() const { return code_; }
    sqlite_statement& bind(int place, std::int64_t value) {
        sqlite3_bind_int64(held_.get(), place, value);
        return *this;
    }
    /// The text must live until `reset`.
    sqlite_statement& bind(int place, std::string_view blob) {
        sqlite3_bind_blob64(held_.get(), place, blob.data(), blob.size(), SQLITE_STATIC);
        return *this;
    }
    int step() { return sqlite3_step(held_.get()); }
    void reset() { sqlite3_reset(held_.get()); }
    /// Steps once and resets: `SQLITE_DONE` when all went well.
    int run() {
        const int code = step();
        reset();
        return code;
    }
    std::int64_t number(int column) const { return sqlite3_column_int64(held_.get(), column); }
    std::string blob(int column) const {
        const void* from = sqlite3_column_blob(held_.get(), column);
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(held_.get(), column));
        return from ? std::string(static_cast<const char*>(from), size) : std::string();
    }

private:
    struct finalize {
        void operator()(sqlite3_stmt* one) const { sqlite3_finalize(one); }
    };
    std::unique_ptr<sqlite3_stmt, finalize> held_;
    int code_ = SQLITE_OK;
};

/// What can be done with a file, from best to least.
enum class sqlite_access : std::uint8_t {
    write,
    read,       ///< on a disk that cannot be written to
    immutable,  ///< nor have the files beside it that readers share: read as it lies there
};

/// A connection. For one thread at a time.
class sqlite_connection {
public:
    static constexpr std::int64_t application_id = 0x6C6C6D6B;  // "llmk"
    static constexpr std::int64_t schema = 1;

    sqlite_connection() = default;
    explicit operator bool() const { return held_ != nullptr; }
    sqlite3* get() const { return held_.get(); }

    int connect(const std::string& path, sqlite_access how, int busy_ms) {
        held_.reset();
        int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
        flags |= how == sqlite_access::write ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                             : SQLITE_OPEN_READONLY;
        std::string name = path;
        if (how == sqlite_access::immutable) {
            flags |= SQLITE_OPEN_URI;
            name = "file:" + escaped(path) + "?immutable=1";
        }
        sqlite3* made = nullptr;
        const int code = sqlite3_open_v2(name.c_str(), &made, flags, nullptr);
        held_.reset(made);
        if (code != SQLITE_OK) return code;
        sqlite3_extended_result_codes(made, 1);
        sqlite3_busy_timeout(made, busy_ms);
        return SQLITE_OK;
    }
    int run(const char* text) { return sqlite3_exec(held_.get(), text, nullptr, nullptr, nullptr); }
    /// The number that a statement gives; `code` says how it went.
    std::int64_t ask(const char* text, int& code) {
        sqlite_statement one(held_.get(), text);
        code = one.code();
        if (code != SQLITE_OK) return 0;
        code = one.step();
        const std::int64_t value = code == SQLITE_ROW ? one.number(0) : 0;
        if (code == SQLITE_ROW || code == SQLITE_DONE) code = SQLITE_OK;
        return value;
    }
    std::string message() const { return sqlite3_errmsg(held_.get()); }
    bool read_only() const { return sqlite3_db_readonly(held_.get(), "main") == 1; }
    int changes() const { return sqlite3_changes(held_.get()); }

private:
    static std::string escaped(const std::string& path) {
        std::string out;
        for (const char c : path) {
            if (c == '%' || c == '?' || c == '#') {
                out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
            } else {
                out += c;
            }
        }
        return out;
    }

    struct close {
        void operator()(sqlite3* one) const { sqlite3_close_v2(one); }
    };
    std::unique_ptr<sqlite3, close> held_;
};

/// An open file, fit for answers.
struct sqlite_file {
    sqlite_connection connection;
    sqlite_access access = sqlite_access::write;
    bool moved_aside = false;  ///< there was one that was damaged
    std::pair<std::uint64_t, std::uint64_t> identity;
};

/// Which file lies at a path, so that nobody moves aside what another process has just made.
inline std::pair<std::uint64_t, std::uint64_t> identity_of(const std::string& path) {
    struct stat found{};
    if (::stat(path.c_str(), &found) != 0) return {0, 0};
    return {static_cast<std::uint64_t>(found.st_dev), static_cast<std::uint64_t>(found.st_ino)};
}

/// Opens a file of answers, and makes it when there is none, readable for its owner only.
///
/// A damaged file of ours is renamed to PATH.damaged and a new one begun: it is only a cache. What
/// is not ours, or was written by a newer llmkit, is refused and left as it is.
class sqlite_opener {
public:
    explicit sqlite_opener(std::string path) : path_(std::move(path)) {}

    result<sqlite_file> open() {
        sqlite_file file;
        int code = attempt(file);
        if (sqlite_damaged(code) && ours()) {
            move_aside(identity_of(path_));
            code = attempt(file);
            file.moved_aside = true;
        }
        if (refusal_) return *refusal_;
        if (code != SQLITE_OK) return failure(code, file.connection);
        file.identity = identity_of(path_);
        return file;
    }

    /// Renames the file, if it still is this one.
    void move_aside(std::pair<std::uint64_t, std::uint64_t> which) const {
        if (identity_of(path_) != which) return;
        std::rename(path_.c_str(), (path_ + ".damaged").c_str());
        for (const char* beside : {"-wal", "-shm"}) std::remove((path_ + beside).c_str());
    }

private:
    static constexpr int patience_ms = 5000;

    int attempt(sqlite_file& file) {
        // Answers are private. Only if it is new: closing a file that somebody else in this process
        // has open would end his locks.
        const int made = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (made >= 0) ::close(made);
        int code = SQLITE_OK;
        for (const auto how :
             {sqlite_access::write, sqlite_access::read, sqlite_access::immutable}) {
            file.access = how;
            code = file.connection.connect(path_, how, patience_ms);
            if (code == SQLITE_OK && how == sqlite_access::write && file.connection.read_only())
                continue;
            if (code == SQLITE_OK) code = prepare(file.connection, how);
            const int kind = code & 0xFF;
            if (kind != SQLITE_CANTOPEN && kind != SQLITE_READONLY && kind != SQLITE_PERM) break;
        }
        return code;
    }

    int prepare(sqlite_connection& in, sqlite_access how) {
        int code = recognise(in);
        if (code != SQLITE_OK || refusal_ || how != sqlite_access::write) return code;
        code = patiently([&] { return in.run("PRAGMA journal_mode = WAL"); });
        if (code == SQLITE_OK) code = in.run("PRAGMA synchronous = NORMAL");
        if (code == SQLITE_OK) code = in.run("PRAGMA journal_size_limit = 16777216");
        if (code == SQLITE_OK && fresh_) code = make_tables(in);
        return code;
    }

    /// Whose file it is; sets `fresh_` or a refusal.
    int recognise(sqlite_connection& in) {
        int code = SQLITE_OK;
        const std::int64_t owner = in.ask("PRAGMA application_id", code);
        if (code != SQLITE_OK) return code;
        const std::int64_t version = in.ask("PRAGMA user_version", code);
        if (code != SQLITE_OK) return code;
        const std::int64_t tables = in.ask("SELECT count(*) FROM sqlite_schema", code);
        if (code != SQLITE_OK) return code;
        fresh_ = owner == 0 && version == 0 && tables == 0;
        if (fresh_) return code;
        if (owner != sqlite_connection::application_id) {
            refuse("is a database of something else", "Name another file for the cache.");
        } else if (version > sqlite_connection::schema) {
            refuse(fmt::format("was written by a newer llmkit (schema {}; this one knows {})",
                               version, sqlite_connection::schema),
                   "Use the newer llmkit, or name another file for this one's cache.");
        }
        return code;
    }

    int make_tables(sqlite_connection& in) {
        int code = in.run("BEGIN IMMEDIATE");
        if (code != SQLITE_OK) return code;
        code = recognise(in);  // another process may have been quicker
        if (code == SQLITE_OK && fresh_) {
            // The id is half of the key, which is a hash: the quickest look-up that there is.
            code = in.run(
                "CREATE TABLE answers(id INTEGER PRIMARY KEY, high INTEGER NOT NULL,"
                " written INTEGER NOT NULL, keep_until INTEGER NOT NULL, used INTEGER NOT NULL,"
                " entry BLOB NOT NULL);"
                "CREATE INDEX by_end ON answers(keep_until);"
                "CREATE INDEX by_use ON answers(used);");
            const auto number = [&](const char* name, std::int64_t value) {
                if (code != SQLITE_OK) return;
                code = in.run(fmt::format("PRAGMA {} = {}", name, value).c_str());
            };
            number("application_id", sqlite_connection::application_id);
            number("user_version", sqlite_connection::schema);
        }
        const int ended = in.run(code == SQLITE_OK ? "COMMIT" : "ROLLBACK");
        return code == SQLITE_OK ? ended : code;
    }

    // Changing the journal's mode does not wait for others by itself.
    template <class Try>
    static int patiently(const Try& once) {
        int code = once();
        for (int slept = 0; (code & 0xFF) == SQLITE_BUSY && slept < patience_ms; slept += 10) {
            sqlite3_sleep(10);
            code = once();
        }
        return code;
    }

    /// Whether a file that SQLite cannot read was a cache once, by its first bytes.
    bool ours() const {
        std::array<char, 72> head{};
        std::ifstream in(path_, std::ios::binary);
        if (!in.read(head.data(), head.size())) return false;
        std::int64_t owner = 0;
        for (std::size_t i = 68; i < 72; ++i)
            owner = owner << 8 | static_cast<unsigned char>(head[i]);
        return std::string_view(head.data(), 15) == "SQLite format 3" &&
               owner == sqlite_connection::application_id;
    }

    void refuse(std::string_view why, std::string advice) {
        refusal_ = error(error_kind::configuration, fmt::format("{} {}", path_, why))
                       .with_advice(std::move(advice));
    }
    error failure(int code, const sqlite_connection& in) const {
        const std::string why = in ? in.message() : std::string(sqlite3_errstr(code));
        return error(error_kind::configuration, fmt::format("cannot open {}: {}", path_, why))
            .with_advice("Check that the folder is there, may be written to, and has room.");
    }

    const std::string path_;
    bool fresh_ = false;
    std::optional<error> refusal_;
};

}  // namespace llmkit::detail
