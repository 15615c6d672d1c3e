-- The ledger: every change of a counter happens in this script, so it is atomic over all replicas of the proxy.
--
-- A counter is a hash {settled, held}. A reservation is a hash {state, spec, cost, output, call} and an entry in the sorted
-- set of leases, scored by the moment at which it lapses. One that lapsed is in a second set until it is settled all the
-- same, or until it is too late for that: then the record `call` says that it never was. One of shadow mode has a field
-- `shadow`: it is held and charged whatever room there is. Amounts are whole nano-euros or tokens below 2^53, which Lua's
-- numbers hold exactly.
--
-- KEYS: 1 epoch, 2 leases, 3 stream of records, 4 the reservation
-- ARGV: 1 operation, 2 now in milliseconds, 3 id, then what the operation takes
local EPOCH, LEASES, RECORDS, RESERVATION = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local LAPSED = LEASES .. ':lapsed'
local operation, now, id = ARGV[1], tonumber(ARGV[2]), ARGV[3]
-- How long the trace of a finished reservation is kept, so that a second settlement of it is recognised.
local TRACE_MS = 7200000
local LAPSES_PER_CALL = 50
-- More than the clocks of Redis and of the proxies differ.
local CLOCKS_MS = 60000

local function reservation_of(name) return string.sub(RESERVATION, 1, #RESERVATION - #id) .. name end

local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end

local function amount_of(kind, cost, output)
  if kind == 'money' then return cost end
  if kind == 'output' then return output end
  return 1
end

-- A counter whose window is long over is made anew by a late change: it must expire again.
local function add(limit, field, amount)
  redis.call('HINCRBY', limit.key, field, string.format('%.0f', amount))
  if limit.expires > 0 then redis.call('PEXPIREAT', limit.key, string.format('%.0f', limit.expires)) end
end

-- The spec of a lapsed reservation stays, for its late settlement; of the others a short trace is enough.
local function finish(key, name, state, charged, output)
  redis.call('HSET', key, 'state', state, 'charged', charged, 'charged_output', output)
  redis.call('ZREM', LEASES, name)
  if state == 'lapsed' then
    redis.call('ZADD', LAPSED, now + TRACE_MS, name)
    return
  end
  redis.call('HDEL', key, 'spec', 'cost', 'output', 'call', 'shadow')
  redis.call('PEXPIRE', key, TRACE_MS)
  redis.call('ZREM', LAPSED, name)
end

local function hold(spec, cost, output)
  for _, limit in ipairs(spec) do
    add(limit, limit.kind == 'requests' and 'settled' or 'held', amount_of(limit.kind, cost, output))
  end
end

local function release(spec, cost, output)
  for _, limit in ipairs(spec) do
    if limit.kind ~= 'requests' then add(limit, 'held', 0 - amount_of(limit.kind, cost, output)) end
  end
end

local function lapse()
  local lapsed = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, LAPSES_PER_CALL)
  for _, name in ipairs(lapsed) do
    local key = reservation_of(name)
    local stored = redis.call('HMGET', key, 'spec', 'cost', 'output')
    if stored[1] then
      release(cjson.decode(stored[1]), tonumber(stored[2]), tonumber(stored[3]))
      finish(key, name, 'lapsed', 0, 0)
    else
      redis.call('ZREM', LEASES, name)
    end
  end
  return #lapsed
end

-- Proxies try for less than two hours to settle: what lapsed before that is settled no more, and has its record now.
local function bury()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', LAPSED, '-inf', now, 'LIMIT', 0, LAPSES_PER_CALL)) do
    local key = reservation_of(name)
    local call = redis.call('HGET', key, 'call')
    finish(key, name, 'cancelled', 0, 0)
    if call and call ~= '' then
      redis.call('XADD', RECORDS, '*', 'kind', 'lapsed', 'id', name, 'at', now, 'charged', 0, 'output', 0, 'late', 1,
        'record', call)
    end
  end
end

local function room_left(spec, cost, output)
  local over, room = nil, {}
  for index, limit in ipairs(spec) do
    local used = number(limit.key, 'settled') + number(limit.key, 'held')
    room[index] = string.format('%.0f', limit.cap - used)
    if not over and used + amount_of(limit.kind, cost, output) > limit.cap then over = index end
  end
  return over, room
end

-- ARGV: 4 spec (JSON list of {key, kind, cap, expires}), 5 cost, 6 output tokens, 7 lease in milliseconds, 8 shadow,
-- 9 the record of a call that is never settled (JSON), or ''
local function reserve()
  local spec, cost, output = cjson.decode(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  if redis.call('EXISTS', RESERVATION) == 1 then return {'duplicate', redis.call('HGET', RESERVATION, 'state')} end
  lapse()
  local over, room = room_left(spec, cost, output)
  -- Nobody is refused for what has lapsed, however much that is.
  while over and lapse() > 0 do over, room = room_left(spec, cost, output) end
  local shadow = ARGV[8] == '1'
  if over and not shadow then return {'refused', over, unpack(room)} end
  hold(spec, cost, output)
  redis.call('HSET', RESERVATION, 'state', 'held', 'spec', ARGV[4], 'cost', ARGV[5], 'output', ARGV[6], 'call', ARGV[9])
  if shadow then redis.call('HSET', RESERVATION, 'shadow', 1) end
  redis.call('ZADD', LEASES, now + tonumber(ARGV[7]), id)
  return {'held', over or 0, unpack(room)}
end

-- Redis may have forgotten the counter: one that is missing reads zero, and would have room for its whole cap again.
local function expired(limit) return limit.expires > 0 and now >= limit.expires - CLOCKS_MS end

-- What may be charged without a reservation: no more than every counter still has room for.
local function room_for(spec, kind, wanted)
  for _, limit in ipairs(spec) do
    if limit.kind == kind then
      if expired(limit) then return 0 end
      wanted = math.min(wanted, math.max(0, limit.cap - number(limit.key, 'settled') - number(limit.key, 'held')))
    end
  end
  return wanted
end

-- ARGV: 4 cost, 5 output tokens, 6 the record (JSON), 7 spec of a call that may have no reservation, or '', 8 shadow
local function settle()
  local cost, output = tonumber(ARGV[4]), tonumber(ARGV[5])
  local stored = redis.call('HMGET', RESERVATION, 'state', 'spec', 'cost', 'output', 'shadow')
  local state = stored[1]
  if state == 'settled' or state == 'cancelled' then
    return {'already', redis.call('HGET', RESERVATION, 'charged'), redis.call('HGET', RESERVATION, 'charged_output')}
  end
  local text = stored[2] or ARGV[7]
  if text == '' then return {'unknown', '0', '0'} end
  local spec = cjson.decode(text)
  -- Never more than was reserved.
  local charged = math.min(cost, tonumber(stored[3]) or cost)
  local charged_output = math.min(output, tonumber(stored[4]) or output)
  if state == 'held' then
    release(spec, tonumber(stored[3]), tonumber(stored[4]))
  elseif not stored[5] and ARGV[8] ~= '1' then
    charged, charged_output = room_for(spec, 'money', charged), room_for(spec, 'output', charged_output)
  end
  for _, limit in ipairs(spec) do
    if limit.kind == 'money' or limit.kind == 'output' then
      add(limit, 'settled', amount_of(limit.kind, charged, charged_output))
    end
  end
  charged, charged_output = string.format('%.0f', charged), string.format('%.0f', charged_output)
  finish(RESERVATION, id, 'settled', charged, charged_output)
  local late = state ~= 'held'
  redis.call('XADD', RECORDS, '*', 'kind', 'settled', 'id', id, 'at', now, 'charged', charged, 'output', charged_output,
    'late', late and '1' or '0', 'record', ARGV[6], 'spec', text)
  return {late and 'late' or 'settled', charged, charged_output}
end

-- A reservation whose caller gave up waiting for it; one that is still on its way is then refused as a duplicate.
local function cancel()
  local stored = redis.call('HMGET', RESERVATION, 'state', 'spec', 'cost', 'output')
  if stored[1] and stored[1] ~= 'held' then return {stored[1]} end
  if stored[1] then release(cjson.decode(stored[2]), tonumber(stored[3]), tonumber(stored[4])) end
  finish(RESERVATION, id, 'cancelled', 0, 0)
  return {'cancelled'}
end

-- ARGV: 4 lease in milliseconds
local function renew()
  if redis.call('HGET', RESERVATION, 'state') ~= 'held' then
    -- Of one that lapsed all the same its proxy is still there, and will settle it.
    redis.call('ZADD', LAPSED, 'XX', now + TRACE_MS, id)
    return {'gone'}
  end
  redis.call('ZADD', LEASES, 'XX', now + tonumber(ARGV[4]), id)
  return {'held'}
end

-- The end of a rebuild, whose counters hold nothing yet: what calls under way have reserved is held again, and the ledger
-- is whole. A reservation for which there is no room any more lapses: no more is charged for it than there is room for.
-- One of shadow mode needs none.
-- ARGV: 4 the rebuild's lock, 5 what its holder wrote there, which is the new epoch
local function restore()
  if redis.call('EXISTS', EPOCH) == 1 or redis.call('GET', ARGV[4]) ~= ARGV[5] then return {'overtaken'} end
  local held = 0
  for _, name in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do
    local key = reservation_of(name)
    local stored = redis.call('HMGET', key, 'state', 'spec', 'cost', 'output', 'shadow')
    if stored[1] == 'held' then
      local spec, cost, output = cjson.decode(stored[2]), tonumber(stored[3]), tonumber(stored[4])
      if stored[5] or (room_for(spec, 'money', cost) == cost and room_for(spec, 'output', output) == output) then
        hold(spec, cost, output)
        held = held + 1
      else
        finish(key, name, 'lapsed', 0, 0)
      end
    else
      redis.call('ZREM', LEASES, name)
    end
  end
  redis.call('SET', EPOCH, ARGV[5])
  redis.call('DEL', ARGV[4])
  return {'whole', held}
end

if operation == 'restore' then return restore() end
-- A Redis that lost its memory has no epoch: nothing is admitted or settled on counters that read zero by accident.
if redis.call('EXISTS', EPOCH) == 0 then return {'lost'} end
if operation == 'reserve' then return reserve() end
if operation == 'settle' then return settle() end
if operation == 'cancel' then return cancel() end
if operation == 'renew' then return renew() end
if operation == 'lapse' then
  bury()
  return {'lapsed', lapse()}
end
return redis.error_reply('unknown operation ' .. operation)
