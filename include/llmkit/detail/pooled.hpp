// llmkit/detail/pooled.hpp: one object on the heap, from a small free list of its thread.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace llmkit::detail {

/// A free list for blocks of one size: at most `capacity` blocks a thread, the rest goes back to
/// the heap. Blocks may be freed on another thread than they came from.
template <std::size_t Size>
class block_pool {
public:
    static void* take() {
        block_pool* pool = mine();
        if (pool && pool->count_ > 0) return pool->free_[--pool->count_];
        return ::operator new(Size);
    }
    static void give(void* block) noexcept {
        block_pool* pool = mine();
        if (pool && pool->count_ < capacity) {
            pool->free_[pool->count_++] = block;
        } else {
            ::operator delete(block);
        }
    }

private:
    static constexpr std::size_t capacity = 32;

    block_pool() = default;
    ~block_pool() {
        gone() = true;
        while (count_ > 0) ::operator delete(free_[--count_]);
    }
    // Statics and other threads' leftovers may free after this thread's pool has gone.
    static bool& gone() {
        thread_local bool yes = false;
        return yes;
    }
    static block_pool* mine() {
        if (gone()) return nullptr;
        thread_local block_pool pool;
        return &pool;
    }

    std::size_t count_ = 0;
    void* free_[capacity];
};

/// Like `unique_ptr`, from the pool.
template <class T>
class pooled {
public:
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

    pooled() = default;
    template <class... Args>
    explicit pooled(std::in_place_t, Args&&... args) {
        void* block = pool::take();
        try {
            object_ = ::new (block) T(std::forward<Args>(args)...);
        } catch (...) {
            pool::give(block);
            throw;
        }
    }
    pooled(pooled&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    pooled& operator=(pooled&& other) noexcept {
        if (this != &other) {
            reset();
            object_ = std::exchange(other.object_, nullptr);
        }
        return *this;
    }
    ~pooled() { reset(); }

    explicit operator bool() const { return object_ != nullptr; }
    T& operator*() const { return *object_; }
    T* operator->() const { return object_; }

private:
    // One list for all types of about a size.
    using pool = block_pool<(sizeof(T) + 63) / 64 * 64>;

    void reset() noexcept {
        if (T* object = std::exchange(object_, nullptr)) {
            object->~T();
            pool::give(object);
        }
    }
    T* object_ = nullptr;
};

/// An allocator over the same pools, for `allocate_shared`.
template <class T>
class pool_allocator {
public:
    using value_type = T;
    pool_allocator() = default;
    template <class U>
    pool_allocator(const pool_allocator<U>&) noexcept {}

    T* allocate(std::size_t count) {
        static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
        return static_cast<T*>(count == 1 ? pool::take() : ::operator new(count * sizeof(T)));
    }
    void deallocate(T* block, std::size_t count) noexcept {
        if (count == 1) {
            pool::give(block);
        } else {
            ::operator delete(block);
        }
    }
    template <class U>
    friend bool operator==(const pool_allocator&, const pool_allocator<U>&) {
        return true;
    }

private:
    using pool = block_pool<(sizeof(T) + 63) / 64 * 64>;
};

/// `make_shared` from the pool.
template <class T, class... Args>
std::shared_ptr<T> make_pooled(Args&&... args) {
    return std::allocate_shared<T>(pool_allocator<T>(), std::forward<Args>(args)...);
}

}  // namespace llmkit::detail
