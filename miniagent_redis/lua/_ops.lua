-- Follows where an operation must be known when it is repeated.

-- Remembers that operation `id` produced `version`. The last 64 are kept: each takes the place of
-- the one 64 versions before. Of every 16th the time is kept too. '=' in front of an id means that
-- a caller gave it, who may come again with it much later: it is known for 500 versions at least.
local function remember(id, version, note)
  if string.sub(id, 1, 1) == '=' then
    local all = redis.call('HLEN', KEYS[5]) > 640 and redis.call('HGETALL', KEYS[5]) or {}
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 1) == '='
        and tonumber(string.match(all[i + 1], '%d+')) <= version - 500 then
        redis.call('HDEL', KEYS[5], all[i])
      end
    end
    redis.call('HSET', KEYS[5], id, version .. ' ' .. note)
    id = string.sub(id, 2)
  end
  local place, entry = format('%d', version % 64), id .. ' ' .. version .. ' ' .. note
  if version % 16 == 0 then
    redis.call('HSET', KEYS[5], place, entry, place .. ' at', format('%d:%d', version, now))
  else
    redis.call('HSET', KEYS[5], place, entry)
  end
end

-- Returns the version and the note of operation `id`, or nothing if it is not remembered.
local function recall(id)
  local own = string.match(id, '^=(.*)')
  local version, note = string.match(own and redis.call('HGET', KEYS[5], id) or '', '^(%d+) (.*)$')
  if version then
    return tonumber(version), note
  end
  local places = {}
  for i = 1, 64 do
    places[i] = i - 1
  end
  for _, entry in ipairs(redis.call('HMGET', KEYS[5], unpack(places))) do
    local known, version, note = string.match(entry or '', '^(%S+) (%d+) (.*)$')
    if known and known == (own or id) then
      return tonumber(version), note
    end
  end
end

-- Returns whether operations may be forgotten that were done since this one was sent. None is, if
-- the first one that is remembered with its time was done before.
local function is_forgetting(version)
  if version < 64 then
    return false
  end
  local first = math.ceil((version - 63) / 16) * 16
  local at = redis.call('HGET', KEYS[5], format('%d at', first % 64))
  local of, time = string.match(at or '', '^(%d+):(%d+)$')
  return tonumber(of) ~= first or tonumber(time) >= since
end
