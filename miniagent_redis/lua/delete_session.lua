#!lua flags=allow-oom
-- include: _open _checked _ended _session _ops _doubt _seal
-- Remove everything of a session; a turn that is running will find nothing to commit to. Which
-- operations have removed one of this id, and when, stays known for a minute.
-- ARGV  5 operation, which has no magic characters  6 channel for the note, or '' for none  7 note
--       8 expected: the seal under which it was read, or '' to remove it as it is
-- Returns  nonce 'ok' user messages  |  nonce 'changed', it has another seal by now
--          those of _open, _ended, _session and _doubt
local doubtful = doubt(version or 0)
if doubtful then
  return doubtful
elseif ARGV[8] ~= '' and ARGV[8] ~= seal() then
  return {nonce, 'changed'}
end
return end_session(owner)
