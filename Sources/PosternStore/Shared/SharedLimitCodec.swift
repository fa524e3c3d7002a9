// Keys, values, questions and answers of SharedLimitScript, as octets. A value that is damaged, or of a version that is
// not ours, is one that counts nothing.
//
//     postern:limit:per%20account:sasl_username:recipients:3600s,60s:ann@example.org
//
// Behind the prefix the limit's shape (LimitShape.text), then the key. The value is MessagePack: {version, last,
// blocked until, by an admin, warned until, told until, {slot, reserved ...}, {address ...}, age, counts ...}, times in
// milliseconds; the age is last's, since when the store has had the key without a break.

internal import PosternAdmission
internal import PosternMail

enum SharedLimitCodec {
    static let prefix = Array("postern:limit:".utf8)
    static let version = 1
    /// Minutes in which messages began that have reserved something: more than lapse one after another.
    static let maxSlots = 16
    /// A store's clock that went back by less is waited for.
    static let clockTolerance: Int64 = 2000
    private static let head = 9
    /// What a store says of the time, in milliseconds, is earlier: so differences of times need no look.
    static let endOfTime: Int64 = 1 << 50

    // MARK: Keys

    static func key(_ shape: [UInt8], _ key: [UInt8]) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(prefix.count + shape.count + 1 + key.count)
        octets += prefix
        octets += shape
        octets.append(UInt8(ascii: ":"))
        octets += key
        return octets
    }

    /// - Returns: nil for what is none of ours, or of a shape that no configuration says.
    static func parts(_ key: [UInt8]) -> (shape: LimitShape, key: LimitKey)? {
        guard key.starts(with: prefix) else { return nil }
        let rest = key.dropFirst(prefix.count)
        // The shape has three colons; a key may have some of its own.
        var colons = 0
        guard
            let end = rest.firstIndex(where: { octet in
                colons += octet == UInt8(ascii: ":") ? 1 : 0
                return colons == 4
            }), rest.endIndex - end - 1 <= LimitKey.maxOctets,
            let shape = LimitShape(text: String(decoding: rest[..<end], as: UTF8.self))
        else { return nil }
        return (shape, LimitKey(octets: Array(rest[(end + 1)...])))
    }

    // MARK: Values

    /// - Parameter time: of the store.
    /// - Returns: nil for what is damaged.
    static func state(_ value: [UInt8], _ shape: LimitShape, at time: Int64) -> LimitState? {
        var reader = MessagePackReader(value)
        let count = LimitCells.count(of: shape)
        guard reader.array() == head + count, reader.number() == version, let last = reader.number(),
            let blocked = reader.number(), let byAdmin = reader.number(), let warned = reader.number(),
            let told = reader.number(), let slots = reader.array(), slots <= 2 * maxSlots, slots % 2 == 0
        else { return nil }
        var reserved = 0
        for _ in 0..<(slots / 2) {
            guard let slot = reader.number(), let amount = reader.number(), slot < 1 << 40, amount < 1 << 54 else {
                return nil
            }
            let end = (Int64(slot) + 1) * LimitReservations.slot + LimitReservations.lapse
            if end > time { reserved += amount }
        }
        guard let seen = reader.array(), seen <= LimitEvent.maxClients else { return nil }
        var clients: [IPAddress] = []
        for _ in 0..<seen {
            guard let octets = reader.octets(atMost: 16) else { return nil }
            if let client = IPAddress(octets: octets) { clients.append(client) }
        }
        guard let age = reader.number(), age < 1 << 50 else { return nil }
        var counts: [Int] = []
        counts.reserveCapacity(count)
        for _ in 0..<count {
            guard let number = reader.number() else { return nil }
            counts.append(number)
        }
        guard let cells = LimitCells(shape, last: Int64(last), counts: counts), max(blocked, warned, told) < 1 << 50
        else { return nil }
        return LimitState(
            cells: cells, since: Int64(last - age), blockedUntil: Int64(blocked), isBlockedByAdmin: byAdmin == 1,
            warnedUntil: Int64(warned),
            toldUntil: Int64(told), reserved: reserved, clients: clients)
    }

    // MARK: Questions

    /// What comes before a decision.
    enum Errand {
        case release(key: Int, slot: Int64, amount: Int, counts: Int)
        /// - Parameter sum: they are counts of somebody else's; else those of a copy.
        case meet(key: Int, cells: LimitCells, sum: Bool, blockedUntil: Int64, byAdmin: Bool)
        case block(key: Int, milliseconds: Int64, creates: Bool)
        case unblock(key: Int)
        case clear(key: Int)
    }
}

/// One call of the script, as it is put together.
struct SharedLimitCall {
    private(set) var keys: [[UInt8]] = []
    private var numbers: [[UInt8]: Int] = [:]
    private var shapes: [LimitShape] = []
    private var shapeOfKey: [Int] = []
    private var errands: [SharedLimitCodec.Errand] = []

    init() {}

    /// A decision, and what it brings along.
    init(_ plan: LimitPlan) {
        keys.reserveCapacity(plan.steps.count)
        for debt in plan.debts { append(debt, plan.difference) }
        for release in plan.releases {
            let key = number(release.terms.shape, release.terms.shapeText, release.key)
            errands.append(.release(key: key, slot: release.slot, amount: release.amount, counts: release.counts))
        }
    }

    mutating func append(_ errand: (Int) -> SharedLimitCodec.Errand, _ shape: LimitShape, _ key: LimitKey) {
        errands.append(errand(number(shape, Array(shape.text.utf8), key.octets)))
    }

    private mutating func append(_ debt: LimitDebt, _ difference: Int64) {
        let key = number(debt.shape, Array(debt.shape.text.utf8), debt.key.octets)
        let blocked = debt.blockedUntil > 0 ? max(0, debt.blockedUntil - difference) : 0
        if !debt.cells.isEmpty || blocked > 0 {
            let cells = debt.cells.shifted(by: -difference)
            errands.append(.meet(key: key, cells: cells, sum: true, blockedUntil: blocked, byAdmin: false))
        }
        // After what is added, which it may hold too.
        if let lost = debt.lost {
            errands.append(
                .meet(
                    key: key, cells: lost, sum: false, blockedUntil: debt.lostBlock, byAdmin: debt.isLostBlockByAdmin))
        }
        for (slot, amount) in debt.releases {
            errands.append(.release(key: key, slot: slot, amount: amount, counts: 0))
        }
    }

    /// Its number among the keys, from 1 as Lua counts.
    private mutating func number(_ shape: LimitShape, _ text: [UInt8], _ key: [UInt8]) -> Int {
        let name = SharedLimitCodec.key(text, key)
        // Most requests have a few: looked through faster than hashed.
        if keys.count < 8 {
            if let place = keys.firstIndex(of: name) { return place + 1 }
        } else {
            if numbers.isEmpty { for (place, key) in keys.enumerated() { numbers[key] = place + 1 } }
            if let known = numbers[name] { return known }
            numbers[name] = keys.count + 1
        }
        keys.append(name)
        var place = shapes.firstIndex { $0.name == shape.name && $0 == shape }
        if place == nil {
            place = shapes.count
            shapes.append(shape)
        }
        shapeOfKey.append((place ?? 0) + 1)
        return keys.count
    }

    /// The script's argument.
    /// - Parameter now: in milliseconds; nil for the store's clock.
    mutating func argument(_ plan: LimitPlan?, now: Int64?, writes: Bool) -> [UInt8] {
        // First, so that all keys are known.
        let steps = (plan?.steps ?? []).map { number($0.terms.shape, $0.terms.shapeText, $0.key) }
        var writer = MessagePackWriter()
        writer.beginArray(7)
        writer.append(now ?? 0)
        writer.append(writes)
        writer.beginArray(shapes.count)
        for shape in shapes {
            writer.beginArray(1 + shape.spans.count)
            writer.append(shape.window == .fixed)
            for span in shape.spans { writer.append(span) }
        }
        writer.beginArray(shapeOfKey.count)
        for shape in shapeOfKey { writer.append(shape) }
        writer.beginArray(errands.count)
        for errand in errands { Self.append(errand, to: &writer) }
        writer.beginArray(steps.count)
        if let plan {
            for (step, key) in zip(plan.steps, steps) { Self.append(step, key, plan, to: &writer) }
        }
        writer.append(octets: plan?.request.client?.octets ?? [])
        return writer.octets
    }

    private static func append(
        _ step: LimitPlan.Step, _ key: Int, _ plan: LimitPlan, to writer: inout MessagePackWriter
    ) {
        let terms = step.terms
        writer.beginArray(8 + terms.amounts.count)
        writer.append(key)
        writer.append((terms.isBinding ? 1 : 0) | (step.reserves ? 2 : 0) | (plan.request.totals != nil ? 4 : 0))
        writer.append(min(step.asked, mostAmount))
        writer.append(plan.slot)
        writer.append(step.release)
        writer.append(min(step.counts, mostAmount))
        writer.append(terms.block.nanoseconds / 1_000_000)
        writer.append(terms.warnAt ?? 0)
        for amount in terms.amounts { writer.append(min(amount, mostAmount)) }
    }

    private static func append(_ errand: SharedLimitCodec.Errand, to writer: inout MessagePackWriter) {
        switch errand {
        case .release(let key, let slot, let amount, let counts):
            writer.beginArray(5)
            for number in [1, key, Int(slot), amount, counts] { writer.append(number) }
        case .meet(let key, let cells, let sum, let blockedUntil, let byAdmin):
            writer.beginArray(6 + cells.counts.count)
            for number in [2, key, sum ? 1 : 0, Int(blockedUntil), byAdmin ? 1 : 0, Int(cells.last)] {
                writer.append(number)
            }
            for count in cells.counts { writer.append(min(count, mostAmount)) }
        case .block(let key, let milliseconds, let creates):
            writer.beginArray(4)
            for number in [3, key, Int(milliseconds), creates ? 1 : 0] { writer.append(number) }
        case .unblock(let key):
            writer.beginArray(2)
            for number in [4, key] { writer.append(number) }
        case .clear(let key):
            writer.beginArray(2)
            for number in [5, key] { writer.append(number) }
        }
    }

    /// Lua's numbers are exact up to 2^53; the configuration's amounts end at 2^50.
    private static let mostAmount = 1 << 51

    // MARK: Answers

    /// - Returns: nil for what is no answer to the plan.
    static func outcome(_ reply: StoreReply, _ plan: LimitPlan) -> LimitOutcome? {
        guard let parts = reply.array, parts.count == 2 + plan.steps.count, let time = parts.first?.integer,
            (0..<SharedLimitCodec.endOfTime).contains(time)
        else { return nil }
        var steps: [LimitOutcome.Step] = []
        steps.reserveCapacity(plan.steps.count)
        for (step, part) in zip(plan.steps, parts.dropFirst(2)) {
            var over: LimitOutcome.Over?
            var near: LimitOutcome.Near?
            var value = part.octets
            if let words = part.array {
                guard words.count == 3 else { return nil }
                value = words[0].octets
                over = words[1].array.flatMap { Self.over($0) }
                near = words[2].array.flatMap { Self.near($0) }
            }
            guard let value else { return nil }
            let shape = step.terms.shape
            let state = SharedLimitCodec.state(value, shape, at: time) ?? LimitState(cells: LimitCells(shape))
            steps.append(LimitOutcome.Step(state: state, over: over, near: near))
        }
        return LimitOutcome(time: time, steps: steps)
    }

    /// How many keys errands found.
    static func found(_ reply: StoreReply) -> Int? { reply.array?.dropFirst().first?.integer.map { Int(clamping: $0) } }

    private static func over(_ words: [StoreReply]) -> LimitOutcome.Over? {
        let numbers = words.compactMap(\.integer)
        guard numbers.count == 6 else { return nil }
        return LimitOutcome.Over(
            isBlocked: numbers[0] == 1, span: Int(clamping: numbers[1]), used: Int(clamping: numbers[2]),
            reserved: Int(clamping: numbers[3]), freeIn: numbers[4] < 0 ? nil : numbers[4], isTold: numbers[5] == 1)
    }

    private static func near(_ words: [StoreReply]) -> LimitOutcome.Near? {
        let numbers = words.compactMap(\.integer)
        guard numbers.count == 3 else { return nil }
        return LimitOutcome.Near(
            span: Int(clamping: numbers[0]), used: Int(clamping: numbers[1]), reserved: Int(clamping: numbers[2]))
    }
}
