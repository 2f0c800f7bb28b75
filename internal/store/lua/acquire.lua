-- Takes the lease, and with it the fence, unless another writer holds it.
-- KEYS: lease, fence   ARGV: token, instance, ttl in ms, the token that we had before
local held = redis.call('GET', KEYS[1])
if held then
  local token = string.sub(held, 1, #ARGV[1])
  if token ~= ARGV[1] and token ~= ARGV[4] then
    return {'held', string.sub(held, #ARGV[1] + 2), redis.call('PTTL', KEYS[1])}
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[1])
return {'ok'}
