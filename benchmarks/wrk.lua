-- Each thread of wrk is one client: it sends the requests of its own file, in order, over and over.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init()
   local file = assert(io.open(os.getenv("REQUESTS") .. "/" .. number, "rb"))
   requests, sent = {}, 0
   for request in file:read("*a"):gmatch("[^\30]+") do
      requests[#requests + 1] = request
   end
   file:close()
end

function request()
   sent = sent % #requests + 1
   return requests[sent]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "errors": ' ..
      '{"status": %d, "timeout": %d, "socket": %d}}\n',
      summary.requests, summary.duration / 1e6,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.timeout, errors.connect + errors.read + errors.write))
end
