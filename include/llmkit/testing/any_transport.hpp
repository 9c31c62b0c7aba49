// llmkit/testing/any_transport.hpp: some transport, whichever it is.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <llmkit/core/asio.hpp>
#include <llmkit/core/clock.hpp>
#include <llmkit/core/result.hpp>
#include <llmkit/transport/concept.hpp>

namespace llmkit::testing {

/// A transport whose type is not known where it is used; copies share what it holds.
///
///     any_transport one = llmkit::http(executor);
class any_transport {
public:
    template <class T>
        requires(!std::same_as<std::remove_cvref_t<T>, any_transport> &&
                 transport<std::remove_cvref_t<T>>)
    any_transport(T&& held)
        : held_(std::make_shared<holder<std::remove_cvref_t<T>>>(std::forward<T>(held))) {}

    clock_handle clock() const { return held_->clock(); }
    task<result<http_response>> send(http_request ask) { return held_->send(std::move(ask)); }

private:
    class holding {
    public:
        virtual ~holding() = default;
        virtual clock_handle clock() const = 0;
        virtual task<result<http_response>> send(http_request ask) = 0;
    };
    template <class T>
    class holder final : public holding {
    public:
        explicit holder(T held) : held_(std::move(held)) {}
        clock_handle clock() const override { return held_.clock(); }
        task<result<http_response>> send(http_request ask) override {
            return held_.send(std::move(ask));
        }

    private:
        T held_;
    };

    std::shared_ptr<holding> held_;
};
static_assert(transport<any_transport>);

/// Makes a fresh transport on an executor.
using transport_maker = std::function<any_transport(const executor&)>;

}  // namespace llmkit::testing
