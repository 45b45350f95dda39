#!lua flags=allow-oom
-- include: _open _checked _session _events _records _ops _spend
-- Drop the open turn and what it staged. What it took is counted, once, also if others dropped it.
-- ARGV  5 turn_id  6 holder  7 why, a record, or ''  8 counts: name amount name …, or ''
--       9 epoch when the turn began  10 version then  11 began_ms: when, or ''
--       a session that was made since counts nothing of the turn
-- Returns  nonce 'ok' 1, or 0 if it was not ours  1, or 0 if another holder counts what it took
--          id of the event, or ''  version in which this holder has stored it after all, or 0
--          those of _open and _session
local is_ours = open_turn == ARGV[5] and holder == ARGV[6]
local done, by = recall('=' .. ARGV[5])
if done or open_turn == ARGV[5] and not is_ours then
  local is_stored = by == ARGV[6]
  return {nonce, 'ok', 0, is_stored and 1 or 0, '', is_stored and done or 0}
end
if is_ours then
  redis.call('DEL', KEYS[3])
  local since = redis.call('HGET', KEYS[4], 'told_since')
  since = emit_record('turn_failed', ARGV[5], ARGV[7], since, true)
  redis.call('HSET', KEYS[4], 'turn', '', 'told_since', since, 'events', last_event)
  expire(6, deadline) -- it may be new: some was lost
end
local created_at = tonumber(redis.call('HGET', KEYS[4], 'created_at') or 0)
local is_same = epoch == tonumber(ARGV[9])
  or version > tonumber(ARGV[10]) and created_at <= (tonumber(ARGV[11]) or -1) -- and was cleared
if ARGV[8] ~= '' and is_same and redis.call('HGET', KEYS[4], 'dropped') ~= ARGV[6] then
  redis.call('HSET', KEYS[4], 'dropped', ARGV[6], spent(nil, ARGV[8]))
end
return {nonce, 'ok', is_ours and 1 or 0, 1, event, 0}
