#!lua flags=allow-oom
-- include: _open _checked _ended _session _ops _doubt
-- Remove everything of a session; a turn that is running will find nothing to commit to. Which
-- operations have removed one of this id, and when, stays known for a minute.
-- ARGV  5 operation, which has no magic characters  6 channel for the note, or '' for none  7 note
-- Returns  nonce 'ok' user  |  those of _open, _ended, _session and _doubt
local doubtful = doubt(version or 0)
if doubtful then
  return doubtful
end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[5], 'ended_at', format('%d', now),
  'ended', ARGV[5] .. '=' .. owner .. '\n' .. string.sub(ended, 1, 1000))
redis.call('PEXPIREAT', KEYS[5], format('%d', now + 60000))
redis.call('PUBLISH', KEYS[6], 'session_ended')
if ARGV[6] ~= '' then
  redis.pcall('PUBLISH', ARGV[6], ARGV[7]) -- where that is forbidden sessions end all the same
end
return {nonce, 'ok', owner}
