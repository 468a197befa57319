-- Asks for every path as every learner, each pair once before any comes again.
-- Arguments: the method, a file of tokens and one of paths, one a line; without tokens nobody is signed in.
local method, headers, paths, asked = nil, {}, {}, 0

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
   local learner, turn = asked % #headers, math.floor(asked / #headers)
   asked = asked + 1
   return wrk.format(method, paths[(turn + learner) % #paths + 1], headers[learner + 1])
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
