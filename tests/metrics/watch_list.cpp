#include <llmkit/metrics/registry.hpp>

#include <memory>
#include <thread>

#include <llmkit/metrics/prometheus.hpp>
#include <llmkit/metrics/report.hpp>

#include "metrics/texts.hpp"
#include "test.hpp"

namespace test_metrics_watch_list {

using namespace llmkit;
using namespace metrics_test;

namespace {

/// A part with two figures.
class oven {
public:
    oven(int cakes, double hours) : cakes_(cakes), hours_(hours) {}
    std::vector<reading> readings() const {
        return {reading::now("cakes_inside", cakes_, "Cakes that bake."),
                reading::total("baking_hours", hours_, "How long it was hot.")};
    }

private:
    int cakes_;
    double hours_;
};

}  // namespace

TEST_CASE("watched parts stand in every kind of report", "[metrics]") {
    metrics figures;
    figures.watch("big oven", oven(1234, 2.5));
    figures.watch("spare", oven(0, 0));
    const auto seen = figures.snapshot();
    REQUIRE(seen.watched.size() == 2);
    CHECK(seen.watched[0].readings[0].value == 1234);

    CHECK(has(to_table(seen), "\nbig oven        cakes inside 1,234, baking hours 2.500\n"));
    CHECK(has(to_table(seen), "\nspare           cakes inside 0, baking hours 0\n"));
    const auto json = to_json(seen);
    CHECK(json["watched"]["big oven"]["cakes_inside"] == 1234);
    CHECK(json["watched"]["big oven"]["baking_hours"] == 2.5);
    const auto text = to_prometheus(seen);
    CHECK(has(text,
              "# HELP llmkit_big_oven_cakes_inside Cakes that bake.\n"
              "# TYPE llmkit_big_oven_cakes_inside gauge\n"
              "llmkit_big_oven_cakes_inside 1234"));
    CHECK(has(text,
              "# TYPE llmkit_big_oven_baking_hours_total counter\n"
              "llmkit_big_oven_baking_hours_total 2.5\n"));
    CHECK(to_json({})["watched"].is_object());
}

TEST_CASE("a name that is watched again stands for the new part, and names are bounded",
          "[metrics]") {
    metrics figures;
    figures.watch("oven", oven(1, 0));
    figures.watch("oven", oven(2, 0));
    REQUIRE(figures.snapshot().watched.size() == 1);
    CHECK(figures.snapshot().watched[0].readings[0].value == 2);
    for (int i = 0; i < 30; ++i) figures.watch("oven " + std::to_string(i), oven(3, 0));
    CHECK(figures.snapshot().watched.size() == 16);
    const metrics copy = figures;
    CHECK(copy.snapshot().watched.size() == 16);
}

TEST_CASE("parts are watched from several threads", "[metrics]") {
    metrics figures;
    const auto work = [&] {
        for (int i = 0; i < 200; ++i) {
            figures.watch("oven " + std::to_string(i % 20), oven(i, 0));
            (void)figures.snapshot();
        }
    };
    std::thread other(work);
    work();
    other.join();
    CHECK(figures.snapshot().watched.size() == 16);
}

}  // namespace test_metrics_watch_list
