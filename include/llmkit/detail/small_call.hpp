// llmkit/detail/small_call.hpp: a move-only function that does not allocate when it is small.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace llmkit::detail {

/// `void()` once. Closures of up to 64 bytes live inside it.
class small_call {
public:
    small_call() = default;
    template <class F>
        requires(!std::is_same_v<std::decay_t<F>, small_call>)
    explicit small_call(F&& call) {
        using closure = std::decay_t<F>;
        if constexpr (sizeof(closure) <= sizeof(room_) && alignof(closure) <= alignof(void*) &&
                      std::is_nothrow_move_constructible_v<closure>) {
            ::new (static_cast<void*>(room_)) closure(std::forward<F>(call));
            actions_ = &inside<closure>;
        } else {
            auto* heap = new closure(std::forward<F>(call));
            ::new (static_cast<void*>(room_)) closure*(heap);
            actions_ = &outside<closure>;
        }
    }
    small_call(small_call&& other) noexcept : actions_(std::exchange(other.actions_, nullptr)) {
        if (actions_) actions_(what::move, room_, other.room_);
    }
    small_call& operator=(small_call&& other) noexcept {
        if (this != &other) {
            this->~small_call();
            ::new (static_cast<void*>(this)) small_call(std::move(other));
        }
        return *this;
    }
    ~small_call() {
        if (actions_) actions_(what::drop, room_, nullptr);
    }

    explicit operator bool() const { return actions_ != nullptr; }
    void operator()() {
        if (actions_) std::exchange(actions_, nullptr)(what::call, room_, nullptr);
    }

private:
    enum class what { call, move, drop };
    using action = void (*)(what, void*, void*);

    template <class F>
    static void inside(what todo, void* room, void* from) {
        if (todo == what::move) {
            F* source = std::launder(static_cast<F*>(from));
            ::new (room) F(std::move(*source));
            source->~F();
            return;
        }
        F* self = std::launder(static_cast<F*>(room));
        if (todo == what::drop) return self->~F();
        F once(std::move(*self));  // the call may destroy what holds us
        self->~F();
        once();
    }
    template <class F>
    static void outside(what todo, void* room, void* from) {
        if (todo == what::move) {
            ::new (room) F*(*std::launder(static_cast<F**>(from)));
            return;
        }
        std::unique_ptr<F> self(*std::launder(static_cast<F**>(room)));
        if (todo == what::call) (*self)();
    }

    action actions_ = nullptr;
    alignas(void*) std::byte room_[64];
};

}  // namespace llmkit::detail
