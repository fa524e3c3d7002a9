// What a shared store answers, which may be no store at all, or one that others write to: the protocol in pieces of any
// size, and what greylisting and limits make of each reply and each value.

import PosternMail

@testable import PosternAdmission
@testable import PosternStore

/// How the octets are cut, what they are: a connection's, or a value's; the octets.
@Sendable func fuzzStoreReply(_ input: inout FuzzInput) {
    let seed = input.octet()
    let choice = input.octet()
    let octets = input.remainder()
    if choice & 1 != 0 {
        take(value: octets)
        for terms in [sliding, fixed] { take(.array([.integer(storeTime), .integer(1), .octets(octets)]), terms) }
        return
    }
    let whole = replies { $0(octets) }
    let split = replies { feed in inPieces(octets, seed: seed) { piece in feed(piece.indices.map { piece[$0] }) } }
    require(whole.replies == split.replies, "\(whole.replies.count) replies whole, \(split.replies.count) in pieces")
    require(
        (whole.failure == nil) == (split.failure == nil), "\(String(describing: whole)) \(String(describing: split))")
    if let failure = whole.failure { require(failure.description.isOnePlainLine, "\(failure)") }
    for reply in whole.replies {
        switch reply {
        case .failure(let failure): require(failure.description.isOnePlainLine, "\(failure)")
        case .success(let reply):
            require(depth(of: reply) <= 10, "\(depth(of: reply)) levels")
            take(reply, sliding)
            take(reply, fixed)
            for element in reply.array ?? [reply] { if let octets = element.octets { take(value: octets) } }
        }
    }
}

private func replies(
    _ feed: (([UInt8]) -> Void) -> Void
) -> (replies: [Result<StoreReply, StoreFailure>], failure: StoreFailure?) {
    let connection = certain("a reader") { try Connection() }
    feed { connection.take($0) }
    return (connection.found, connection.broken)
}

/// What one connection receives.
private final class Connection {
    private let reader: StoreReader
    private(set) var found: [Result<StoreReply, StoreFailure>] = []
    private(set) var broken: StoreFailure?

    init() throws(StoreFailure) { reader = try StoreReader() }

    func take(_ octets: [UInt8]) {
        guard broken == nil else { return }
        do throws(StoreFailure) {
            try octets.span.bytes.withUnsafeBytes { (octets) throws(StoreFailure) in try reader.feed(octets) }
            while let reply = try reader.next() { found.append(reply) }
        } catch {
            broken = error
        }
    }
}

private func depth(of reply: StoreReply) -> Int { 1 + (reply.array?.map(depth).max() ?? 0) }

// MARK: Values and replies

private let storeTime: Int64 = 1_790_000_000_000
private let sliding = terms("a", [AllowedRate(amount: 3, span: .seconds(60))], .sliding)
private let fixed = terms("b", [AllowedRate(amount: 1 << 40, span: .seconds(3600))], .fixed)
private let greylisted = GreylistRequest(
    client: Network(containing: .v4(0xC000_0207), prefixLength: 24), sender: Array("ann@example.net".utf8),
    recipient: Array("bo@example.org".utf8))

private func terms(_ name: String, _ allow: [AllowedRate], _ window: LimitWindow) -> LimitTerms {
    LimitTerms(
        LimitSettings(
            name: name, per: [.saslUsername], count: .messages, allow: allow, action: .hold("much"), ipv4Prefix: 32,
            ipv6Prefix: 64, except: [], block: .seconds(60), window: window, shadow: false), number: 0)
}

private func charged(_ terms: LimitTerms) -> LimitRequest {
    LimitRequest(
        charges: [LimitCharge(terms, LimitKey(octets: Array("ann".utf8)), amount: 1, isTotal: false)],
        instance: Array("1.2".utf8), connection: [], service: [], client: .v4(0xC000_0207), account: Array("ann".utf8),
        totals: nil)
}

/// A key or an entry, as somebody has written it.
private func take(value octets: [UInt8]) {
    if let entry = SharedGreylistEntry.decode(octets) {
        let written = SharedGreylistEntry.encode(entry)
        require(SharedGreylistEntry.decode(written) == entry, "\(shown(octets)) is written as \(shown(written))")
    }
    for octets in [octets, SharedGreylistEntry.prefix + octets] {
        guard let key = SharedGreylistEntry.key(stored: octets) else { continue }
        require(SharedGreylistEntry.key(stored: SharedGreylistEntry.key(key)) == key, "key \(shown(octets))")
    }
    for octets in [octets, SharedLimitCodec.prefix + octets] {
        guard let (shape, key) = SharedLimitCodec.parts(octets) else { continue }
        let again = SharedLimitCodec.parts(SharedLimitCodec.key(Array(shape.text.utf8), key.octets))
        require(again?.shape == shape && again?.key == key, "key \(shown(octets)) of \(shape)")
    }
    for shape in [sliding.shape, fixed.shape] {
        guard let state = SharedLimitCodec.state(octets, shape, at: storeTime) else { continue }
        for span in shape.spans.indices { require(state.cells.used(span, at: storeTime) >= 0, "\(state)") }
        for shift in [-storeTime, -1, 1, 1 << 50] { _ = state.cells.shifted(by: shift) }
        var cells = LimitCells(shape)
        cells.add(1, at: storeTime)
        cells.meet(state.cells, .sum)
        cells.meet(state.cells, .most)
        _ = state.entry(LimitKey(octets: [0x61]), amounts: [1], at: storeTime)
    }
}

/// A reply to what a decision asks: understood or not, this host decides.
private func take(_ reply: StoreReply, _ terms: LimitTerms) {
    let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(86_400), remember: .seconds(3_000_000))
    let keys = DecisionKeys(greylisted)
    if let told = Told(reply, keys, times) {
        require(told.rows.count <= keys.all.count, "\(told.rows.count) rows of \(keys.all.count) keys")
        for row in told.rows { take(value: row.text) }
    }
    _ = SharedLimitCall.found(reply)
    let memory = LimitMemory(maxKeys: 100)
    memory.prepare([terms])
    // Twice: of a key that is known and of one that is not.
    for second in [0, 1] as [Int64] {
        let now = UnixTime(seconds: storeTime / 1000 + second)
        let plan = memory.propose(charged(terms), now: now, writes: true)
        var call = SharedLimitCall(plan)
        _ = call.argument(plan, now: nil, writes: true)
        guard let outcome = SharedLimitCall.outcome(reply, plan) else {
            _ = memory.decideAlone(plan, .sent, now: now)
            continue
        }
        _ = memory.foresee(plan, outcome)
        _ = memory.conclude(plan, outcome, now: now)
    }
}
