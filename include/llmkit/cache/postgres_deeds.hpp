// llmkit/cache/postgres_deeds.hpp: jobs as statements, and rows as what came of them.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <llmkit/cache/codec.hpp>
#include <llmkit/cache/postgres_connection.hpp>
#include <llmkit/cache/postgres_job.hpp>
#include <llmkit/cache/postgres_policy.hpp>
#include <llmkit/cache/postgres_session.hpp>
#include <llmkit/cache/postgres_table.hpp>

namespace llmkit::detail {

/// What is to be done next, after a job.
enum class postgres_after : std::uint8_t {
    nothing,
    touch,  ///< note that the answer is still in use
    again,  ///< there is more of the same
};

/// Says jobs to the database, and understands its answers. Without state.
class postgres_deeds {
public:
    static constexpr std::string_view level = "postgres";

    postgres_deeds(const postgres_policy& policy, entry_codec codec)
        : codec_(std::move(codec)), max_age_(policy.max_age), max_bytes_(policy.max_bytes) {}

    /// False: the connection is lost, or the entry cannot be written.
    bool send(postgres_connection& over, const postgres_job& job) const {
        std::string entry;  // until it is sent
        postgres_values with;
        switch (job.deed) {
            case postgres_deed::put:
                entry = codec_.encode(*job.entry, job.at);
                if (entry.empty()) return false;
                with.add(job.key).add(kept_for(job)).add(entry);
                break;
            case postgres_deed::evict:
                with.add(static_cast<std::int64_t>(std::min(max_bytes_, most_bytes)));
                break;
            case postgres_deed::expire:
                break;
            default:
                with.add(job.key);
        }
        return over.send(statement_name(job.deed), with);
    }

    /// Fills in the job and counts what came of it.
    postgres_after read(postgres_job& job, const result<postgres_rows>& rows,
                        postgres_stats& counts) const {
        if (!rows) {
            ++counts.failures;
            job.failed = rows.error();
            return postgres_after::nothing;
        }
        switch (job.deed) {
            case postgres_deed::find:
                return found(job, *rows, counts);
            case postgres_deed::put:
                ++counts.writes;
                break;
            case postgres_deed::expire:
                return removed(*rows, counts.expirations);
            case postgres_deed::evict:
                if (rows->rows() == 1 && rows->number(1) >= 0)
                    counts.bytes = static_cast<std::uint64_t>(rows->number(1));
                return removed(*rows, counts.evictions);
            default:
                break;
        }
        return postgres_after::nothing;
    }

private:
    using ms = std::chrono::milliseconds;
    static constexpr duration longest = std::chrono::hours(24 * 365 * 100);
    static constexpr duration touch_after = std::chrono::hours(1);
    static constexpr std::uint64_t most_bytes = std::uint64_t{1} << 60;

    std::int64_t kept_for(const postgres_job& job) const {
        const duration span = std::min({job.entry->keep_until - job.at, max_age_, longest});
        return std::chrono::duration_cast<ms>(std::max(span, duration::zero())).count();
    }
    static duration span_of(std::int64_t count) {
        constexpr auto most = std::chrono::duration_cast<ms>(longest).count();
        return ms(std::clamp<std::int64_t>(count, 0, most));
    }
    postgres_after found(postgres_job& job, const postgres_rows& rows,
                         postgres_stats& counts) const {
        if (rows.rows() == 0) {
            ++counts.misses;
            return postgres_after::nothing;
        }
        const duration age = span_of(rows.number(1));
        auto entry = codec_.decode(std::string(rows.text(0)), job.at - age);
        if (!entry) ++counts.unreadable;
        if (!entry || age >= max_age_ || job.at >= entry->keep_until) {
            ++counts.misses;
            return postgres_after::nothing;
        }
        ++counts.hits;
        job.hit = cache_hit(std::move(entry), level);
        return span_of(rows.number(2)) > touch_after ? postgres_after::touch
                                                     : postgres_after::nothing;
    }
    static postgres_after removed(const postgres_rows& rows, std::uint64_t& sum) {
        const std::int64_t count = rows.rows() == 1 ? rows.number(0) : 0;
        sum += static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
        return count >= postgres_table::most_at_once ? postgres_after::again
                                                     : postgres_after::nothing;
    }

    const entry_codec codec_;
    const duration max_age_;
    const std::uint64_t max_bytes_;
};

}  // namespace llmkit::detail
