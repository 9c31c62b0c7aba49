// llmkit/cache/postgres_values.hpp: what PostgreSQL is given and gives, in its binary format.
#pragma once

#include <libpq-fe.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <llmkit/core/key.hpp>

namespace llmkit::detail {

/// What a statement is given, in PostgreSQL's binary format. What text refers to must live until
/// the statement is sent.
class postgres_values {
public:
    postgres_values& add(std::string_view text) {
        data_[count_] = text.data();
        sizes_[count_++] = static_cast<int>(text.size());
        return *this;
    }
    /// As a uuid: 16 bytes.
    postgres_values& add(const key128& key) { return add_big_endian({key.high, key.low}, 2); }
    postgres_values& add(std::int64_t number) {
        return add_big_endian({static_cast<std::uint64_t>(number), 0}, 1);
    }

    int count() const { return static_cast<int>(count_); }
    const char* const* data() const { return data_.data(); }
    const int* sizes() const { return sizes_.data(); }
    const int* formats() const {
        static constexpr std::array<int, most> binary{1, 1, 1};
        return binary.data();
    }

    postgres_values() = default;
    postgres_values(const postgres_values&) = delete;
    postgres_values& operator=(const postgres_values&) = delete;

private:
    static constexpr std::size_t most = 3;

    postgres_values& add_big_endian(std::array<std::uint64_t, 2> words, std::size_t count) {
        auto& into = numbers_[count_];
        for (std::size_t i = 0; i < count * 8; ++i)
            into[i] = static_cast<char>(words[i / 8] >> (56 - i % 8 * 8));
        return add(std::string_view(into.data(), count * 8));
    }

    std::array<std::array<char, 16>, most> numbers_;
    std::array<const char*, most> data_{};
    std::array<int, most> sizes_{};
    std::size_t count_ = 0;
};

/// What came of a statement, in binary.
class postgres_rows {
public:
    postgres_rows() = default;
    explicit postgres_rows(PGresult* made) : held_(made) {}

    explicit operator bool() const { return held_ != nullptr; }
    PGresult* get() const { return held_.get(); }
    bool fine() const {
        const ExecStatusType how = PQresultStatus(held_.get());
        return how == PGRES_TUPLES_OK || how == PGRES_COMMAND_OK;
    }
    /// The five characters that say what went wrong; empty when the server did not.
    std::string_view state() const {
        const char* code = PQresultErrorField(held_.get(), PG_DIAG_SQLSTATE);
        return code ? std::string_view(code) : std::string_view();
    }
    int rows() const { return PQntuples(held_.get()); }
    bool null(int column) const { return PQgetisnull(held_.get(), 0, column) != 0; }
    /// Of the first row.
    std::string_view text(int column) const {
        return {PQgetvalue(held_.get(), 0, column),
                static_cast<std::size_t>(PQgetlength(held_.get(), 0, column))};
    }
    std::int64_t number(int column) const {
        std::uint64_t out = 0;
        for (const char c : text(column)) out = out << 8 | static_cast<unsigned char>(c);
        return static_cast<std::int64_t>(out);
    }

private:
    struct clear {
        void operator()(PGresult* one) const { PQclear(one); }
    };
    std::unique_ptr<PGresult, clear> held_;
};

}  // namespace llmkit::detail
