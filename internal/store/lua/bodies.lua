-- Hands bodies over, if the listed that they belong to still stands.
-- KEYS: fence, listed meta, wants, bodies   ARGV: token, listed id, field, value...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[2] then return {'ok'} end
for i = 3, #ARGV, 400 do
  local list, fields = {}, {}
  for j = i, math.min(i + 399, #ARGV), 2 do
    list[#list + 1] = ARGV[j]
    list[#list + 1] = ARGV[j + 1]
    fields[#fields + 1] = ARGV[j]
  end
  redis.call('HSET', KEYS[4], unpack(list))
  redis.call('HDEL', KEYS[3], unpack(fields))
end
return {'ok'}
