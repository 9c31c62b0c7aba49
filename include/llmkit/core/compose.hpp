// llmkit/core/compose.hpp: `|`, which wraps what stands on its left.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/service.hpp>
#include <llmkit/core/service_check.hpp>

namespace llmkit {

namespace detail {

/// A service with the origin of the one it wraps, for layers that do not pass it on themselves.
template <class S>
class with_origin {
public:
    with_origin(S inner, std::string origin)
        : inner_(std::move(inner)), origin_(std::move(origin)) {}
    task<result<response>> operator()(request ask) { return inner_(std::move(ask)); }
    clock_handle clock() const { return inner_.clock(); }
    std::string origin() const { return origin_; }

private:
    S inner_;
    std::string origin_;
};

/// Puts one layer around one service.
template <class L, class S>
auto wrap(const L& outer, S inner) {
    std::string origin = origin_of(inner);
    auto wrapped = outer(std::move(inner));
    using made = decltype(wrapped);
    if constexpr (requires { wrapped.origin(); } || !service<made>) {
        return wrapped;
    } else {
        return with_origin<made>(std::move(wrapped), std::move(origin));
    }
}

/// Two layers as one, so that partial stacks have names and are used again.
template <class Inner, class Outer>
class stacked : public layer_tag {
public:
    stacked(Inner inner, Outer outer) : inner_(std::move(inner)), outer_(std::move(outer)) {}
    template <class S>
    auto operator()(S next) const {
        check_layer<Inner, S>();
        auto within = wrap(inner_, std::move(next));
        check_layer<Outer, decltype(within)>();
        return wrap(outer_, std::move(within));
    }

private:
    Inner inner_;
    Outer outer_;
};

/// A layer made from a function of a service.
template <class F>
class function_layer : public layer_tag {
public:
    explicit function_layer(F wrap) : wrap_(std::move(wrap)) {}
    template <class S>
        requires std::invocable<const F&, S>
    auto operator()(S next) const {
        return wrap_(std::move(next));
    }

private:
    F wrap_;
};

}  // namespace detail

/// A layer from a function that wraps a service:
///
///     auto logged() {
///         return llmkit::make_layer([](auto next) { return logging(std::move(next)); });
///     }
///     auto client = pipeline(provider) | logged() | retry();
template <class F>
auto make_layer(F wrap) {
    return detail::function_layer<F>(std::move(wrap));
}

/// `pipeline | layer`: the layer wraps. A named pipeline is shared, a temporary is absorbed.
template <class S, class R>
auto operator|(pipeline<S>&& left, R&& right) {
    detail::check_layer<R, S>();
    return pipeline(detail::wrap(right, std::move(left).absorb()));
}
template <class S, class R>
auto operator|(const pipeline<S>& left, R&& right) {
    detail::check_layer<R, pipeline<S>>();
    return pipeline(detail::wrap(right, left));
}
template <class S, class R>
auto operator|(pipeline<S>& left, R&& right) {
    return std::as_const(left) | std::forward<R>(right);
}

/// `layer | layer`: one layer that applies the left one first.
template <layer A, layer B>
auto operator|(A&& inner, B&& outer) {
    using left = std::remove_cvref_t<A>;
    using right = std::remove_cvref_t<B>;
    return detail::stacked<left, right>(std::forward<A>(inner), std::forward<B>(outer));
}

template <layer L, class S>
auto operator|(L&&, const pipeline<S>&) {
    static_assert(detail::never<L>,
                  "llmkit: the pipeline stands on the left: write pipeline(provider) | retry(), "
                  "not retry() | pipeline(provider).");
}

}  // namespace llmkit
