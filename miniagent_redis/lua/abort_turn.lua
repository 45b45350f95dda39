#!lua flags=allow-oom
-- include: _open _session _spend
-- Drop the open turn and what it staged; nothing happens when it is no longer ours.
-- ARGV  5 turn id  6 holder  7 why, a record, or ''  8 counts
-- Returns  nonce 'ok' 1, or 0 if it was not ours  |  those of _open and _session
if open_turn ~= ARGV[5] or holder ~= ARGV[6] then
  return {nonce, 'ok', 0}
end
close_turn()
spend(ARGV[8])
emit('turn_failed', ARGV[5], ARGV[7], version)
expire_at(deadline)
return {nonce, 'ok', 1}
