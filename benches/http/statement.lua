-- Statements for wrk, each with a literal of its own, and the figures as one line of JSON.
local number = 0
local threads = 0

function setup(thread)
    thread:set("first", threads * 1000000000)
    threads = threads + 1
end

function request()
    number = number + 1
    local headers = { ["X-Trino-Catalog"] = "memory", ["X-Trino-Schema"] = "bench", ["X-Trino-User"] = "bench" }
    return wrk.format("POST", "/v1/statement", headers, "select a from t where id = " .. (first + number))
end

function done(summary, latency)
    local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
    io.write(string.format('{"requests": %d, "duration_us": %d, "errors": %d, "p50_us": %d, "p99_us": %d}\n',
        summary.requests, summary.duration, errors, latency:percentile(50), latency:percentile(99)))
end
