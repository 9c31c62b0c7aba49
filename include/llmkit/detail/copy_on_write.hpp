// llmkit/detail/copy_on_write.hpp: a value that copies share until one of them is changed.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include <llmkit/detail/pooled.hpp>

namespace llmkit::detail {

/// One pointer wide. `edit` copies the value first if others share it. Copies may live on several
/// threads; one object has one user at a time. A default-constructed or moved-from one reads as a
/// default `T`.
template <class T>
class copy_on_write {
public:
    copy_on_write() = default;
    explicit copy_on_write(const T& value) : block_(make(value)) {}
    copy_on_write(const copy_on_write& other) noexcept : block_(other.block_) {
        if (block_) block_->users.fetch_add(1, std::memory_order_relaxed);
    }
    copy_on_write(copy_on_write&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
    copy_on_write& operator=(copy_on_write other) noexcept {
        std::swap(block_, other.block_);
        return *this;
    }
    ~copy_on_write() {
        if (block_ && block_->users.fetch_sub(1, std::memory_order_acq_rel) == 1) drop(block_);
    }

    const T& read() const {
        static const T none;
        return block_ ? block_->value : none;
    }
    T& edit() {
        // Acquire: whoever let go of the value last has finished reading it.
        if (!block_ || block_->users.load(std::memory_order_acquire) != 1) {
            block* copy = make(read());
            copy_on_write old;
            old.block_ = std::exchange(block_, copy);
        }
        return block_->value;
    }

private:
    struct block {
        explicit block(const T& from) : value(from) {}
        std::atomic<std::size_t> users{1};
        T value;
    };
    static block* make(const T& from) {
        pool_allocator<block> room;
        block* fresh = room.allocate(1);
        try {
            return ::new (static_cast<void*>(fresh)) block(from);
        } catch (...) {
            room.deallocate(fresh, 1);
            throw;
        }
    }
    static void drop(block* last) noexcept {
        last->~block();
        pool_allocator<block>().deallocate(last, 1);
    }
    block* block_ = nullptr;
};

}  // namespace llmkit::detail
