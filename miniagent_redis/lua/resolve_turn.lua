#!lua flags=no-writes
-- include: _open _checked _session _ops
-- Tell what became of a turn or another operation.
-- ARGV  5 operation: a turn's id, or another one's
-- Returns  nonce 'ok' 'committed' | 'open' | 'unknown', version: its own, or the session's
--          those of _open and _session
local done = recall('=' .. ARGV[5])
if done then
  return {nonce, 'ok', 'committed', done}
end
return {nonce, 'ok', open_turn == ARGV[5] and 'open' or 'unknown', version}
