// llmkit/testing/transport_conformance.hpp: does a transport keep the promises of the concept?
#pragma once

#include <llmkit/testing/transport_conformance_answers.hpp>
#include <llmkit/testing/transport_conformance_check.hpp>
#include <llmkit/testing/transport_conformance_failures.hpp>
#include <llmkit/testing/transport_conformance_lifetime.hpp>
#include <llmkit/testing/transport_conformance_requests.hpp>

namespace llmkit::testing {

/// The promises that every transport makes (llmkit/transport/concept.hpp), each as a check that
/// runs alone, on a server of its own that misbehaves as it should. Needs no test framework.
///
///     const auto make = [](const llmkit::executor& on) { return my_transport(on); };
///     for (const auto& check : llmkit::testing::transport_checks()) {
///         const auto found = check.run(make);
///         if (!found.passed()) fmt::print("{}: {}\n", check.name(), found.text());
///     }
///
/// With Catch2, `DYNAMIC_SECTION(check.name())` inside the loop makes each a section. Most take a
/// few milliseconds; none depends on how busy the machine is, up to 20 s for what must happen.
/// Limits of the transport's own should be wide: 200 calls at once, bodies of 48 MiB.
inline transport_check_list transport_checks(const transport_abilities& able = {}) {
    transport_check_list all;
    all.emplace_back(
        "the transport's clock is that of its executor", [](const transport_maker& make) {
            detail::transport_loop loop(make);
            const clock_handle expected(loop.context().get_executor());
            return detail::expect(loop.transport().clock() == expected,
                                  "clock() is another clock: make it from the executor");
        });
    detail::add_request_checks(all, able.early_answers);
    detail::add_answer_checks(all, able.http1_framing);
    detail::add_failure_checks(all, able.http1_framing, able.strict_framing);
    detail::add_size_checks(all, able.http1_framing);
    detail::add_time_checks(all, able.http1_framing);
    detail::add_lifetime_checks(all, able);
    return all;
}

}  // namespace llmkit::testing
