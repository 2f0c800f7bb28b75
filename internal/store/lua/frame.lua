-- frame
-- Writes one frame, and perhaps a keyframe, and drops the oldest frames.
-- Dropping comes first: it works in a Redis that is full.
-- KEYS: fence, meta, frames, keyframe
-- ARGV: token, expected tail, id, oldest id to keep, time to live in ms, "retry" if
-- the frame may have arrived already, frame, keyframe or ''
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local tail = redis.call('HGET', KEYS[2], 'tail') or ''
if tail == ARGV[3] and ARGV[6] == 'retry' then return {'ok'} end
if tail ~= ARGV[2] then return {'lost', tail} end
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[4])
redis.call('XADD', KEYS[3], ARGV[3], 'e', ARGV[7])
if ARGV[8] ~= '' then redis.call('HSET', KEYS[4], 'at', ARGV[3], 'data', ARGV[8]) end
redis.call('HSET', KEYS[2], 'tail', ARGV[3])
for i = 2, 4 do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
return {'ok'}
