-- wrk -s zipf.lua URL -- COUNT EXPONENT SEED: POSTs to /f/bench/0 ... /f/bench/COUNT-1, the n-th of
-- them as often as n^-EXPONENT says, and prints one line of JSON at the end.
local requests, sums

function init(args)
    local count, exponent = tonumber(args[1]), tonumber(args[2])
    math.randomseed(tonumber(args[3]))
    requests, sums = {}, {}
    local sum = 0
    for rank = 1, count do
        sum = sum + rank ^ -exponent
        sums[rank] = sum
        requests[rank] = wrk.format("POST", "/f/bench/" .. rank - 1, nil, "ping")
    end
end

function request()
    local wanted = math.random() * sums[#sums]
    local low, high = 1, #sums
    while low < high do
        local middle = math.floor((low + high) / 2)
        if sums[middle] < wanted then
            low = middle + 1
        else
            high = middle
        end
    end
    return requests[low]
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format('{"requests": %d, "duration_us": %d, ',
        summary.requests, summary.duration))
    io.write(string.format('"p50_us": %d, "p99_us": %d, "p999_us": %d, "errors": %d}\n',
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
