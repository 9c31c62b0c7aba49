// llmkit/detail/read_buffer.hpp: where what a socket brings is put, only while it brings something.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace llmkit::detail {

/// Room for one record of TLS with all around it (16 KiB, and some), or as much in clear.
///
/// Has memory only between `get` and `drop`. Each thread keeps one such piece of memory for its
/// next buffer: most answers are read in one go, and so all of them through the same, warm bytes.
class read_buffer {
public:
    static constexpr std::size_t size = 18 * 1024;

    read_buffer() = default;
    read_buffer(const read_buffer&) = delete;
    read_buffer& operator=(const read_buffer&) = delete;
    ~read_buffer() { drop(); }

    char* get() {
        if (data_) return data_.get();
        if (auto* const kept = spare()) data_ = std::move(*kept);
        if (!data_) data_ = std::make_unique_for_overwrite<char[]>(size);
        return data_.get();
    }
    void drop() noexcept {
        if (!data_) return;
        if (auto* const kept = spare(); kept && !*kept) *kept = std::move(data_);
        data_.reset();
    }
    const char* data() const { return data_.get(); }

private:
    struct keeper {
        std::unique_ptr<char[]> one;
        ~keeper() { gone() = true; }
    };
    // Statics may let go of a connection after this thread's spare memory has gone.
    static bool& gone() noexcept {
        static thread_local bool yes = false;
        return yes;
    }
    static std::unique_ptr<char[]>* spare() noexcept {
        if (gone()) return nullptr;
        static thread_local keeper kept;
        return &kept.one;
    }
    std::unique_ptr<char[]> data_;
};

}  // namespace llmkit::detail
