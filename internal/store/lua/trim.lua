-- Trims the log before what every reader has done with, and before the cap in
-- any case. The last entry stays.
-- KEYS: fence, log, readers   ARGV: token, cap, tail
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'fenced'} end
local function before(a, b)
  local t, n = string.match(a, '^(%d+)-(%d+)$')
  local u, m = string.match(b, '^(%d+)-(%d+)$')
  if t ~= u then return tonumber(t) < tonumber(u) end
  return tonumber(n) < tonumber(m)
end
local from = ''
for _, id in ipairs(redis.call('HVALS', KEYS[3])) do
  if from == '' or before(id, from) then from = id end
end
if ARGV[2] ~= '' and (from == '' or before(from, ARGV[2])) then from = ARGV[2] end
if from == '' or ARGV[3] == '' then return {'ok', ''} end
if before(ARGV[3], from) then from = ARGV[3] end
redis.call('XTRIM', KEYS[2], 'MINID', from)
return {'ok', from}
