-- Replaces one part of the API server's documents, or only says that it was checked.
-- KEYS: documents, revisions, meta
-- ARGV: the revision that the writer saw, the new one, cluster UID, field of the
-- part's time, time in ms, number of paths to remove, paths..., (path, revision, data)...
local seen = redis.call('HGET', KEYS[3], 'revision') or ''
if seen ~= ARGV[1] then return {'lost', seen} end
local cluster = redis.call('HGET', KEYS[3], 'cluster') or ''
if ARGV[3] ~= '' and cluster ~= '' and cluster ~= ARGV[3] then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], 'cluster', ARGV[3]) end
redis.call('HSET', KEYS[3], 'revision', ARGV[2], ARGV[4], ARGV[5])
local gone = tonumber(ARGV[6])
for i = 7, 6 + gone do
  redis.call('HDEL', KEYS[1], ARGV[i])
  redis.call('HDEL', KEYS[2], ARGV[i])
end
for i = 7 + gone, #ARGV, 3 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
return {'ok'}
