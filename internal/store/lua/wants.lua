-- Tells what is wanted for a listed, and whether the aggregator is done with it.
-- KEYS: listed meta, wants, snapshot meta   ARGV: listed id
if redis.call('HGET', KEYS[3], 'listed') == ARGV[1] then return {'ok', 1, {}} end
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'ok', 0, {}} end
return {'ok', 0, redis.call('HKEYS', KEYS[2])}
