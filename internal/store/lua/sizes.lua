-- Tells ID, size and head of stream entries without sending them.
-- KEYS: stream   ARGV: start, count, bytes of head
local answer = {}
for i, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do
  local value = entry[2][2]
  answer[3 * i - 2] = entry[1]
  answer[3 * i - 1] = #value
  answer[3 * i] = string.sub(value, 1, tonumber(ARGV[3]))
end
return answer
