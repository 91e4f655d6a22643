-- Ends a run of wrk with one line of JSON on stderr, where nothing else stands.
function done(summary, latency, requests)
   local errors = summary.errors
   io.stderr:write(string.format(
      '{"requests": %d, "duration_us": %d, "p50_us": %.2f, "p99_us": %.2f, ' ..
      '"bad_statuses": %d, "broken": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
