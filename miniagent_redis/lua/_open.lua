-- Begins every session script: the arguments all have in common, and the type of every key.
-- KEYS  1 session  2 thread  3 turn  4 metadata  5 ops  6 events, which is a channel's name too
-- ARGV  1 nonce  2 now in ms, or '' for the server's clock  3 grace in ms  4 user, or '' for any
-- Returns  nonce 'wrongtype' key type   before anything is written
local nonce, now, grace, user = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
-- A user of Redis 7 may use no channel unless told so, and a script that fails half way keeps what
-- it wrote. (fakeredis has no ACL.)
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', KEYS[6], '') then
  return redis.error_reply('NOPERM this user may not publish to the channel ' .. KEYS[6])
end
local TYPES = {'string', 'list', 'list', 'hash', 'hash', 'stream'}
local exists = false
for i = 6, 1, -1 do
  local found = redis.call('TYPE', KEYS[i]).ok
  exists = found == 'string'
  if found ~= TYPES[i] and found ~= 'none' then
    return {nonce, 'wrongtype', KEYS[i], found}
  end
end

-- Gives all keys the one deadline; what is not the session itself stays readable for the grace.
local function expire_at(deadline)
  redis.call('PEXPIREAT', KEYS[1], deadline)
  for i = 2, 6 do
    redis.call('PEXPIREAT', KEYS[i], deadline + grace)
  end
end

-- Appends an event for watchers (some 1,000 are kept) and, if not `quiet`, wakes who waits. Its id
-- is the time and its number, so that a gap shows. If the clock went back that id is refused, and
-- '*' gives the last one + 1: the next number too. What fails here must not stop the script.
local function emit(kind, turn, record, version, quiet)
  local number = redis.pcall('HINCRBY', KEYS[4], 'events', 1)
  local id = type(number) == 'number' and string.format('%d-%d', now, number) or '*'
  local added = redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', 1000, id, 'type', kind, 'turn', turn,
    'version', version, 'record', record)
  if type(added) == 'table' and id ~= '*' then
    redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', 1000, '*', 'type', kind, 'turn', turn,
      'version', version, 'record', record)
  end
  if not quiet then
    redis.call('PUBLISH', KEYS[6], kind)
  end
end

-- Remembers that operation `id` produced `version`, so that its repetition can be answered. The
-- last 64 are kept: each takes the place of the one 64 versions before.
local function remember(id, version, note)
  redis.call('HSET', KEYS[5], version % 64, id .. ' ' .. version .. ' ' .. note)
end

-- Returns the version and the note of operation `id`, or nothing if it is not remembered.
local function recall(id)
  for _, entry in ipairs(redis.call('HVALS', KEYS[5])) do
    local known, version, note = string.match(entry, '^(%S+) (%d+) (.*)$')
    if known == id then
      return tonumber(version), note
    end
  end
end

-- Makes a number of the random operation `id`, unlike that of any thread before, be it one of an
-- earlier session with the same session id in the same millisecond.
local function new_epoch(id)
  return tonumber(string.sub(id, 1, 13), 16)
end
