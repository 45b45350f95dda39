-- Follows in scripts that store a turn or drop one.

-- Returns counts of the metadata, with amounts added, as fields for HSET. ARGV[first…] are those of
-- input_tokens, output_tokens and tool_calls, if `first` is given; `others` is 'name amount name
-- amount …'. The others are derived data: one that is no number stays as it is.
local function spent(first, others)
  local fields = {}
  for i, name in ipairs(first and {'input_tokens', 'output_tokens', 'tool_calls'} or {}) do
    local amount = ARGV[first + i - 1]
    if amount ~= '0' then
      fields[#fields + 1] = name
      fields[#fields + 1] = format('%d', head[8 + i] + amount)
    end
  end
  if others == '' then
    return unpack(fields)
  end
  local names, amounts = {}, {}
  for name, amount in string.gmatch(others, '(%S+) (%d+)') do
    names[#names + 1] = name
    amounts[#amounts + 1] = amount
  end
  for i, count in ipairs(redis.call('HMGET', KEYS[4], unpack(names))) do
    count = tonumber(count or 0)
    if count then
      fields[#fields + 1] = names[i]
      fields[#fields + 1] = format('%d', count + amounts[i])
    end
  end
  return unpack(fields)
end
