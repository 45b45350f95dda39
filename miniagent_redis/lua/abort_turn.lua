#!lua flags=allow-oom
-- include: _open _session _spend
-- Drop the open turn and what it staged. What it took is counted, once, also if others dropped it.
-- ARGV  5 turn id  6 holder  7 why, a record, or ''  8 counts, or ''
-- Returns  nonce 'ok' 1, or 0 if it was not ours  1, or 0 if another holder counts what it took
--          those of _open and _session
local is_ours = open_turn == ARGV[5] and holder == ARGV[6]
local done, by = recall(ARGV[5])
if done or open_turn == ARGV[5] and not is_ours then
  return {nonce, 'ok', 0, by == ARGV[6] and 1 or 0}
end
if is_ours then
  close_turn()
  emit('turn_failed', ARGV[5], ARGV[7], version)
end
if ARGV[8] ~= '' and redis.call('HGET', KEYS[4], 'dropped') ~= ARGV[6] then
  redis.call('HSET', KEYS[4], 'dropped', ARGV[6])
  spend(ARGV[8])
end
expire_at(deadline)
return {nonce, 'ok', is_ours and 1 or 0, 1}
