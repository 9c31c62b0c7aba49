// llmkit/core/result.hpp: a value, or the reason why there is none.
#pragma once

#include <stdexcept>
#include <utility>
#include <variant>

#include <llmkit/core/error.hpp>

namespace llmkit {

/// What `result::value()` throws; `what()` is the error's whole text.
class failure : public std::runtime_error {
public:
    explicit failure(llmkit::error reason)
        : std::runtime_error(reason.to_string()), reason_(std::move(reason)) {}
    const llmkit::error& error() const { return reason_; }

private:
    llmkit::error reason_;
};

/// A value of type T or an `error`.
///
///     llmkit::result<int> port = read_port();
///     if (!port) return port.error();
///     use(*port);                                  // or port.value(), which throws `failure`
///
/// Default-constructed it holds an error of kind `unset`. `*`, `->` need a value; `error()` needs
/// none: both are preconditions.
template <class T>
class [[nodiscard]] result {
public:
    using value_type = T;

    result() = default;
    result(T value) : state_(std::in_place_index<1>, std::move(value)) {}
    result(llmkit::error reason) : state_(std::in_place_index<0>, std::move(reason)) {}

    bool has_value() const { return state_.index() == 1; }
    explicit operator bool() const { return has_value(); }

    T& operator*() & { return *std::get_if<1>(&state_); }
    const T& operator*() const& { return *std::get_if<1>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<1>(&state_)); }
    T* operator->() { return std::get_if<1>(&state_); }
    const T* operator->() const { return std::get_if<1>(&state_); }

    T& value() & { return check(), **this; }
    const T& value() const& { return check(), **this; }
    T&& value() && { return check(), std::move(**this); }
    template <class U>
    T value_or(U&& other) const& {
        return has_value() ? **this : static_cast<T>(std::forward<U>(other));
    }

    const llmkit::error& error() const { return *std::get_if<0>(&state_); }

private:
    void check() const {
        if (!has_value()) throw failure(error());
    }
    std::variant<llmkit::error, T> state_;
};

/// Success, or the reason why not.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;

    result() : ok_(true) {}
    result(llmkit::error reason) : ok_(false), reason_(std::move(reason)) {}

    bool has_value() const { return ok_; }
    explicit operator bool() const { return ok_; }
    void value() const {
        if (!ok_) throw failure(reason_);
    }
    const llmkit::error& error() const { return reason_; }

private:
    bool ok_;
    llmkit::error reason_;
};

}  // namespace llmkit
