-- Begins every session script: the arguments all have in common, and how a script is refused.
-- KEYS  1 session  2 thread  3 turn  4 metadata  5 ops  6 events, which is a channel's name too:
--       that is published to by SPUBLISH in a cluster, as store/scripts.py puts it
--       7 queue, whose type _queue.lua asks for, where it is read
-- ARGV  1 nonce, with ':sent:age': the time by this clock, in ms and '.' and µs, before which the first
--       try of the operation did not begin, or 0; 0 for that one, else the ms since then at the least,
--       plus one; '~' if there was a try since then that was not answered, '=' if all were, and had to
--       wait for something; else none was sent, or it was told 'late'
--       2 now in ms, or '' for the server's clock  3 grace_ms  4 user, or '' for any
-- Returns  nonce 'wrongtype' key type   with nothing changed
--          in all answers of session scripts the time stands behind the nonce, if that had its ':'
local nonce, now, grace, user = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local time = now and {0, 0} or redis.call('TIME')
local micros = time[2] % 1000 -- behind now
now = now or time[1] * 1000 + (time[2] - micros) / 1000
local sent, part, age, tried = string.match(nonce, ':(%d+)(%.?%d*):(%d+)([~=]?)$')
local is_repeated = tried == '~' -- what an earlier try has done, nobody was told
local since -- before that time none was sent that may have done something
local doubted = is_repeated and 'unsure' or 'late' -- the answer, where nobody knows that any more
if sent then
  nonce = string.format('%s %d.%03d', nonce, now, micros)
  sent, part, age = tonumber(sent), tonumber(part) or 0, tonumber(age)
  since = is_repeated and sent or sent + math.max(age - 1, 0)
end
-- Whether others may have done much since this was sent: it is repeated, or was long on its way.
local is_late = sent and sent > 0 and (age > 0 or now - sent > 20)
local format = string.format -- makes text of a number in half the time that Redis takes
local never = 2 ^ 52 -- a deadline in ms from here on, 140,000 years away, is none
local exists, last_event -- whether there is a session; the number of its last event
local next_ticket -- of who waits for it first, or ''
local refused -- the answer, when nothing may be done

-- Returns whether the session was made after the one that is meant: which gave the answer that is gone
-- on from; or, surely, after the first try began.
local function is_anew()
  local times = (age or 0) > 0 and redis.call('HMGET', KEYS[4], 'created_at', 'created_us') or {}
  local made, behind = tonumber(times[1] or 0) or 0, tonumber(times[2] or 0) or 0
  return tried == '=' and made + behind / 1000 > sent + part
    or tried ~= '=' and made > 0 and made > now - age + 1 and made <= now -- else the clock went back
end

-- Gives a key the session's end, and the grace to all but the session itself; or none.
local function expire(i, deadline)
  if deadline < never then
    redis.call('PEXPIREAT', KEYS[i], format('%d', deadline + (i > 1 and grace or 0)))
  else
    redis.call('PERSIST', KEYS[i])
  end
end

-- Returns what forbids to do anything: the channel, of which a user of Redis 7 may use none unless
-- told so (fakeredis has no ACL); a foreign type at a key; the first error among the replies given.
local function refusal(...)
  if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', KEYS[6], '') then
    return redis.error_reply('NOPERM this user may not publish to the channel ' .. KEYS[6])
  end
  local types = {'string', 'list', 'list', 'hash', 'hash', 'stream'}
  for i = 6, 1, -1 do
    local found = redis.call('TYPE', KEYS[i]).ok
    exists = found == 'string'
    if found ~= types[i] and found ~= 'none' then
      return {nonce, 'wrongtype', KEYS[i], found}
    end
  end
  for _, reply in ipairs({...}) do
    if type(reply) == 'table' and reply.err then
      return reply
    end
  end
end
