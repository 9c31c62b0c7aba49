#include <llmkit/cache/sqlite.hpp>

#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <llmkit/core/any_service.hpp>
#include <llmkit/core/child.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/simulation/world.hpp>
#include <llmkit/testing/scripted.hpp>

#include "cache/entries.hpp"
#include "cache/temporary_folder.hpp"
#include "test.hpp"

extern char** environ;

namespace test_cache_sqlite {

using namespace llmkit;
using namespace llmkit_test;

namespace {

key128 key(std::uint64_t n) { return key_builder().add(n).finish(); }
time_point now() { return std::chrono::steady_clock::now(); }
limit within(duration span) {
    limit until;
    until.until = now() + span;
    return until;
}

/// A cache, and a thread that asks it.
struct user {
    explicit user(const std::string& path, sqlite_policy policy = {}, entry_codec codec = {})
        : store(path, policy, std::move(codec)) {}

    result<cache_hit> find(std::uint64_t n, duration later = 0s) {
        return loop.wait(store.find(key(n), now() + later, within(30s)));
    }
    /// The text found; "" for a miss, "error" for an error.
    std::string text(std::uint64_t n, duration later = 0s) {
        auto found = find(n, later);
        if (!found) return "error";
        return *found ? std::string(found->entry()->events.front().data()) : std::string();
    }
    void put(std::uint64_t n, std::string said, duration keep = 1h) {
        auto entry = entry_saying(std::move(said), now(), keep);
        CHECK(loop.wait(store.put(key(n), std::move(entry), now(), within(30s))));
    }
    bool flush() { return static_cast<bool>(loop.wait(store.flush(within(30s)))); }

    background_loop loop;
    sqlite_cache store;
};

/// Runs SQL on a file.
void run_sql(const std::string& path, const char* text) {
    detail::sqlite_connection other;
    REQUIRE(other.connect(path, detail::sqlite_access::write, 5000) == SQLITE_OK);
    REQUIRE(other.run(text) == SQLITE_OK);
}

/// Packs nothing smaller, and can be made to hang at it, as a disk does.
class hanging_packing final : public entry_packing {
public:
    std::uint8_t id() const override { return 200; }
    std::optional<std::string> pack(std::string_view text) const override {
        while (hang_pack) std::this_thread::yield();
        return std::string(text);
    }
    std::optional<std::string> unpack(std::string_view packed, std::size_t) const override {
        ++reading;
        while (hang_unpack) std::this_thread::yield();
        return std::string(packed);
    }
    mutable std::atomic<bool> hang_pack{false}, hang_unpack{false};
    mutable std::atomic<int> reading{0};
};

}  // namespace

TEST_CASE("the sqlite cache gives back what was put, also after a restart", "[sqlite_cache]") {
    temporary_folder folder;
    const cache_entry full = full_entry(now());
    {
        user first(folder.file("answers.db"));
        CHECK_FALSE(first.store.problem());
        CHECK(first.store.name() == "sqlite");
        first.put(1, "one");
        CHECK(first.text(1) == "one");  // written or not
        CHECK(first.text(2) == "");
        CHECK(first.flush());
        CHECK(first.text(1) == "one");
        CHECK(first.loop.wait(
            first.store.put(key(3), std::make_shared<const cache_entry>(full), now(), limit())));
        first.put(4, "old");
        first.put(4, "new");
        CHECK(first.store.stats().hits == 2);
        CHECK(first.store.stats().misses == 1);
    }
    user again(folder.file("answers.db"));
    CHECK(again.text(1) == "one");
    CHECK(again.text(4) == "new");
    auto found = again.find(3);
    REQUIRE(found.value());
    CHECK(found->level() == "sqlite");
    cache_entry got = *found->entry();
    CHECK(got.fresh_until - full.fresh_until < 1min);
    CHECK(full.fresh_until - got.fresh_until < 1min);
    got.stored_at = full.stored_at;
    got.fresh_until = full.fresh_until;
    got.keep_until = full.keep_until;
    CHECK(same(got, full));
}

TEST_CASE("an erased answer is gone, from the file as well", "[sqlite_cache]") {
    temporary_folder folder;
    {
        user first(folder.file("answers.db"));
        first.put(1, "one");
        first.put(2, "two");
        CHECK(first.flush());
        CHECK(first.loop.wait(first.store.erase(key(1), within(30s))));
        CHECK(first.text(1) == "");
    }
    user again(folder.file("answers.db"));
    CHECK(again.text(1) == "");
    CHECK(again.text(2) == "two");
}

TEST_CASE("a tag's generation is in the file when it has been put", "[sqlite_cache]") {
    temporary_folder folder;
    user one(folder.file("answers.db"));
    user other(folder.file("answers.db"));
    for (std::uint64_t i = 1; i <= 20; ++i) {
        const key128 tag = tag_key(std::to_string(i));
        auto put = one.store.put(tag, detail::tag_entry({tag.low, i}, now()), now(), within(30s));
        CHECK(one.loop.wait(std::move(put)));
        auto found = other.loop.wait(other.store.find(tag, now(), within(30s)));
        REQUIRE(found.value());
        CHECK(detail::mark_of(*found, tag) == tag_mark{tag.low, i});
        CHECK(one.loop.wait(invalidate(one.store, std::to_string(i))));
        CHECK_FALSE(other.loop.wait(other.store.find(tag, now(), within(30s))).value());
    }
}

TEST_CASE("an answer in a file ends with its time, whichever process asks", "[sqlite_cache]") {
    temporary_folder folder;
    {
        user first(folder.file("answers.db"));
        first.put(1, "short", 1h);
        first.put(2, "long", 2000h);
        CHECK(first.text(1, 59min) == "short");
        CHECK(first.text(1, 61min) == "");
    }
    user again(folder.file("answers.db"), {.max_age = 10h});
    CHECK(again.text(1, 59min) == "short");
    CHECK(again.text(1, 61min) == "");
    CHECK(again.text(2, 9h) == "long");
    CHECK(again.text(2, 11h) == "");

    // What is too old is taken out by and by.
    auto late = entry_saying("late", now() + 3000h);
    CHECK(again.loop.wait(again.store.put(key(3), late, now() + 3000h, limit())));
    CHECK(again.flush());
    CHECK(again.store.stats().expirations == 2);
}

TEST_CASE("a file of answers stays within its size", "[sqlite_cache]") {
    temporary_folder folder;
    constexpr std::uint64_t most = 1 << 20;
    user cache(folder.file("answers.db"), {.max_bytes = most});
    for (std::uint64_t round = 0; round < 50; ++round) {
        for (std::uint64_t n = 1; n <= 20; ++n) {
            auto entry = entry_saying(std::string(4000, 'x'), now() + round * 1h, 100h);
            CHECK(cache.loop.wait(
                cache.store.put(key(round * 20 + n), entry, now() + round * 1h, limit())));
        }
        CHECK(cache.flush());
        CHECK(cache.store.stats().bytes <= most + 100'000);
    }
    CHECK(cache.store.stats().evictions > 700);
    CHECK(cache.text(1) == "");
    CHECK(cache.text(1000).size() == 4000);
    cache.put(5000, std::string(most, 'x'));  // larger than all: not even tried
    CHECK(cache.text(5000) == "");
    CHECK(cache.store.stats().dropped == 1);
}

TEST_CASE("an answer that is asked for again outlives younger ones", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"), {.max_bytes = 1 << 20});
    for (std::uint64_t n = 0; n < 200; ++n) cache.put(n, std::string(4000, 'x'), 100h);
    CHECK(cache.flush());
    CHECK(cache.text(0, 1h).size() == 4000);
    for (std::uint64_t n = 200; n < 350; ++n) cache.put(n, std::string(4000, 'x'), 100h);
    CHECK(cache.flush());
    for (std::uint64_t n = 350; n < 360; ++n) cache.put(n, std::string(4000, 'x'), 100h);
    CHECK(cache.flush());
    CHECK(cache.store.stats().evictions > 0);
    CHECK(cache.text(0).size() == 4000);
    CHECK(cache.text(1) == "");
}

TEST_CASE("a file that is not ours or too new is refused in words and left alone",
          "[sqlite_cache]") {
    temporary_folder folder;
    {
        user made(folder.file("newer.db"));
    }
    run_sql(folder.file("newer.db"), "PRAGMA user_version = 2");
    run_sql(folder.file("other.db"), "CREATE TABLE accounts(id); INSERT INTO accounts VALUES(1)");
    folder.write("text.db", std::string(5000, 't'));
    const auto refused = [&](const std::string& name, const std::string& why) {
        const std::string before = folder.read(name);
        user cache(folder.file(name));
        REQUIRE(cache.store.problem());
        CHECK(cache.store.problem()->kind() == error_kind::configuration);
        INFO(cache.store.problem()->to_string());
        CHECK(cache.store.problem()->to_string().find(why) != std::string::npos);
        cache.put(1, "one");
        CHECK(cache.text(1) == "error");
        CHECK_FALSE(cache.flush());
        CHECK(folder.read(name) == before);
    };
    refused("newer.db", "newer llmkit (schema 2; this one knows 1)");
    refused("other.db", "is a database of something else");
    refused("text.db", "file is not a database");
    refused("absent/answers.db", "unable to open database file");
}

TEST_CASE("a file that could not be opened is tried again, not too often", "[sqlite_cache]") {
    temporary_folder folder;
    simulation::world world;
    const sqlite_cache store(folder.file("later/answers.db"), {.reopen_after = 10s});
    const auto works = [&] {
        const time_point at = world.clock().now();
        const auto put = world.wait(store.put(key(1), entry_saying("one", at), at, limit()));
        const auto found = world.wait(store.find(key(1), at, limit()));
        CHECK(put);
        CHECK(static_cast<bool>(found) == !store.problem());
        return found && *found && found->entry()->events.front().data() == "one";
    };
    CHECK(store.problem());
    CHECK_FALSE(works());  // tried again by this
    std::filesystem::create_directory(folder.file("later"));
    world.run_for(9s);
    CHECK_FALSE(works());
    world.run_for(1s);
    CHECK(works());
    CHECK_FALSE(store.problem());
    CHECK(world.wait(store.flush(limit())));
    CHECK(store.stats().writes == 1);

    user other(folder.file("absent/answers.db"), {.reopen_after = 10s});
    CHECK(other.text(1) == "error");
    std::filesystem::create_directory(folder.file("absent"));
    CHECK(other.text(1) == "error");
    // Nobody waits for it: the call that has it tried fails as before.
    CHECK(other.text(1, 11s) == "error");
    for (int tries = 0; tries < 3000 && other.store.problem(); ++tries)
        std::this_thread::sleep_for(1ms);
    CHECK(other.text(1) == "");
}

TEST_CASE("a database file that was cut short anywhere harms nobody", "[sqlite_cache]") {
    temporary_folder folder;
    {
        user first(folder.file("whole.db"));
        for (std::uint64_t n = 0; n < 30; ++n) {
            first.put(n, std::string(3000, static_cast<char>('a' + n % 26)));
        }
    }
    const std::string whole = folder.read("whole.db");
    REQUIRE(whole.size() > 90'000);
    background_loop loop;
    int moved = 0;
    for (std::size_t size = 0; size < whole.size(); size += size < 4096 ? 509 : 4093) {
        const std::string name = "cut" + std::to_string(size) + ".db";
        folder.write(name, whole.substr(0, size));
        const sqlite_cache cache(folder.file(name));
        for (std::uint64_t n = 0; n < 30; n += 7) {
            auto found = loop.wait(cache.find(key(n), now(), within(30s)));
            if (!found || !*found) continue;
            CHECK(found->entry()->events.front().data() ==
                  std::string(3000, static_cast<char>('a' + n % 26)));
        }
        if (cache.problem()) continue;
        // Whatever became of the old file, there is one that works.
        CHECK(loop.wait(cache.put(key(99), entry_saying("works", now()), now(), limit())));
        CHECK(loop.wait(cache.flush(within(30s))));
        auto found = loop.wait(cache.find(key(99), now(), within(30s)));
        CHECK((found && *found) == true);
        if (folder.has(name + ".damaged")) ++moved;
    }
    CHECK(moved > 10);
}

TEST_CASE("a file that turns out to be damaged is moved aside and begun anew", "[sqlite_cache]") {
    temporary_folder folder;
    {
        user first(folder.file("answers.db"));
        for (std::uint64_t n = 0; n < 30; ++n) first.put(n, std::string(3000, 'x'));
    }
    std::string bytes = folder.read("answers.db");
    for (std::size_t at = 4096; at < bytes.size(); ++at) bytes[at] = 'z';
    folder.write("answers.db", bytes);
    user cache(folder.file("answers.db"));
    CHECK_FALSE(cache.store.problem());
    CHECK(cache.text(1) == "error");
    cache.flush();
    cache.put(1, "anew");
    CHECK(cache.flush());
    CHECK(cache.text(1) == "anew");
    CHECK(cache.store.stats().recovered == 1);
    CHECK(folder.has("answers.db.damaged"));
}

TEST_CASE("an answer whose bytes rotted in the file is a miss", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"));
    cache.put(1, "one");
    CHECK(cache.flush());
    run_sql(folder.file("answers.db"), "UPDATE answers SET entry = substr(entry, 1, 40)");
    CHECK(cache.text(1) == "");
    run_sql(folder.file("answers.db"), "UPDATE answers SET entry = 7");
    CHECK(cache.text(1) == "");
    CHECK(cache.store.stats().unreadable == 2);
}

TEST_CASE("half of a key does not find another's answer", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"));
    cache.put(1, "one");
    CHECK(cache.flush());
    key128 clash = key(1);
    ++clash.high;
    auto found = cache.loop.wait(cache.store.find(clash, now(), within(30s)));
    REQUIRE(found);
    CHECK_FALSE(*found);
}

namespace {
/// Root may write everywhere; for a while this process is somebody else.
class as_nobody {
public:
    as_nobody() {
        if (::geteuid() == 0) was_root_ = ::seteuid(65534) == 0;
    }
    ~as_nobody() {
        if (was_root_ && ::seteuid(0) != 0) std::abort();
    }

private:
    bool was_root_ = false;
};
}  // namespace

TEST_CASE("a file on a disk that cannot be written to is read", "[sqlite_cache]") {
    temporary_folder folder;
    folder.allow(0755);
    {
        user first(folder.file("a?b%20.db"));
        first.put(1, "one");
    }
    std::filesystem::permissions(folder.file("a?b%20.db"), std::filesystem::perms(0444));
    folder.allow(0555);
    const as_nobody harmless;
    user cache(folder.file("a?b%20.db"));
    CHECK_FALSE(cache.store.problem());
    CHECK(cache.text(1) == "one");
    cache.put(2, "two");
    CHECK(cache.text(2) == "");
    CHECK(cache.store.stats().dropped == 1);
    CHECK(cache.flush());
    CHECK_FALSE(cache.loop.wait(cache.store.erase(key(1), within(30s))));
    CHECK(cache.text(1) == "one");

    const user none(folder.file("none.db"));
    CHECK(none.store.problem());
}

TEST_CASE("only its owner may read a new file of answers", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"));
    cache.put(1, "one");
    CHECK(cache.flush());
    for (const char* name : {"answers.db", "answers.db-wal"}) {
        CHECK(std::filesystem::status(folder.file(name)).permissions() ==
              std::filesystem::perms(0600));
    }
}

TEST_CASE("a read that hangs holds nobody up beyond his limit", "[sqlite_cache]") {
    temporary_folder folder;
    const auto slow = std::make_shared<hanging_packing>();
    std::optional<user> cache(std::in_place, folder.file("answers.db"),
                              sqlite_policy{.readers = 1, .max_waiting = 2, .close_limit = 1ms},
                              entry_codec(slow));
    cache->put(1, "one");
    CHECK(cache->flush());
    slow->hang_unpack = true;
    auto late = cache->loop.wait(cache->store.find(key(1), now(), within(5ms)));
    REQUIRE_FALSE(late);
    CHECK(late.error().kind() == error_kind::timeout);

    // Who is cancelled returns at once, whatever the limit.
    asio::io_context io;
    asio::cancellation_signal stop;
    bool cancelled = false;
    asio::co_spawn(
        io, cache->store.find(key(1), now(), limit()),
        asio::bind_cancellation_slot(stop.slot(), [&](std::exception_ptr why, result<cache_hit>) {
            cancelled = why != nullptr;
        }));
    io.poll();
    stop.emit(asio::cancellation_type::terminal);
    io.restart();
    io.run();
    CHECK(cancelled);

    // A context may end with reads under way, and so may the last handle.
    auto ending = std::make_unique<asio::io_context>();
    asio::co_spawn(*ending, cache->store.find(key(1), now(), limit()),
                   [](std::exception_ptr, result<cache_hit>) {});
    ending->poll();
    ending.reset();
    auto full = cache->loop.wait(cache->store.find(key(2), now(), within(30s)));
    REQUIRE_FALSE(full);  // the queue holds two that nobody waits for any more
    CHECK(full.error().kind() == error_kind::refused);
    cache.reset();
    slow->hang_unpack = false;
}

TEST_CASE("what does not fit the bound of writes is dropped and counted", "[sqlite_cache]") {
    temporary_folder folder;
    const auto slow = std::make_shared<hanging_packing>();
    slow->hang_pack = true;
    user cache(folder.file("answers.db"), {.max_pending_bytes = 100'000}, entry_codec(slow));
    for (std::uint64_t n = 0; n < 100; ++n) cache.put(n, std::string(5000, 'x'));
    const sqlite_stats stats = cache.store.stats();
    CHECK(stats.dropped > 75);
    CHECK(stats.dropped < 90);
    CHECK(stats.pending_bytes <= 100'000);
    CHECK(cache.text(0).size() == 5000);
    slow->hang_pack = false;
    CHECK(cache.flush());
    CHECK(cache.store.stats().pending_bytes == 0);
    CHECK(cache.store.stats().writes == 100 - stats.dropped);
}

TEST_CASE("a closed sqlite cache has written all and answers no more", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"));
    const sqlite_cache copy = cache.store;
    cache.put(1, "one");
    CHECK(cache.loop.wait(copy.close(within(30s))));
    auto found = cache.find(1);
    REQUIRE_FALSE(found);
    CHECK(found.error().kind() == error_kind::closed);
    user other(folder.file("answers.db"));
    CHECK(other.text(1) == "one");
}

TEST_CASE("threads and handles share one file", "[sqlite_cache]") {
    temporary_folder folder;
    user one(folder.file("answers.db"), {.max_bytes = 1 << 20});
    user two(folder.file("answers.db"), {.max_bytes = 1 << 20});
    std::atomic<int> wrong{0};
    const auto work = [&](user& with, std::uint64_t seed) {
        for (std::uint64_t i = 0; i < 300; ++i) {
            const std::uint64_t n = (i * 7 + seed) % 40;
            auto found = with.loop.wait(with.store.find(key(n), now(), within(60s)));
            if (!found) ++wrong;
            if (found && *found) {
                if (found->entry()->events.front().data() != std::to_string(n)) ++wrong;
            } else {
                auto entry = entry_saying(std::to_string(n), now());
                if (!with.loop.wait(with.store.put(key(n), entry, now(), limit()))) ++wrong;
            }
            if (i % 97 == 0 && !with.loop.wait(with.store.erase(key(n), within(60s)))) ++wrong;
        }
    };
    std::vector<std::thread> threads;
    threads.emplace_back([&] { work(one, 1); });
    threads.emplace_back([&] { work(one, 20); });
    threads.emplace_back([&] { work(two, 5); });
    for (auto& each : threads) each.join();
    CHECK(wrong == 0);
    CHECK(one.store.stats().failures == 0);
}

namespace {

std::string said_by_other(std::uint64_t n) {
    return std::to_string(n) + std::string(700, static_cast<char>('a' + n % 26));
}

/// Answers that the other process writes between two signs of life: enough for a long transaction.
constexpr std::uint64_t at_once = 2000;

task<bool> put_some(sqlite_cache into, std::uint64_t from) {
    for (std::uint64_t n = from; n < from + at_once; ++n) {
        auto entry = entry_saying(said_by_other(n), now());
        auto put = co_await into.put(key(n), std::move(entry), now(), limit());
        if (!put) co_return false;
    }
    auto flushed = co_await into.flush(within(60s));
    co_return static_cast<bool>(flushed);
}

/// What changes when something is written to a file.
std::vector<std::int64_t> state_of(const std::string& path) {
    std::vector<std::int64_t> state;
    for (const char* beside : {"", "-wal"}) {
        struct stat found{};
        ::stat((path + beside).c_str(), &found);
        for (const auto value : {found.st_size, found.st_mtim.tv_sec, found.st_mtim.tv_nsec})
            state.push_back(value);
    }
    return state;
}

/// This program again, writing answers into a file until it is killed.
class other_process {
public:
    explicit other_process(const std::string& file) {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        ::setenv("LLMKIT_TEST_FILE", file.c_str(), 1);
        std::string program = "/proc/self/exe";
        std::string name = "the other process of the sqlite cache";
        char* const words[] = {program.data(), name.data(), nullptr};
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
        ::posix_spawn_file_actions_addclose(&actions, ends[0]);
        ::posix_spawn_file_actions_addclose(&actions, ends[1]);
        REQUIRE(::posix_spawn(&process_, words[0], &actions, nullptr, words, environ) == 0);
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(ends[1]);
        from_ = ends[0];
    }
    other_process(const other_process&) = delete;
    other_process& operator=(const other_process&) = delete;
    ~other_process() {
        kill();
        ::close(from_);
    }
    /// Waits until it has flushed so many times more; how many answers it has written by then.
    std::uint64_t flushed(int times) {
        char c = 0;
        while (times > 0 && ::read(from_, &c, 1) == 1) {
            ++acknowledged_;
            --times;
        }
        return acknowledged_ * at_once;
    }
    void kill() {
        if (process_ == 0) return;
        ::kill(process_, SIGKILL);
        int status = 0;
        ::waitpid(std::exchange(process_, 0), &status, 0);
    }

private:
    pid_t process_ = 0;
    int from_ = -1;
    std::uint64_t acknowledged_ = 0;
};

}  // namespace

TEST_CASE("the other process of the sqlite cache", "[.sqlite_cache]") {
    const char* const file = std::getenv("LLMKIT_TEST_FILE");
    if (!file) return;
    user cache(file);
    bool fine = true;
    for (std::uint64_t n = 0; fine; n += at_once) {
        fine = cache.loop.wait(put_some(cache.store, n)) && ::write(1, ".", 1) == 1;
    }
}

TEST_CASE("a process that is killed while it writes leaves a file that is whole",
          "[sqlite_cache]") {
    temporary_folder folder;
    for (int round = 0; round < 5; ++round) {
        std::uint64_t written = 0;
        {
            other_process other(folder.file("answers.db"));
            written = other.flushed(1 + round % 3);
            // In the middle of the next transaction's writing.
            const auto before = state_of(folder.file("answers.db"));
            while (state_of(folder.file("answers.db")) == before) std::this_thread::yield();
            other.kill();
        }
        user cache(folder.file("answers.db"));
        CHECK_FALSE(cache.store.problem());
        CHECK(cache.store.stats().recovered == 0);
        REQUIRE(written >= at_once);
        std::size_t lost = 0;
        std::size_t wrong = 0;
        for (std::uint64_t n = 0; n < written + at_once; n += 7) {
            const std::string found = cache.text(n);
            if (found.empty()) lost += n < written ? 1 : 0;
            if (!found.empty() && found != said_by_other(n)) ++wrong;
        }
        CHECK(lost == 0);
        CHECK(wrong == 0);
        cache.put(1'000'000, "after");
        CHECK(cache.flush());
        int code = SQLITE_OK;
        detail::sqlite_connection look;
        REQUIRE(look.connect(folder.file("answers.db"), detail::sqlite_access::read, 5000) ==
                SQLITE_OK);
        CHECK(look.ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'",
                       code) == 1);
    }
}

TEST_CASE("two processes share one file of answers", "[sqlite_cache]") {
    temporary_folder folder;
    user cache(folder.file("answers.db"));
    other_process other(folder.file("answers.db"));
    for (int round = 0; round < 5; ++round) {
        cache.put(1'000'000, "ours " + std::to_string(round));
        CHECK(cache.flush());
        const std::uint64_t written = other.flushed(2);
        REQUIRE(written >= at_once);
        for (std::uint64_t n = 0; n < written; n += 131) CHECK(cache.text(n) == said_by_other(n));
        CHECK(cache.text(1'000'000) == "ours " + std::to_string(round));
    }
    CHECK(cache.store.stats().failures == 0);
}

namespace {

request question(bool streamed) {
    request ask("chat/completions", std::string(R"({"model":"m","messages":"hi"})"));
    ask.options().streamed = streamed;
    return ask;
}
/// The events' texts with "|" after each, and "hit " before them if they came from the file.
template <class Client>
task<std::string> answer_of(Client client, request ask) {
    std::string text;
    auto answer = co_await client(std::move(ask));
    if (!answer) {
        text = answer.error().to_string();
        co_return text;
    }
    if (answer->head().came_by.cache_level == "sqlite") text = "hit ";
    while (auto item = co_await answer->events().next()) text += std::string(item->data()) + "|";
    co_return text;
}

}  // namespace

TEST_CASE("answers in a file serve both shapes after a restart", "[sqlite_cache]") {
    const bool recorded_as_stream = GENERATE(false, true);
    temporary_folder folder;
    const auto asked = [&](bool streamed) {
        background_loop loop;
        testing::scripted provider(loop.get_executor());
        provider.then(testing::says("a b"));
        const sqlite_cache store(folder.file("answers.db"));
        const auto client = pipeline(any_service(pipeline(provider) | cache(store)));
        std::string text = loop.wait(answer_of(client, question(streamed)));
        loop.wait(client.close(30s));
        return text;
    };
    const std::string first = asked(recorded_as_stream);
    CHECK(first.find("hit") == std::string::npos);
    CHECK(asked(false) == "hit a b|");
    const std::string streamed = asked(true);
    CHECK(streamed.starts_with("hit a"));
    if (recorded_as_stream) CHECK(streamed == "hit " + first);
}

TEST_CASE("a sqlite cache works in virtual time", "[sqlite_cache]") {
    temporary_folder folder;
    simulation::world world;
    testing::scripted provider(world.get_executor());
    provider.then(testing::says("old")).then(testing::says("new"));
    const sqlite_cache store(folder.file("answers.db"));
    const auto client = pipeline(any_service(pipeline(provider) | cache(store, {.ttl = 10min})));
    CHECK(world.wait(answer_of(client, question(false))) == "old|");
    world.run();
    CHECK(world.wait(store.flush(limit())));
    CHECK(world.wait(answer_of(client, question(false))) == "hit old|");
    world.run_for(9min);
    CHECK(world.wait(answer_of(client, question(false))) == "hit old|");
    world.run_for(1min);
    CHECK(world.wait(answer_of(client, question(false))) == "new|");
    CHECK(world.elapsed() == 10min);
}

}  // namespace test_cache_sqlite
