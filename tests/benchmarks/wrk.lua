-- Sends a request for every path with every token; no pair is repeated before all have been sent.
-- Arguments: the method, a file of tokens and a file of paths, one a line; without tokens, requests are anonymous.
local method, headers, paths, sent = nil, {}, {}, 0

function init(arguments)
   method = arguments[1]
   for token in io.lines(arguments[2]) do
      headers[#headers + 1] = { Authorization = "Bearer " .. token }
   end
   for path in io.lines(arguments[3]) do
      paths[#paths + 1] = path
   end
   headers[1] = headers[1] or {}
end

function request()
   local caller, turn = sent % #headers, math.floor(sent / #headers)
   sent = sent + 1
   return wrk.format(method, paths[(turn + caller) % #paths + 1], headers[caller + 1])
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
