-- Asks for bodies, if the listed that they belong to still stands.
-- KEYS: fence, listed meta, wants   ARGV: token, listed id, key...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[2] then return {'ok'} end
for i = 3, #ARGV, 200 do
  local fields = {}
  for j = i, math.min(i + 199, #ARGV) do
    fields[#fields + 1] = ARGV[j]
    fields[#fields + 1] = ''
  end
  redis.call('HSET', KEYS[3], unpack(fields))
end
return {'ok'}
