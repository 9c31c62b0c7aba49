// llmkit/llmkit.hpp: everything that needs no optional component.
#pragma once

#include <llmkit/batch/map.hpp>
#include <llmkit/cache/memory.hpp>
#include <llmkit/core/any_service.hpp>
#include <llmkit/core/pipeline.hpp>
#include <llmkit/core/run.hpp>
#include <llmkit/layer/cache.hpp>
#include <llmkit/layer/dedup.hpp>
#include <llmkit/layer/monitor.hpp>
#include <llmkit/layer/retry.hpp>
#include <llmkit/layer/stream.hpp>
#include <llmkit/layer/timeout.hpp>
#include <llmkit/metrics/histogram.hpp>
#include <llmkit/metrics/prometheus.hpp>
#include <llmkit/metrics/registry.hpp>
#include <llmkit/metrics/report.hpp>
#include <llmkit/metrics/report_every.hpp>
#include <llmkit/provider/openai.hpp>
#include <llmkit/token/pricing.hpp>
#include <llmkit/transport/concept.hpp>
#include <llmkit/transport/http.hpp>
