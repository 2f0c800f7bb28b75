-- Gives the lease back and shuts the fence behind it.
-- KEYS: lease, fence   ARGV: token
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[1], KEYS[2])
end
return {'ok'}
