-- wrk -s post.lua URL -- BYTES [close]: POSTs a body of that size, and prints one line of JSON at the
-- end.  With `close`, each request has a connection of its own.
function init(args)
    wrk.method = "POST"
    wrk.body = string.rep("x", tonumber(args[1]))
    if args[2] == "close" then
        wrk.headers["Connection"] = "close"
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "duration_us": %d, ',
        summary.requests, summary.duration))
    io.write(string.format('"p50_us": %d, "p99_us": %d, "p999_us": %d, "max_us": %d, "errors": %d}\n',
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
