// One decision about limits as the store makes it, in one step: Lua 5.1 for Redis 6 and later, and Valkey. It is
// LimitBook's arithmetic over the values of SharedLimitCodec, and a test compares both. The clock is the store's;
// everything it touches is in KEYS.
//
// The argument, MessagePack: {now, writes, shapes, shape of each key, errands, steps, client}
//   now: milliseconds; 0 for the store's clock. writes: 0 to look only.
//   shape: {1 where its window is fixed, spans in milliseconds ...}
//   errand, which comes before the decision: {1, key, slot, amount, counts}: a reservation is over;
//     {2, key, sum, blocked until, by an admin, last, counts ...}: counts of another ledger, to be added or to be had
// at     least; {3, key, milliseconds, creates}: block; {4, key}: unblock; {5, key}: forget.
//   step: {key, flags, asked, slot, release, counts, block, warn at, amounts ...}
//     flags: 1 what goes over is refused, 2 it is reserved, 4 it is a message's end
// The answer: {now, keys that errands found, one for each step: its value, or {value, over, near}}
//   over: {blocked, span, used, reserved, free in, told}, or 0; near: {span, used, reserved}, or 0

internal import PosternAdmission

enum SharedLimitScript {
    static let decide = StoreScript(name: "limit.decide", text: text)

    private static let text = """
        local floor, max, min, call = math.floor, math.max, math.min, redis.call
        local ipairs, pcall, pack, unpacked = ipairs, pcall, cmsgpack.pack, cmsgpack.unpack
        local ask = unpacked(ARGV[1])
        local now, writes, shapes, shapeOf = ask[1], ask[2] == 1, ask[3], ask[4]
        local errands, steps, client = ask[5], ask[6], ask[7]
        if now == 0 then
          local time = call('TIME')
          now = time[1] * 1000 + floor(time[2] / 1000)
        end
        local CELLS, HEAD, MOST, FAR = 13, 9, 2 ^ 53, 2 ^ 50
        local LONGEST = \(LimitMemory.maxBlock.components.seconds * 1000)
        local SLOT, LAPSE, SLOTS = \(LimitReservations.slot), \(LimitReservations.lapse), \(SharedLimitCodec.maxSlots)

        for _, shape in ipairs(shapes) do
          shape.fixed = shape[1] == 1
          shape.width = shape.fixed and 2 or CELLS
          shape.spans = #shape - 1
          shape.words = shape.spans * shape.width
          shape.slot, shape.longest = {}, 0
          for s = 1, shape.spans do
            shape.slot[s] = floor((shape[s + 1] + 11) / 12)
            local longest = shape.fixed and (floor(shape[s + 1] / 1000) + 1) * 1000 or CELLS * shape.slot[s]
            shape.longest = max(shape.longest, longest)
          end
        end

        local function isCount(x, most) return x >= 0 and x < most and x % 1 == 0 end

        -- {version, last, blocked until, by an admin, warned until, told until, {slot, reserved ...},
        -- {address ...}, milliseconds from when it was made to last, counts ...}
        -- Nil for anything else; what cannot be compared with a number is an error, which is caught.
        local function read(raw, shape)
          local v = unpacked(raw)
          local count = #v
          if v[1] ~= \(SharedLimitCodec.version) or count ~= HEAD + shape.words then return nil end
          for i = 2, 6 do if not isCount(v[i], FAR) then return nil end end
          if not isCount(v[9], FAR) then return nil end
          for i = HEAD + 1, count do
            local x = v[i]
            if not (x >= 0 and x < MOST) or x % 1 ~= 0 then return nil end
          end
          local held, seen = v[7], v[8]
          if type(held) ~= 'table' or type(seen) ~= 'table' then return nil end
          if #held > 2 * SLOTS or #held % 2 ~= 0 or #seen > \(LimitEvent.maxClients) then return nil end
          for i = 1, #held do if not isCount(held[i], i % 2 == 1 and FAR / SLOT or MOST) then return nil end end
          for i = 1, #seen do if type(seen[i]) ~= 'string' or #seen[i] > 16 then return nil end end
          return v
        end

        local function rebase(k)
          -- Another server, or a clock that was set back: what counts still counts for as long.
          local v, shape, back = k.v, k.shape, k.v[2] - now
          for s = 1, shape.spans do
            local base = HEAD + (s - 1) * shape.width + 1
            if shape.fixed then
              v[base] = max(0, min(v[base] - floor(back / 1000), floor(now / 1000)))
            else
              local slot, old = shape.slot[s], {}
              local from, to = floor(v[2] / slot), floor(now / slot)
              for i = 0, CELLS - 1 do old[i], v[base + i] = v[base + i], 0 end
              -- What was one cell lies in two of the other clock's: the later one keeps it for long enough.
              local later = now % slot > v[2] % slot and 1 or 0
              for i = 0, CELLS - 1 do
                local place = base + (to - max(0, i - later)) % CELLS
                v[place] = min(MOST - 1, v[place] + old[(from - i) % CELLS])
              end
            end
          end
          for _, i in ipairs({ 3, 5, 6 }) do v[i] = max(0, v[i] - back) end
          for i = 1, #v[7], 2 do v[7][i] = max(0, v[7][i] - floor(back / SLOT)) end
          v[2] = now
        end

        local known = #KEYS > 0 and call('MGET', unpack(KEYS)) or {}
        local entries = {}
        for i, name in ipairs(KEYS) do
          local k = { name = name, shape = shapes[shapeOf[i]], uses = {} }
          if known[i] then
            local isRead, v = pcall(read, known[i], k.shape)
            if isRead and v then k.v, k.isThere, k.raw = v, true, known[i] end
          end
          if not k.v then
            local v = { \(SharedLimitCodec.version), now, 0, 0, 0, 0, {}, {}, 0 }
            for w = HEAD + 1, HEAD + k.shape.words do v[w] = 0 end
            k.v = v
          end
          if k.v[2] > now + \(SharedLimitCodec.clockTolerance) then
            rebase(k)
            k.isChanged = true
          end
          -- No block is longer, and nothing is kept from being told for longer.
          for w = 3, 6 do if w ~= 4 then k.v[w] = min(k.v[w], now + LONGEST) end end
          k.now = max(now, k.v[2])
          entries[i] = k
        end

        local function reserved(k)
          local sum = 0
          for i = 1, #k.v[7], 2 do
            if (k.v[7][i] + 1) * SLOT + LAPSE > now then sum = sum + k.v[7][i + 1] end
          end
          return sum
        end

        local function reserve(k, slot, amount)
          local kept, isIn = {}, false
          for i = 1, #k.v[7], 2 do
            local at, held = k.v[7][i], k.v[7][i + 1]
            if at == slot then held, isIn = max(0, held + amount), true end
            if held > 0 and (at + 1) * SLOT + LAPSE > now then
              kept[#kept + 1] = at
              kept[#kept + 1] = held
            end
          end
          if not isIn and amount > 0 then
            if #kept >= 2 * SLOTS then
              kept[#kept] = kept[#kept] + amount
            else
              kept[#kept + 1] = slot
              kept[#kept + 1] = amount
            end
          end
          k.v[7], k.isChanged = kept, true
        end

        local function hasWindow(k, start, s, t)
          return start <= floor(t / 1000) and floor(t / 1000) - start <= floor(k.shape[s + 1] / 1000)
        end

        -- The cells that count: from, to, place of the first word.
        local function ring(k, s)
          local slot = k.shape.slot[s]
          local newest = floor(k.v[2] / slot)
          local oldest = max(floor(k.now / slot), newest) - CELLS + 1
          return max(0, oldest), newest, HEAD + (s - 1) * CELLS + 1
        end

        local function count(k, s)
          local v = k.v
          if k.shape.fixed then
            local base = HEAD + (s - 1) * 2 + 1
            return hasWindow(k, v[base], s, k.now) and v[base + 1] or 0
          end
          local from, to, base = ring(k, s)
          local sum = 0
          for cell = from, to do sum = sum + v[base + cell % CELLS] end
          return sum
        end

        -- The same, looked up once.
        local function used(k, s)
          local known = k.uses[s]
          if not known then
            known = count(k, s)
            k.uses[s] = known
          end
          return known
        end

        local function turn(k, s, base, to)
          local slot = k.shape.slot[s]
          local from, last = floor(k.v[2] / slot), floor(to / slot)
          for cell = max(from + 1, last - CELLS + 1), last do k.v[base + cell % CELLS] = 0 end
        end

        local function stamp(k, t)
          k.v[9] = k.v[9] + t - k.v[2]
          k.v[2], k.isChanged = t, true
        end

        local function add(k, amount)
          local v, shape, t = k.v, k.shape, k.now
          for s = 1, shape.spans do
            local base = HEAD + (s - 1) * shape.width + 1
            local place = base + 1
            if shape.fixed then
              if not hasWindow(k, v[base], s, t) then v[base], v[place] = floor(t / 1000), 0 end
            else
              turn(k, s, base, t)
              place = base + floor(t / shape.slot[s]) % CELLS
            end
            v[place] = min(MOST - 1, v[place] + amount)
            if k.uses[s] then k.uses[s] = k.uses[s] + amount end
          end
          stamp(k, t)
        end

        local function meet(k, isSum, last, words)
          local v, shape = k.v, k.shape
          last = min(last, now + \(SharedLimitCodec.clockTolerance))
          local newest = max(v[2], last)
          local function met(own, other) return isSum and min(MOST - 1, own + other) or max(own, other) end
          for s = 1, shape.spans do
            local at, base = (s - 1) * shape.width + 1, HEAD + (s - 1) * shape.width + 1
            if shape.fixed then
              if hasWindow(k, words[at], s, newest) then
                if hasWindow(k, v[base], s, newest) then
                  v[base + 1] = met(v[base + 1], words[at + 1])
                else
                  v[base], v[base + 1] = words[at], words[at + 1]
                end
              end
            else
              turn(k, s, base, newest)
              local first, last = floor(newest / shape.slot[s]) - CELLS + 1, floor(last / shape.slot[s])
              for cell = max(0, first, last - CELLS + 1), last do
                v[base + cell % CELLS] = met(v[base + cell % CELLS], words[at + cell % CELLS])
              end
            end
          end
          stamp(k, newest)
          k.uses = {}
        end

        -- How long until so much of what is counted has gone by; nil if so much is not counted.
        local function wait(k, s, needed)
          if k.shape.fixed then
            if used(k, s) < needed then return nil end
            return max(0, (k.v[HEAD + (s - 1) * 2 + 1] + floor(k.shape[s + 1] / 1000) + 1) * 1000 - k.now)
          end
          local from, to, base = ring(k, s)
          local gone = 0
          for cell = from, to do
            gone = gone + k.v[base + cell % CELLS]
            if gone >= needed then return (cell + CELLS) * k.shape.slot[s] - k.now end
          end
          return nil
        end

        local function watch(k)
          local seen = k.v[8]
          if client == '' or seen[#seen] == client then return end
          for i = #seen, 1, -1 do if seen[i] == client then table.remove(seen, i) end end
          if #seen >= \(LimitEvent.maxClients) then table.remove(seen, 1) end
          seen[#seen + 1] = client
          k.isChanged = true
        end

        local found = 0
        for _, errand in ipairs(errands) do
          local kind, k = errand[1], entries[errand[2]]
          if k.isThere then found = found + 1 end
          if kind == 1 then
            if errand[4] > 0 then reserve(k, errand[3], -errand[4]) end
            if errand[5] > 0 then add(k, errand[5]) end
          elseif kind == 2 then
            local words = {}
            for i = 1, k.shape.words do words[i] = errand[6 + i] end
            meet(k, errand[3] == 1, errand[6], words)
            if errand[4] > max(k.v[3], now) then k.v[3], k.v[4] = errand[4], errand[5] end
          elseif kind == 3 then
            if k.isThere or errand[4] == 1 then
              if not k.isThere then found = found + 1 end
              k.v[3], k.v[4], k.isChanged = k.now + errand[3], 1, true
            end
          elseif k.isThere then
            -- Kept for as long as others' copies would count: they shall not take it for lost.
            k.keep = k.v[3]
            k.v[3], k.isChanged = 0, true
            if kind == 5 then
              stamp(k, k.now)
              k.keep = max(k.keep, k.now + k.shape.longest)
              k.v[5], k.v[6] = 0, 0
              for i = HEAD + 1, #k.v do k.v[i] = 0 end
              k.uses = {}
            end
          end
        end

        local results, isRefused = {}, false
        for i, step in ipairs(steps) do
          local k, asked = entries[step[1]], step[3]
          local v, held = k.v, reserved(entries[step[1]])
          local isBlocked = v[3] > k.now and (asked > 0 or v[4] == 1)
          local worst, longest, atWorst = nil, 1, nil
          for s = 1, k.shape.spans do
            if k.shape[s + 1] > k.shape[longest + 1] then longest = s end
            local allowed = step[8 + s]
            if asked > 0 then
              local sum = used(k, s) + held + asked
              if sum > allowed then
                local free = MOST
                if asked <= allowed then
                  local span = k.shape.fixed and (floor(k.shape[s + 1] / 1000) + 1) * 1000 or CELLS * k.shape.slot[s]
                  free = wait(k, s, sum - allowed) or LAPSE + span
                end
                if free >= (worst or 0) then worst, atWorst = free, s end
              end
            end
          end
          if isBlocked or worst then
            local span = atWorst or longest
            local free = max(isBlocked and v[3] - k.now or step[7], worst or 0)
            if free >= MOST then free = -1 end
            results[i] = { isBlocked and 1 or 0, span - 1, used(k, span), held, free, 0, span = span }
            if step[2] % 2 == 1 then isRefused = true end
          end
        end

        local near = {}
        if writes then
          for i, over in pairs(results) do
            local step, k = steps[i], entries[steps[i][1]]
            watch(k)
            if over[1] == 0 and step[7] > 0 then k.v[3], k.v[4], k.isChanged = k.now + step[7], 0, true end
            if k.v[6] <= k.now then
              k.v[6], k.isChanged = k.now + max(k.shape[over.span + 1], step[7]), true
              over[6] = 1
            end
          end
          for i, step in ipairs(steps) do
            local k, asked = entries[step[1]], step[3]
            if not isRefused and not results[i] and asked > 0 then
              if floor(step[2] / 2) % 2 == 1 then
                reserve(k, step[4] > 0 and step[4] or floor(now / SLOT), asked)
              else
                add(k, asked)
              end
              local held = reserved(k)
              for s = 1, k.shape.spans do
                local allowed, count = step[8 + s], used(k, s)
                if count + held >= floor(allowed / 2) then
                  watch(k)
                  local least = floor(allowed / 100) * step[8] + floor((allowed % 100 * step[8] + 99) / 100)
                  if not near[i] and step[8] > 0 and k.v[5] <= k.now and count + held >= least then
                    k.v[5] = k.now + k.shape[s + 1]
                    near[i] = { s - 1, count, held }
                  end
                end
              end
            end
          end
          -- A message's end: its reservations go back, and count if it is let in.
          for _, step in ipairs(steps) do
            local k = entries[step[1]]
            if step[5] > 0 then reserve(k, step[4], -step[5]) end
            if step[6] > 0 and not isRefused then add(k, step[6]) end
          end
        end

        for _, k in ipairs(entries) do
          if k.isChanged then
            local v, till = k.v, k.keep or 0
            for i = HEAD + 1, #v do
              if v[i] > 0 then
                till = max(till, v[2] + k.shape.longest)
                break
              end
            end
            till = max(till, v[3], v[5], v[6])
            for i = 1, #v[7], 2 do till = max(till, (v[7][i] + 1) * SLOT + LAPSE) end
            k.raw = pack(v)
            if writes and till > now then
              call('SET', k.name, k.raw, 'PX', till - now)
            elseif writes then
              call('DEL', k.name)
            end
          end
        end

        local answer = { now, found }
        for i, step in ipairs(steps) do
          local k = entries[step[1]]
          local value = k.raw or ''
          if results[i] or near[i] then
            answer[2 + i] = { value, results[i] or 0, near[i] or 0 }
          else
            answer[2 + i] = value
          end
        end
        return answer
        """
}
