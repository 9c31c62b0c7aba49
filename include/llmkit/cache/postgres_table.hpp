// llmkit/cache/postgres_table.hpp: the table of answers in PostgreSQL, and what is said to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <llmkit/cache/codec.hpp>
#include <llmkit/core/error.hpp>
#include <llmkit/core/key.hpp>
#include <llmkit/core/result.hpp>

namespace llmkit::detail {

/// A table of answers by name: "answers", or "schema.answers". Its comment says whose it is and in
/// which version, so that it needs no second table. Its times are the server's: machines whose
/// clocks disagree agree on how old an answer is.
class postgres_table {
public:
    static constexpr int schema = 1;

    explicit postgres_table(std::string name)
        : name_(std::move(name)),
          quoted_(quoted(name_)),
          lock_(static_cast<std::int64_t>(hash128(quoted_).low)) {}

    const std::string& name() const { return name_; }

    /// $1 the table as PostgreSQL writes it. Gives whether it is there, and its comment, both as of
    /// one moment: `to_regclass` alone sees what was made since.
    static constexpr const char* look =
        "SELECT count(*) > 0, max(said.description) FROM pg_class AS it LEFT JOIN pg_description"
        " AS said ON said.objoid = it.oid AND said.classoid = 'pg_class'::regclass"
        " AND said.objsubid = 0 WHERE it.oid = to_regclass($1)";
    const std::string& regclass() const { return quoted_; }

    /// Whether the table has to be made; an error when it is none of ours.
    result<bool> missing(bool there, std::optional<std::string_view> comment) const {
        if (!there) return true;
        constexpr std::string_view mark = "llmkit answers, schema ";
        int version = 0;
        if (comment && comment->starts_with(mark))
            for (const char c : comment->substr(mark.size())) {
                if (c < '0' || c > '9' || version > 100'000) break;
                version = version * 10 + (c - '0');
            }
        if (version == schema) return false;
        if (version > schema)
            return error(error_kind::configuration,
                         fmt::format("the table {} was made by a newer llmkit (schema {}; this one "
                                     "knows {})",
                                     name_, version, schema))
                .with_advice("Use the newer llmkit, or name another table for this one's cache.");
        return error(error_kind::configuration,
                     fmt::format("the table {} is not one of llmkit's answers", name_))
            .with_advice("Name another table for the cache.");
    }

    /// One after the other, in one transaction, once `missing` has been asked again in it.
    std::string take_lock() const { return fmt::format("SELECT pg_advisory_xact_lock({})", lock_); }
    std::string make() const {
        return fmt::format(
            "CREATE TABLE {0} (key uuid PRIMARY KEY, written timestamptz NOT NULL,"
            " keep_until timestamptz NOT NULL, used timestamptz NOT NULL, size int4 NOT NULL,"
            " entry bytea NOT NULL);"
            "CREATE INDEX ON {0} (keep_until);"
            "CREATE INDEX ON {0} (used) INCLUDE (size);"
            "COMMENT ON TABLE {0} IS 'llmkit answers, schema {1}'",
            quoted_, schema);
    }

    /// $1 the key. Gives the entry, its age and how long ago it was used, in milliseconds.
    std::string find() const {
        return fmt::format(
            "SELECT entry, (extract(epoch FROM now() - written) * 1000)::int8,"
            " (extract(epoch FROM now() - used) * 1000)::int8 FROM {}"
            " WHERE key = $1::uuid AND keep_until > now() AND size <= {}",
            quoted_, entry_codec::most_bytes);
    }
    /// $1 the key, $2 how long to keep it, in milliseconds, $3 the entry.
    std::string put() const {
        return fmt::format(
            "INSERT INTO {} (key, written, keep_until, used, size, entry) VALUES ($1::uuid, now(),"
            " now() + $2::int8 * interval '1 millisecond', now(), octet_length($3::bytea),"
            " $3::bytea) ON CONFLICT (key) DO UPDATE SET written = excluded.written,"
            " keep_until = excluded.keep_until, used = excluded.used, size = excluded.size,"
            " entry = excluded.entry",
            quoted_);
    }
    /// $1 the key.
    std::string erase() const {
        return fmt::format("DELETE FROM {} WHERE key = $1::uuid", quoted_);
    }
    /// $1 the key.
    std::string touch() const {
        return fmt::format("UPDATE {} SET used = now() WHERE key = $1::uuid", quoted_);
    }
    /// Takes out some of what is too old. Gives how many.
    std::string expire() const {
        return fmt::format(
            "WITH gone AS (DELETE FROM {0} WHERE key IN (SELECT key FROM {0}"
            " WHERE keep_until <= now() ORDER BY keep_until LIMIT {1} FOR UPDATE SKIP LOCKED)"
            " RETURNING 1) SELECT count(*)::int8 FROM gone",
            quoted_, most_at_once);
    }
    /// $1 how many bytes there may be. Takes out some of what was not used the longest, a tenth more
    /// than is too much. Gives how many, and how many bytes are left; or -1 bytes when another
    /// machine is just at it.
    std::string evict() const {
        return fmt::format(
            "WITH held AS MATERIALIZED (SELECT pg_try_advisory_xact_lock({2}) AS mine),"
            " total AS MATERIALIZED (SELECT CASE WHEN (SELECT mine FROM held) THEN"
            " (SELECT coalesce(sum(size), 0) FROM {0}) ELSE -1 END AS bytes),"
            " oldest AS (SELECT key, sum(size) OVER (ORDER BY used, key) - size AS before FROM"
            " (SELECT key, size, used FROM {0} ORDER BY used LIMIT {1}) AS longest),"
            " gone AS (DELETE FROM {0} AS t USING oldest, total WHERE t.key = oldest.key"
            " AND total.bytes > $1::int8 AND oldest.before < total.bytes - $1::int8 / 10 * 9"
            " RETURNING t.size)"
            " SELECT count(*)::int8, ((SELECT bytes FROM total) - coalesce(sum(size), 0))::int8"
            " FROM gone",
            quoted_, most_at_once, lock_);
    }
    /// What `expire` and `evict` take out at most.
    static constexpr std::int64_t most_at_once = 1000;

private:
    static std::string quoted(std::string_view name) {
        std::string out = "\"";
        bool schema_seen = false;
        for (const char c : name) {
            if (c == '\0') continue;
            if (c == '.' && !std::exchange(schema_seen, true)) {
                out += "\".\"";
                continue;
            }
            if (c == '"') out += c;
            out += c;
        }
        return out + '"';
    }

    const std::string name_;
    const std::string quoted_;
    const std::int64_t lock_;
};

}  // namespace llmkit::detail
