#!lua flags=no-writes
-- include: _open _checked _session _ops
-- Tell what became of a turn or another operation.
-- ARGV  5 operation: a turn's id, or another one's
-- Returns  nonce 'ok' 'committed' | 'open' | 'forgotten', perhaps | 'unknown', version: its own, or
--            that of the session, and of what is committed its note: of a turn the holder
--          those of _open and _session
local done, note = recall('=' .. ARGV[5])
if done then
  return {nonce, 'ok', 'committed', done, note}
end
local forgotten = is_late and is_forgetting(version) and 'forgotten'
return {nonce, 'ok', open_turn == ARGV[5] and 'open' or forgotten or 'unknown', version}
