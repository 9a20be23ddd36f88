-- Each thread of wrk is one client: it sends the requests of its own file, in turn, over and over.
local started = 0

function setup(thread)
   thread:set("number", started)
   started = started + 1
end

function init()
   local file = assert(io.open(os.getenv("REQUESTS") .. "/" .. number, "rb"))
   requests, turn = {}, 0
   for one in file:read("*a"):gmatch("[^\30]+") do
      requests[#requests + 1] = one
   end
   file:close()
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
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
