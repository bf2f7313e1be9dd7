-- Claims of contacts and grants of rewards: the same as referral_stream/core/ledger/grants.py. A part of script.lua.

-- Nothing that lies this far behind something newer can count for a request any more, however late it comes.
local FORGOTTEN = math.max(claim_period, grant_period) + 30 * 24 * HOUR

-- Adds to a set by instant, and forgets what nobody can ask for any more.
local function note(kind, name, member, at)
  local noted = key(kind, name)
  redis.call('ZADD', noted, digits(at), member)
  redis.call('ZREMRANGEBYSCORE', noted, '-inf', digits(at - FORGOTTEN))
  redis.call('EXPIRE', noted, grants_lapse)
end

-- What a claim or a grant is about, as {kind, id} pairs.
local function names_of(referral, keys)
  local names, seen = {{'referral', referral}}, {}
  for _, each in ipairs(keys) do
    if not seen[each] then names[#names + 1] = {'contact', each} end
    seen[each] = true
  end
  return names
end

local function claimant_of(customer, referral)
  return customer .. '\0' .. referral
end

-- Who named it first, of the claims that count at that instant. At a tie the members decide: customer, then referral.
local function first_claimant(name, at)
  local claimed = key('claimed ' .. name[1], name[2])
  return redis.call('ZRANGEBYSCORE', claimed, '(' .. digits(at - claim_period), digits(at), 'LIMIT', 0, 1)[1]
end

-- The claims of one referral are {kind, id, first, last}: the first counts, the last stands if only what came before it
-- is released.
local function claim(claimant, names, now)
  local claims = key('claims', claimant)
  local held = redis.call('HMGET', claims, 'released', 'claimed')
  if #names == 0 or now <= tonumber(held[1] or '-1') then return end
  local claimed, changed = {}, {}
  for _, each in ipairs(cjson.decode(held[2] or '[]')) do
    if tonumber(each[4]) > now - FORGOTTEN then claimed[#claimed + 1] = each end
  end
  for _, name in ipairs(names) do
    local known
    for _, each in ipairs(claimed) do
      if each[1] == name[1] and each[2] == name[2] then known = each end
    end
    if not known then
      known = {name[1], name[2], digits(now), digits(now)}
      claimed[#claimed + 1] = known
    end
    local first, last = tonumber(known[3]), tonumber(known[4])
    local earlier, later = math.min(first, now), math.max(first, now)
    known[3] = digits(later < earlier + claim_period and earlier or later)
    known[4] = digits(math.max(last, now))
    changed[#changed + 1] = known
  end
  redis.call('HSET', claims, 'claimed', cjson.encode(claimed))
  redis.call('EXPIRE', claims, grants_lapse)
  for _, each in ipairs(changed) do note('claimed ' .. each[1], each[2], claimant, tonumber(each[3])) end
end

function operation.claim(customer, referral, keys, now)
  claim(claimant_of(customer, referral), names_of(referral, keys), now)
  return {'done'}
end

function operation.release_claims(customer, referral, now)
  local claimant = claimant_of(customer, referral)
  local claims = key('claims', claimant)
  local held = redis.call('HMGET', claims, 'released', 'claimed')
  local left, ended, moved = {}, {}, {}
  for _, each in ipairs(cjson.decode(held[2] or '[]')) do
    if tonumber(each[4]) <= now then
      ended[#ended + 1] = each
    else
      left[#left + 1] = each
      if tonumber(each[3]) <= now then
        each[3] = each[4]
        moved[#moved + 1] = each
      end
    end
  end
  redis.call('HSET', claims, 'released', digits(math.max(now, tonumber(held[1] or '-1'))),
    'claimed', #left > 0 and cjson.encode(left) or '[]')
  redis.call('EXPIRE', claims, grants_lapse)
  for _, each in ipairs(moved) do note('claimed ' .. each[1], each[2], claimant, tonumber(each[3])) end
  for _, each in ipairs(ended) do redis.call('ZREM', key('claimed ' .. each[1], each[2]), claimant) end
  return {'done'}
end

-- Where a grant stands: the instant of its newest request that was given, and that of its newest release.
local function standing(grant)
  local held = redis.call('HMGET', key('grant', grant), 'now', 'released')
  return tonumber(held[1] or '-1'), tonumber(held[2] or '-1')
end

-- Those for whom and what a grant counts, as {kind, id} pairs.
local function counted_for(grant)
  return cjson.decode(redis.call('HGET', key('grant', grant), 'counted') or '[]')
end

local function count_grant(grant, referral, customer, account, keys, now)
  if now <= standing(grant) then return end
  local before, counted = counted_for(grant), names_of(referral, keys)
  counted[#counted + 1] = {'customer', customer}
  if account ~= '' then counted[#counted + 1] = {'account', account} end
  redis.call('HSET', key('grant', grant), 'now', digits(now), 'counted', cjson.encode(counted))
  redis.call('EXPIRE', key('grant', grant), grants_lapse)
  for _, each in ipairs(before) do redis.call('ZREM', key('granted ' .. each[1], each[2]), grant) end
  for _, each in ipairs(counted) do note('granted ' .. each[1], each[2], grant, now) end
end

-- Whether so many grants, or more, count for it that were asked for after this instant.
local function granted(kind, name, after, many)
  local found = redis.call('ZRANGEBYSCORE', key('granted ' .. kind, name), '(' .. digits(after), '+inf', 'LIMIT', 0, many)
  return #found >= many
end

local function claim_for(referral, customer, keys, now)
  local unclaimed = {}
  for _, name in ipairs(names_of(referral, keys)) do
    if not first_claimant(name, now) then unclaimed[#unclaimed + 1] = name end
  end
  claim(claimant_of(customer, referral), unclaimed, now)
end

function operation.request_grant(grant, referral, customer, account, keys, now)
  local given_at, released_at = standing(grant)
  if given_at > released_at then
    count_grant(grant, referral, customer, account, keys, now)
    return {'given'}
  end
  if now <= released_at then return {'unavailable'} end
  claim_for(referral, customer, keys, now)
  local claimant = claimant_of(customer, referral)
  for _, name in ipairs(names_of(referral, keys)) do
    local first = first_claimant(name, now)
    if (first and first ~= claimant) or granted(name[1], name[2], now - claim_period, 1) then
      return {'refused', 'duplicate'}
    end
  end
  if granted('customer', customer, now - grant_period, customer_grants) then return {'refused', 'customer_cap'} end
  if account ~= '' and granted('account', account, now - grant_period, account_grants) then
    return {'refused', 'account_cap'}
  end
  count_grant(grant, referral, customer, account, keys, now)
  return {'given'}
end

-- A request of the past: what it was given stands in the log, what it claimed it claims again.
function operation.recall_grant(grant, referral, customer, account, keys, now)
  local given_at, released_at = standing(grant)
  if given_at <= released_at and now > released_at then claim_for(referral, customer, keys, now) end
  return {'done'}
end

function operation.hold_grant(grant, referral, customer, account, keys, requested)
  local given_at, released_at = standing(grant)
  if given_at <= released_at and requested <= released_at then return {'unavailable'} end
  count_grant(grant, referral, customer, account, keys, requested)
  return {'given'}
end

function operation.confirm_grant(grant, referral, customer, account, keys, now)
  local _, released_at = standing(grant)
  if now > released_at then count_grant(grant, referral, customer, account, keys, now) end
  return {'done'}
end

function operation.release_grant(grant, now)
  local given_at, released_at = standing(grant)
  redis.call('HSET', key('grant', grant), 'released', digits(math.max(now, released_at)))
  redis.call('EXPIRE', key('grant', grant), grants_lapse)
  if given_at <= math.max(now, released_at) then
    for _, each in ipairs(counted_for(grant)) do redis.call('ZREM', key('granted ' .. each[1], each[2]), grant) end
  end
  return {'done'}
end
