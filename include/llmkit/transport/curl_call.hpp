// llmkit/transport/curl_call.hpp: one transfer of libcurl, between its lane and its reader.
#pragma once

#include <curl/curl.h>
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <llmkit/core/wait.hpp>
#include <llmkit/detail/http1_parser.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/curl_error.hpp>

namespace llmkit::detail {

/// What a transport counts, readable from any thread.
struct curl_counters {
    std::atomic<std::size_t> calls{0};    ///< with libcurl
    std::atomic<std::size_t> waiting{0};  ///< of these, for a connection
};

/// The limits of one exchange as they are in force: the request's, at most the policy's.
struct curl_limits {
    duration connect = duration::max();
    duration first_event = duration::max();
    duration idle = duration::max();
    std::uint64_t max_body = 0;
};

/// How far a call has come.
enum class curl_phase : std::uint8_t { queued, connecting, exchanging, answered };

class curl_call;
class curl_loop;

/// What a call's limit calls.
struct curl_cut {
    std::weak_ptr<curl_loop> in;
    std::weak_ptr<curl_call> of;
    void operator()(expiry how) const;
};

/// One request and what has come of its answer. libcurl fills it on the transport's lane, one
/// reader empties it elsewhere; the mutex guards what both touch. At most `most_ahead` bytes and
/// one of libcurl's pieces lie here: then the transfer pauses, and so does the server.
class curl_call {
public:
    static constexpr std::size_t most_ahead = 64 * 1024;
    static constexpr std::size_t most_drained = 4096;

    curl_call(clock_handle clock, std::shared_ptr<curl_counters> counts, const curl_limits& bounds,
              const http1_limits& parsing, bytes content)
        : time(std::move(clock)),
          counters(std::move(counts)),
          limits(bounds),
          body(std::move(content)),
          parser_(parsing) {}
    curl_call(const curl_call&) = delete;
    curl_call& operator=(const curl_call&) = delete;
    ~curl_call() {
        leave_queue();
        ::curl_slist_free_all(fields_sent);
        if (easy) ::curl_easy_cleanup(easy);
    }

    // Under the mutex:

    /// Why it failed so far; what came before is to be read first.
    bool failed() const { return failure.has_value(); }
    void fail(const error& why, std::vector<wakeup>& woken) {
        if (failed() || ended) return;
        failure = why;
        leave_queue();
        woken = ring.ring_all();
    }
    /// Until when this phase may last, and the error if it lasts longer.
    time_point patience() const {
        if (phase == curl_phase::connecting) return after(since, limits.connect);
        if (phase == curl_phase::exchanging) return after(since, limits.first_event);
        return time_point::max();
    }
    error impatience() const {
        if (phase == curl_phase::connecting)
            return curl_timeout("no connection within " + in_words(limits.connect),
                                "connect_limit");
        return curl_timeout("no answer within " + in_words(limits.first_event) + " of sending",
                            "first_event_limit");
    }
    error overdue() const {
        if (phase == curl_phase::queued)
            return curl_timeout("no connection became free in time", "queue_limit")
                .with_advice("Raise curl_policy::max_connections or the limit, or send less.");
        return curl_timeout("the time for the whole call ran out", "total_limit");
    }

    // Called by libcurl, on the lane:

    static std::size_t on_header(char* text, std::size_t, std::size_t size, void* self) noexcept {
        return static_cast<curl_call*>(self)->take_header({text, size}) ? size : 0;
    }
    static std::size_t on_body(char* text, std::size_t, std::size_t size, void* self) noexcept {
        return static_cast<curl_call*>(self)->take_body({text, size});
    }
    static int on_resolve(void*, void*, void* self) noexcept {
        static_cast<curl_call*>(self)->enter(curl_phase::connecting);
        return 0;
    }
    static int on_request(void* self, char*, char*, int, int) noexcept {
        static_cast<curl_call*>(self)->enter(curl_phase::exchanging);
        return CURL_PREREQFUNC_OK;
    }
    static int on_connect(void* self, curl_socket_t with, curlsocktype) noexcept {
        static_cast<curl_call*>(self)->enter(curl_phase::connecting);
        ::fcntl(with, F_SETFD, FD_CLOEXEC);  // libcurl leaves that to us
        return CURL_SOCKOPT_OK;
    }
    /// libcurl has done all it could.
    void done(CURLcode code) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex);
        const bool started = phase == curl_phase::answered;
        if (code == CURLE_OK && started && !failed()) {
            ended = true;
            woken = ring.ring_all();
            return;
        }
        // A head that breaks off comes to a good end for libcurl.
        if (code == CURLE_OK) code = parser_.started() ? CURLE_PARTIAL_FILE : CURLE_GOT_NOTHING;
        fail(curl_failure(code, started, words), woken);
    }

    const clock_handle time;
    const std::shared_ptr<curl_counters> counters;
    const curl_limits limits;
    bytes body;
    CURL* easy = nullptr;
    curl_slist* fields_sent = nullptr;
    char words[CURL_ERROR_SIZE] = "";
    /// The whole call's limit; the reader's own.
    std::optional<cutoff<curl_cut>> total;

    std::mutex mutex;
    bell ring;
    curl_phase phase = curl_phase::queued;
    time_point since{};
    int status = 0;
    std::shared_ptr<const headers> fields;
    std::string piece;
    bool paused = false;
    bool ended = false;
    bool draining = false;  ///< nobody reads any more, but the connection shall be kept
    std::optional<error> failure;

    void reset_parser(std::string_view method) { parser_.reset(method); }
    /// From the moment it is with libcurl until it has a connection.
    void enter_queue() {
        queued_ = true;
        ++counters->waiting;
    }

private:
    void leave_queue() {
        if (queued_.exchange(false)) --counters->waiting;
    }
    void enter(curl_phase next) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex);
        // A second address of a host is tried within the same time.
        if (phase == next || phase == curl_phase::answered) return;
        leave_queue();
        phase = next;
        since = time.now();
        woken = ring.ring_all();
    }

    // The parser of `http` judges the head, so that both refuse the same. libcurl gives whole
    // lines, later versions of HTTP in the clothes of 1.1.
    bool take_header(std::string_view line) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex);
        if (failed()) return false;
        if (phase == curl_phase::answered) return true;  // a trailer
        for (const std::string_view later : {"HTTP/2 ", "HTTP/3 "}) {
            if (!line.starts_with(later)) continue;
            parser_.step("HTTP/1.1 ");
            line.remove_prefix(later.size());
        }
        while (!line.empty()) {
            const http1_progress got = parser_.step(line);
            line.remove_prefix(got.consumed);
            if (got.step == http1_step::need_more) break;
            if (got.step != http1_step::head) {
                fail(curl_head_failure(parser_.error()), woken);
                return false;
            }
            const auto length = parser_.content_length();
            const bool has_body = parser_.delimiter() != http1_delimiter::none;
            if (has_body && length && *length > limits.max_body) {
                fail(curl_body_too_large(limits.max_body), woken);
                return false;
            }
            status = parser_.status();
            fields = std::make_shared<const headers>(parser_.take_fields());
            phase = curl_phase::answered;
            woken = ring.ring_all();
            break;
        }
        return true;
    }
    std::size_t take_body(std::string_view data) {
        std::vector<wakeup> woken;
        std::lock_guard lock(mutex);
        if (failed()) return 0;
        if (draining) {
            drained_ += data.size();
            return drained_ <= most_drained ? data.size() : 0;
        }
        if (!piece.empty() && piece.size() + data.size() > most_ahead) {
            paused = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        count_ += data.size();
        if (count_ > limits.max_body) {
            fail(curl_body_too_large(limits.max_body), woken);
            return 0;
        }
        piece += data;
        woken = ring.ring_all();
        return data.size();
    }

    http1_response_parser parser_;
    std::uint64_t count_ = 0;
    std::size_t drained_ = 0;
    std::atomic<bool> queued_{false};
};

}  // namespace llmkit::detail
