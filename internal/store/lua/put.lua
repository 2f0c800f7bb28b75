-- Puts a listed in the place of the one before, whose wants and bodies go.
-- KEYS: fence, listed, meta, wants, bodies, uploaded   ARGV: token, id, head, chunks
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
if redis.call('HGET', KEYS[3], 'id') == ARGV[2] then -- a retry
  redis.call('DEL', KEYS[6])
  return {'ok'}
end
if redis.call('LLEN', KEYS[6]) ~= tonumber(ARGV[4]) then return {'lost', 'uploaded chunks'} end
redis.call('HSET', KEYS[3], 'id', ARGV[2], 'head', ARGV[3])
redis.call('DEL', KEYS[2], KEYS[4], KEYS[5])
if ARGV[4] ~= '0' then
  redis.call('RENAME', KEYS[6], KEYS[2])
  redis.call('PERSIST', KEYS[2])
end
return {'ok'}
