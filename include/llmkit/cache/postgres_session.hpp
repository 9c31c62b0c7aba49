// llmkit/cache/postgres_session.hpp: what a new connection is told before it is used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <llmkit/cache/postgres_connection.hpp>
#include <llmkit/cache/postgres_job.hpp>
#include <llmkit/cache/postgres_table.hpp>
#include <llmkit/transport/resolver.hpp>

namespace llmkit::detail {

/// The name of a prepared statement.
constexpr const char* statement_name(postgres_deed deed) {
    switch (deed) {
        case postgres_deed::find:
            return "llmkit_find";
        case postgres_deed::put:
            return "llmkit_put";
        case postgres_deed::erase:
            return "llmkit_erase";
        case postgres_deed::touch:
            return "llmkit_touch";
        case postgres_deed::expire:
            return "llmkit_expire";
        case postgres_deed::evict:
            return "llmkit_evict";
    }
    return "";
}

/// Looks at the table, and makes it when there is none. The caller keeps all three.
inline task<result<void>> find_table(postgres_connection& over, const postgres_table& table,
                                     limit until) {
    auto seen = co_await over.ask(postgres_table::look, table.regclass(), until);
    if (!seen) co_return seen.error();
    std::optional<std::string_view> comment;
    if (!seen->null(1)) comment = seen->text(1);
    const auto missing = table.missing(seen->text(0) == "t", comment);
    if (!missing) co_return missing.error();
    if (!*missing) co_return result<void>();

    // Another machine may be just as far: whoever has the lock looks once more.
    auto locked = co_await over.run("BEGIN; " + table.take_lock(), until);
    if (!locked) co_return locked.error();
    auto again = co_await over.ask(postgres_table::look, table.regclass(), until);
    if (!again) co_return again.error();
    if (again->text(0) == "t") {
        auto left = co_await over.run("ROLLBACK", until);
        if (!left) co_return left.error();
        co_return co_await find_table(over, table, until);
    }
    auto made = co_await over.run(table.make() + "; COMMIT", until);
    if (!made) co_return made.error();
    co_return result<void>();
}

/// Readies a connection for `send`. The caller keeps both.
inline task<result<void>> begin_session(postgres_connection& over, const postgres_table& table,
                                        duration answer, limit until) {
    // A statement that waits for somebody's lock ends before the connection is given up for it. A
    // server that loses its power may forget the last moments, which saves a write to disk for each
    // answer; what it has, it has whole.
    const auto at_most = std::chrono::duration_cast<std::chrono::milliseconds>(answer / 4 * 3);
    auto told =
        co_await over.run(fmt::format("SET statement_timeout = {}; SET synchronous_commit = off;"
                                      " SET client_min_messages = error",
                                      std::clamp<std::int64_t>(at_most.count(), 1, 1'000'000'000)),
                          until);
    if (!told) co_return told.error();
    auto found = co_await find_table(over, table, until);
    if (!found) co_return found.error();
    const std::pair<postgres_deed, std::string> statements[] = {
        {postgres_deed::find, table.find()},     {postgres_deed::put, table.put()},
        {postgres_deed::erase, table.erase()},   {postgres_deed::touch, table.touch()},
        {postgres_deed::expire, table.expire()}, {postgres_deed::evict, table.evict()},
    };
    for (const auto& [deed, text] : statements) {
        auto ready = co_await over.prepare(statement_name(deed), text, until);
        if (!ready) co_return ready.error();
    }
    if (!over.begin_pipeline())
        co_return error(error_kind::internal, "libpq does not begin a pipeline");
    co_return result<void>();
}

/// From an address to a connection that is ready. The caller keeps all but `names`.
inline task<result<void>> open_session(postgres_connection& over, const postgres_address& to,
                                       std::shared_ptr<resolver> names, const postgres_table& table,
                                       duration answer, limit until) {
    std::vector<addresses> found;
    error unknown;
    for (auto& name : to.names()) {
        auto looked = co_await resolver::find(names, name, until);
        if (!looked) unknown = looked.error();
        found.push_back(looked ? std::move(*looked) : addresses());
    }
    auto with = to.with(found);
    if (with.empty() && !found.empty()) co_return unknown;
    auto opened = co_await over.connect(to, std::move(with), until);
    if (!opened) co_return opened.error();
    auto ready = co_await begin_session(over, table, answer, until);
    co_return ready;
}

}  // namespace llmkit::detail
