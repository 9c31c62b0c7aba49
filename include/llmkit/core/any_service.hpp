// llmkit/core/any_service.hpp: any service behind one type, for stacks chosen at run time.
#pragma once

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include <llmkit/core/service.hpp>

namespace llmkit {

/// Holds any service; copies share it. One virtual call on top of the service's own cost.
///
///     llmkit::any_service chosen = cheap ? any_service(small) : any_service(large);
///     auto client = llmkit::pipeline(chosen) | llmkit::retry();
///
/// As thread-safe as what it holds.
class any_service {
public:
    // The order of the two matters: asking whether any_service is a service while it is being
    // copied would ask itself.
    template <class S>
        requires(!std::same_as<std::remove_cvref_t<S>, any_service> &&
                 service<std::remove_cvref_t<S>>)
    explicit any_service(S&& held)
        : held_(std::make_shared<holder<std::remove_cvref_t<S>>>(std::forward<S>(held))) {}

    task<result<response>> operator()(request ask) const { return call(held_, std::move(ask)); }
    clock_handle clock() const { return held_->clock(); }
    std::string origin() const { return held_->origin(); }

private:
    class base {
    public:
        virtual ~base() = default;
        virtual task<result<response>> call(request ask) = 0;
        virtual clock_handle clock() const = 0;
        virtual std::string origin() const = 0;
    };
    template <class S>
    class holder final : public base {
    public:
        explicit holder(S held) : held_(std::move(held)) {}
        task<result<response>> call(request ask) override { return held_(std::move(ask)); }
        clock_handle clock() const override { return held_.clock(); }
        std::string origin() const override { return origin_of(held_); }

    private:
        S held_;
    };

    static task<result<response>> call(std::shared_ptr<base> held, request ask) {
        co_return co_await held->call(std::move(ask));
    }

    std::shared_ptr<base> held_;
};

}  // namespace llmkit
