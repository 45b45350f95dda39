-- Follows _events.lua in scripts that tell what is stored nowhere else: of such records only the last
-- 64 to 128 kB are kept.

-- Appends an event with its record. `since` is how many bytes of them there are from which event on,
-- as metadata has it; returns what it has to have now.
local function emit_record(kind, turn, record, since, wake)
  local size, first = string.match(since or '', '^(%d+) (%S+)$')
  size = (tonumber(size) or 0) + #record
  local is_full = size > 65536
  oldest = is_full and first
  emit(kind, turn, record, version, wake)
  oldest = nil
  if is_full or not first then -- what was the end is the beginning now
    size, first = #record, event
  end
  return format('%d %s', size, first)
end
