-- Renews the lease and takes the asks that are meant for this role.
-- PEXPIRE comes first: unlike SET it works in a Redis that is full, and a full
-- Redis must not cost a writer its lease.
-- KEYS: lease, fence, asks   ARGV: token, instance, ttl in ms, ask...
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'fenced'} end
if redis.call('PEXPIRE', KEYS[1], ARGV[3]) == 0 then
  redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
end
local taken = {'ok'}
for i = 4, #ARGV do
  if redis.call('HDEL', KEYS[3], ARGV[i]) == 1 then taken[#taken + 1] = ARGV[i] end
end
return taken
