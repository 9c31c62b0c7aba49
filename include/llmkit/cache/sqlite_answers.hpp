// llmkit/cache/sqlite_answers.hpp: the statements that read and write answers in a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/cache/sqlite_database.hpp>
#include <llmkit/core/key.hpp>

namespace llmkit::detail {

inline std::int64_t row_id(const key128& key) { return static_cast<std::int64_t>(key.low); }
inline std::int64_t row_high(const key128& key) { return static_cast<std::int64_t>(key.high); }

/// An answer as it lies in the file. Times are the calendar's, in milliseconds.
struct sqlite_row {
    std::int64_t written = 0;
    std::int64_t keep_until = 0;
    std::int64_t used = 0;
    std::string entry;
};

/// Finds answers. For one thread at a time.
class sqlite_reader {
public:
    int open(const std::string& path, sqlite_access how) {
        // Readers wait for nobody but who mends a file that a crash left behind.
        const int code = connection_.connect(path, how, 200);
        if (code != SQLITE_OK) return code;
        connection_.run("PRAGMA cache_size = -16384");  // KiB: a page at hand costs no read
        find_ = sqlite_statement(
            connection_.get(),
            "SELECT high, written, keep_until, used, entry FROM answers WHERE id = ?1");
        return find_.code();
    }
    explicit operator bool() const { return static_cast<bool>(connection_); }

    /// `SQLITE_ROW` when it is there, `SQLITE_DONE` when not.
    int find(const key128& key, sqlite_row& into) {
        int code = find_.bind(1, row_id(key)).step();
        if (code == SQLITE_ROW && find_.number(0) != row_high(key)) code = SQLITE_DONE;
        if (code == SQLITE_ROW) {
            into.written = find_.number(1);
            into.keep_until = find_.number(2);
            into.used = find_.number(3);
            into.entry = find_.blob(4);
        }
        find_.reset();
        return code;
    }
    std::string message() const { return connection_.message(); }

private:
    sqlite_connection connection_;
    sqlite_statement find_;
};

/// Writes answers, a transaction at a time, and keeps the file within its size. For one thread.
class sqlite_writer {
public:
    sqlite_writer() = default;
    explicit sqlite_writer(sqlite_connection to) : connection_(std::move(to)) {
        const auto prepare = [this](sqlite_statement& into, const char* text) {
            into = sqlite_statement(connection_.get(), text);
            if (code_ == SQLITE_OK) code_ = into.code();
        };
        prepare(begin_, "BEGIN IMMEDIATE");
        prepare(commit_, "COMMIT");
        prepare(put_, "INSERT OR REPLACE INTO answers VALUES(?1, ?2, ?3, ?4, ?3, ?5)");
        prepare(erase_, "DELETE FROM answers WHERE id = ?1 AND high = ?2");
        prepare(touch_, "UPDATE answers SET used = ?3 WHERE id = ?1 AND high = ?2");
        prepare(expire_,
                "DELETE FROM answers WHERE id IN"
                " (SELECT id FROM answers WHERE keep_until <= ?1 ORDER BY keep_until LIMIT 256)");
        prepare(evict_,
                "DELETE FROM answers WHERE id IN"
                " (SELECT id FROM answers ORDER BY used LIMIT 64)");
    }
    explicit operator bool() const { return static_cast<bool>(connection_); }

    /// SQLite's code for the first thing that went wrong since `begin`.
    int code() const { return code_; }
    std::string message() const { return connection_.message(); }

    void begin() {
        code_ = SQLITE_OK;
        done(begin_.run());
    }
    void put(const key128& key, std::int64_t now, std::int64_t keep_until, std::string_view entry) {
        if (code_ != SQLITE_OK) return;
        put_.bind(1, row_id(key)).bind(2, row_high(key)).bind(3, now).bind(4, keep_until);
        done(put_.bind(5, entry).run());
    }
    void erase(const key128& key) {
        if (code_ != SQLITE_OK) return;
        done(erase_.bind(1, row_id(key)).bind(2, row_high(key)).run());
    }
    void touch(const key128& key, std::int64_t now) {
        if (code_ != SQLITE_OK) return;
        done(touch_.bind(1, row_id(key)).bind(2, row_high(key)).bind(3, now).run());
    }
    /// Takes out some of what is of no more use; how many.
    int expire(std::int64_t now) {
        if (code_ != SQLITE_OK) return 0;
        done(expire_.bind(1, now).run());
        return code_ == SQLITE_OK ? connection_.changes() : 0;
    }
    /// Takes out some of what was not asked for the longest; how many.
    int evict() {
        if (code_ != SQLITE_OK) return 0;
        done(evict_.run());
        return code_ == SQLITE_OK ? connection_.changes() : 0;
    }
    /// True when all since `begin` is in the file; else nothing is.
    bool commit() {
        if (code_ == SQLITE_OK) done(commit_.run());
        if (code_ == SQLITE_OK) return true;
        if (sqlite3_get_autocommit(connection_.get()) == 0) connection_.run("ROLLBACK");
        return false;
    }

    /// What the answers take of the file, in bytes: its pages without the free ones, which are used
    /// again.
    std::uint64_t bytes() {
        int code = SQLITE_OK;
        const std::int64_t all = connection_.ask("PRAGMA page_count", code);
        const std::int64_t free = connection_.ask("PRAGMA freelist_count", code);
        const std::int64_t size = connection_.ask("PRAGMA page_size", code);
        return static_cast<std::uint64_t>((all - free) * size);
    }

private:
    void done(int code) {
        if (code_ == SQLITE_OK && code != SQLITE_DONE) code_ = code;
    }

    sqlite_connection connection_;
    sqlite_statement begin_, commit_, put_, erase_, touch_, expire_, evict_;
    int code_ = SQLITE_OK;
};

}  // namespace llmkit::detail
