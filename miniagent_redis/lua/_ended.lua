-- Follows where a session is ended, or may be gone because an earlier try of the operation has
-- ended it. Which operations have ended one of this id stays known for a minute, and goes over to the
-- next one of the id. Who owned it is known only for whoever does not know that, and until then: what
-- is left of a user when all is removed must not name him.
-- Returns  nonce 'ok' user messages   that is so; one that was made since stays as it is
local ended = redis.call('HGET', KEYS[5], 'ended') or ''
local removed = string.match('\n' .. ended, '\n' .. ARGV[5] .. '=(%d+)\n')
if removed then
  local former = redis.call('HGET', KEYS[5], 'owner')
  return {nonce, 'ok', former or user, tonumber(removed)}
end

-- Removes everything of the session, and says so. Returns the answer.
local function end_session(owner)
  local messages = redis.call('LLEN', KEYS[2])
  redis.call('DEL', unpack(KEYS))
  redis.call('HSET', KEYS[5], 'ended_at', format('%d', now),
    'ended', ARGV[5] .. '=' .. messages .. '\n' .. string.sub(ended, 1, 1000))
  if user == '' and owner ~= '' then
    redis.call('HSET', KEYS[5], 'owner', owner)
  end
  redis.call('PEXPIREAT', KEYS[5], format('%d', now + 60000))
  redis.call('PUBLISH', KEYS[6], 'session_ended')
  if ARGV[6] ~= '' then
    redis.pcall('PUBLISH', ARGV[6], ARGV[7]) -- where that is forbidden sessions end all the same
  end
  return {nonce, 'ok', owner, messages}
end
