-- Writes one step of a snapshot: objects, tombstones, meta, drift, feed entry.
-- The feed entry is put together here from what goes into the hash anyway, so
-- that each object crosses the network once.
-- KEYS: fence, meta, snapshot, tombstones, feed, readers, wants, bodies
-- ARGV:  1 token, 2 expected tail, 3 id, 4 state, 5 columns ('' if unchanged),
--        6 listed, 7 trim the log before, 8 trim the feed before,
--        9-12 drift (missing, stale, ghost, altered), 13 the entry's head,
--       14 changes, 15 tombstones, 16 forgotten; then per
--       change: 's' (set), 'd' (delete) or 'f' (feed only), field, head, value;
--       tombstone: field, value; forgotten: field
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local meta = redis.call('HMGET', KEYS[2], 'tail', 'listed')
local tail = meta[1] or ''
if tail == ARGV[3] then return {'ok'} end -- a retry
if tail ~= ARGV[2] then return {'lost', tail} end

local limit = 400 -- arguments of one call, parts of one concat: Lua's stack is small
local function flush(command, key, list)
  if #list > 0 then redis.call(command, key, unpack(list)) end
  return {}
end

local entry, parts, sets, deletes = {}, {ARGV[13]}, {}, {}
local at = 17
for _ = 1, tonumber(ARGV[14]) do
  local op, field, value = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  parts[#parts + 1] = ARGV[at + 2]
  parts[#parts + 1] = value
  if #parts >= limit then
    entry[#entry + 1] = table.concat(parts)
    parts = {}
  end
  if op == 's' then
    sets[#sets + 1] = field
    sets[#sets + 1] = value
    if #sets >= limit then sets = flush('HSET', KEYS[3], sets) end
  elseif op == 'd' then
    deletes[#deletes + 1] = field
    if #deletes >= limit then deletes = flush('HDEL', KEYS[3], deletes) end
  end
  at = at + 4
end
flush('HSET', KEYS[3], sets)
flush('HDEL', KEYS[3], deletes)

sets, deletes = {}, {}
for _ = 1, tonumber(ARGV[15]) do
  sets[#sets + 1] = ARGV[at]
  sets[#sets + 1] = ARGV[at + 1]
  if #sets >= limit then sets = flush('HSET', KEYS[4], sets) end
  at = at + 2
end
flush('HSET', KEYS[4], sets)
for _ = 1, tonumber(ARGV[16]) do
  deletes[#deletes + 1] = ARGV[at]
  if #deletes >= limit then deletes = flush('HDEL', KEYS[4], deletes) end
  at = at + 1
end
flush('HDEL', KEYS[4], deletes)

entry[#entry + 1] = table.concat(parts)
redis.call('XADD', KEYS[5], ARGV[3], 'e', table.concat(entry))
redis.call('HSET', KEYS[2], 'tail', ARGV[3], 'state', ARGV[4], 'listed', ARGV[6])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], 'columns', ARGV[5]) end
for i, kind in ipairs({'missing', 'stale', 'ghost', 'altered'}) do
  if ARGV[8 + i] ~= '0' then redis.call('HINCRBY', KEYS[2], kind, ARGV[8 + i]) end
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[6], 'aggregator', ARGV[7]) end
if ARGV[6] ~= (meta[2] or '') then redis.call('DEL', KEYS[7], KEYS[8]) end
if ARGV[8] ~= '' then redis.call('XTRIM', KEYS[5], 'MINID', ARGV[8]) end
return {'ok'}
