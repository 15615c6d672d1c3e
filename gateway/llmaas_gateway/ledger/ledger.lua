-- The ledger: every change of a counter happens in this script, so it is atomic over all replicas of the proxy.
--
-- A counter is a hash {settled, held}. A reservation is a hash {state, spec, cost, output, ...} and an entry in the
-- sorted set of leases, scored by the moment at which it lapses. Amounts are whole nano-euros or tokens below 2^53,
-- which Lua's numbers hold exactly.
--
-- KEYS: 1 epoch, 2 leases, 3 stream of records, 4 the reservation
-- ARGV: 1 operation, 2 now in milliseconds, then what the operation takes
local EPOCH, LEASES, RECORDS, RESERVATION = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, now = ARGV[1], tonumber(ARGV[2])
-- How long the trace of a finished reservation is kept, so that a second settlement of it is recognised.
local TRACE_MS = 86400000
local LAPSES_PER_CALL = 50

local function number(key, field) return tonumber(redis.call('HGET', key, field) or '0') end

local function amount_of(kind, cost, output)
  if kind == 'money' then return cost end
  if kind == 'output' then return output end
  return 1
end

local function finish(key, id, state, charged, output)
  redis.call('HSET', key, 'state', state, 'charged', charged, 'charged_output', output)
  redis.call('PEXPIRE', key, TRACE_MS)
  redis.call('ZREM', LEASES, id)
end

local function release(spec, cost, output)
  for _, limit in ipairs(spec) do
    if limit.kind ~= 'requests' then
      redis.call('HINCRBY', limit.key, 'held', string.format('%.0f', 0 - amount_of(limit.kind, cost, output)))
    end
  end
end

local function lapse()
  local lapsed = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, LAPSES_PER_CALL)
  for _, id in ipairs(lapsed) do
    local key = string.sub(RESERVATION, 1, #RESERVATION - #ARGV[3]) .. id
    local stored = redis.call('HMGET', key, 'spec', 'cost', 'output')
    if stored[1] then
      release(cjson.decode(stored[1]), tonumber(stored[2]), tonumber(stored[3]))
      finish(key, id, 'lapsed', 0, 0)
      redis.call('XADD', RECORDS, '*', 'kind', 'lapsed', 'id', id, 'at', now)
    else
      redis.call('ZREM', LEASES, id)
    end
  end
  return #lapsed
end

-- ARGV: 3 id, 4 spec (JSON list of {key, kind, cap, expires}), 5 cost, 6 output tokens, 7 lease in milliseconds, 8 shadow
local function reserve()
  local id, spec, cost, output = ARGV[3], cjson.decode(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  if redis.call('EXISTS', RESERVATION) == 1 then return {'duplicate', redis.call('HGET', RESERVATION, 'state')} end
  lapse()
  local over = nil
  local room = {}
  for index, limit in ipairs(spec) do
    local used = number(limit.key, 'settled') + number(limit.key, 'held')
    room[index] = string.format('%.0f', limit.cap - used)
    if not over and used + amount_of(limit.kind, cost, output) > limit.cap then over = index end
  end
  if over and ARGV[8] ~= '1' then return {'refused', over, room[over]} end
  for _, limit in ipairs(spec) do
    local field = limit.kind == 'requests' and 'settled' or 'held'
    redis.call('HINCRBY', limit.key, field, string.format('%.0f', amount_of(limit.kind, cost, output)))
    if limit.expires > 0 then redis.call('PEXPIREAT', limit.key, string.format('%.0f', limit.expires)) end
  end
  redis.call('HSET', RESERVATION, 'state', 'held', 'spec', ARGV[4], 'cost', ARGV[5], 'output', ARGV[6])
  redis.call('ZADD', LEASES, now + tonumber(ARGV[7]), id)
  return {'held', over or 0, unpack(room)}
end

-- What may be charged once the reservation has lapsed: no more than every counter still has room for.
local function room_for(spec, kind, wanted)
  for _, limit in ipairs(spec) do
    if limit.kind == kind then
      wanted = math.min(wanted, math.max(0, limit.cap - number(limit.key, 'settled') - number(limit.key, 'held')))
    end
  end
  return wanted
end

-- ARGV: 3 id, 4 cost, 5 output tokens, 6 the record (JSON)
local function settle()
  local id, cost, output = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
  local stored = redis.call('HMGET', RESERVATION, 'state', 'spec', 'cost', 'output')
  local state = stored[1]
  if not state then return {'unknown', '0', '0'} end
  if state == 'settled' then
    return {'already', redis.call('HGET', RESERVATION, 'charged'), redis.call('HGET', RESERVATION, 'charged_output')}
  end
  local spec = cjson.decode(stored[2])
  local charged, charged_output
  if state == 'held' then
    release(spec, tonumber(stored[3]), tonumber(stored[4]))
    charged, charged_output = math.min(cost, tonumber(stored[3])), math.min(output, tonumber(stored[4]))
  else
    charged, charged_output = room_for(spec, 'money', cost), room_for(spec, 'output', output)
  end
  for _, limit in ipairs(spec) do
    if limit.kind == 'money' or limit.kind == 'output' then
      redis.call('HINCRBY', limit.key, 'settled', string.format('%.0f', amount_of(limit.kind, charged, charged_output)))
    end
  end
  charged, charged_output = string.format('%.0f', charged), string.format('%.0f', charged_output)
  finish(RESERVATION, id, 'settled', charged, charged_output)
  redis.call('XADD', RECORDS, '*', 'kind', 'settled', 'id', id, 'at', now, 'charged', charged,
    'output', charged_output, 'late', state == 'lapsed' and '1' or '0', 'record', ARGV[6])
  return {state == 'lapsed' and 'late' or 'settled', charged, charged_output}
end

-- ARGV: 3 id, 4 lease in milliseconds
local function renew()
  if redis.call('HGET', RESERVATION, 'state') ~= 'held' then return {'gone'} end
  redis.call('ZADD', LEASES, 'XX', now + tonumber(ARGV[4]), ARGV[3])
  return {'held'}
end

-- A Redis that lost its memory has no epoch: nothing is admitted or settled on counters that read zero by accident.
if redis.call('EXISTS', EPOCH) == 0 then return {'lost'} end
if operation == 'reserve' then return reserve() end
if operation == 'settle' then return settle() end
if operation == 'renew' then return renew() end
if operation == 'lapse' then return {'lapsed', lapse()} end
return redis.error_reply('unknown operation ' .. operation)
