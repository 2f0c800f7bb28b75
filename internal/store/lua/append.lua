-- Writes one log entry and the log's meta.
-- KEYS: fence, meta, log   ARGV: token, expected tail, id, entry, meta field, value...
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local tail = redis.call('HGET', KEYS[2], 'tail') or ''
if tail == ARGV[3] then return {'ok'} end -- a retry
if tail ~= ARGV[2] then return {'lost', tail} end
redis.call('XADD', KEYS[3], ARGV[3], 'e', ARGV[4])
redis.call('HSET', KEYS[2], 'tail', ARGV[3], unpack(ARGV, 5))
return {'ok'}
