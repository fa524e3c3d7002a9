// Messages on their way and connections, as limits remember them: what each message has reserved until its end is seen,
// and which connections were counted already. Bounded in number and time.

internal import PosternMail

/// One message, by Postfix's `instance`.
final class LimitInstance {
    /// What it has of one key of one limit.
    struct Holding {
        let terms: LimitTerms
        let key: [UInt8]
        /// Counted when the message's end is seen, given back when it is not.
        var reserved = 0
        /// Counted already.
        var charged = 0
        /// What its recipients have come to, whatever became of the reservation.
        var asked = 0
        /// Of what is reserved, what a shared store has reserved too.
        var shared = 0

        var held: Int { reserved.clamped(adding: charged) }

        /// What of the reservation is counted at the message's end.
        func settled(_ totals: LimitRequest.Totals?) -> Int {
            guard reserved > 0 else { return 0 }
            let most: Int? =
                switch terms.shape.count {
                case .connections, .messages: nil
                case .octets: totals?.octets
                case .recipients: terms.isPerRecipient ? nil : totals?.recipients
                }
            return max(0, min(held, most ?? held) - charged)
        }
    }

    /// More than limits and recipients of a message; what comes then is charged at once.
    static let maxHoldings = 4096

    /// Digests, with this process's random key: nobody can aim at another's.
    let key: UInt64
    /// Nil where the connection is not known.
    let connection: UInt64?
    /// By its number among the hooks.
    let service: Int
    let began: Int64
    var holdings: [Holding] = []
    /// Its end was seen, or is not waited for.
    var isSettled = false
    /// What a shared store keeps its reservations under: the minute of the first, by the store's clock; 0 before it.
    var slot: Int64 = 0

    init(key: UInt64, _ request: LimitRequest, service: Int, time: Int64) {
        self.key = key
        connection = LimitInstances.digest(request.connection)
        self.service = service
        began = time
        holdings.reserveCapacity(request.charges.count)
    }

    func holding(of terms: LimitTerms, _ key: [UInt8]) -> Int? {
        holdings.firstIndex { ($0.terms === terms || $0.terms.shape == terms.shape) && $0.key == key }
    }

    func hasHolding(of terms: LimitTerms) -> Bool {
        holdings.contains { $0.terms === terms || $0.terms.shape == terms.shape }
    }
}

/// All of them, the oldest first.
struct LimitInstances {
    /// Some 300 octets each. Beyond that the oldest is over.
    static let maxInstances = 65_536
    /// How long a reservation is held.
    static let lapse = LimitReservations.lapse
    /// How long it is known which keys a message has: one that takes so long to come in is charged at its end.
    private static let memory: Int64 = 3_600_000

    private var byKey: [UInt64: LimitInstance] = [:]
    private var byConnection: [UInt64: LimitInstance] = [:]
    private var queue: [LimitInstance] = []
    /// The first that has not lapsed, and the first that is remembered.
    private var lapsed = 0
    private var head = 0

    var count: Int { queue.count - head }

    static func key(_ request: LimitRequest) -> UInt64? { key(request.instance, request.client) }

    static func key(_ instance: [UInt8], _ client: IPAddress?) -> UInt64? {
        // A client that says another's instance is no part of that message.
        digest(instance, client)
    }

    static func digest(_ octets: [UInt8], _ client: IPAddress? = nil) -> UInt64? {
        guard !octets.isEmpty else { return nil }
        var hasher = Hasher()
        octets.withUnsafeBytes { hasher.combine(bytes: $0) }
        hasher.combine(client)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    func find(_ key: UInt64) -> LimitInstance? { byKey[key] }

    mutating func begin(_ instance: LimitInstance) {
        byKey[instance.key] = instance
        if let connection = instance.connection { byConnection[connection] = instance }
        queue.append(instance)
    }

    /// The message that was on this connection before.
    func previous(on connection: [UInt8], before key: UInt64) -> LimitInstance? {
        guard let connection = Self.digest(connection), let instance = byConnection[connection], instance.key != key
        else { return nil }
        return instance
    }

    /// The next that is over by its age or for want of room.
    mutating func popLapsed(_ time: Int64) -> LimitInstance? {
        guard lapsed < queue.count else { return nil }
        let oldest = queue[lapsed]
        guard time - oldest.began >= Self.lapse || queue.count - lapsed > Self.maxInstances / 2 else { return nil }
        lapsed += 1
        return oldest
    }

    /// Forgets some whose time has come, or for want of room.
    mutating func forgetOldest(_ time: Int64) {
        for _ in 0..<64 where head < lapsed {
            let oldest = queue[head]
            guard time - oldest.began >= Self.memory || count > Self.maxInstances else { break }
            head += 1
            if byKey[oldest.key] === oldest { byKey[oldest.key] = nil }
            if let connection = oldest.connection, byConnection[connection] === oldest {
                byConnection[connection] = nil
            }
        }
        // What is behind us goes a part of the queue at a time, so that nobody waits for more than some 100 us.
        guard head >= 8192 else { return }
        queue.removeFirst(head)
        lapsed -= head
        head = 0
    }
}

/// Which connections were counted, for which key: digests in two generations.
struct LimitConnections {
    /// Of one generation, 16 octets or so each. Beyond that the older one is forgotten early, and its connections are
    /// counted again.
    private static let maxDigests = 131_072
    /// How long one that shows nothing is remembered at least: Postfix drops a client that is silent for longer
    /// (smtpd_timeout). After that its port can be another's.
    private static let age: Int64 = 300_000

    private var young: Set<UInt64> = []
    private var old: Set<UInt64> = []
    private var youngBegan: Int64 = 0

    static func digest(_ terms: LimitTerms, _ key: [UInt8], _ connection: [UInt8]) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(terms.shape.name)
        hasher.combine(key)
        hasher.combine(connection)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// To be called before the others with the same time.
    mutating func forget(_ time: Int64) {
        guard young.count >= Self.maxDigests || time - youngBegan >= Self.age else { return }
        old = time - youngBegan >= 2 * Self.age ? [] : young
        young = []
        youngBegan = time
    }

    func contains(_ digest: UInt64) -> Bool { young.contains(digest) || old.contains(digest) }

    mutating func remember(_ digest: UInt64) { young.insert(digest) }
}

/// Where Postfix asks at END-OF-MESSAGE: only there a reservation can be told from a message that was refused later.
struct LimitHooks {
    private struct State {
        var isAttached = false
        /// Messages in a row whose end was not seen.
        var silent = 0
    }

    /// So many messages without an end, one after another, and it is believed that nobody tells it any more.
    private static let maxSilent = 8
    /// Ports that Postfix listens on are few; the rest is taken together.
    private static let maxServices = 64

    /// The first is for all that have no number of their own.
    private var states: [State] = [State()]
    private var numbers: [[UInt8]: Int] = [:]

    mutating func number(_ service: [UInt8]) -> Int {
        if let number = numbers[service] { return number }
        guard states.count <= Self.maxServices else { return 0 }
        states.append(State())
        numbers[service] = states.count - 1
        return states.count - 1
    }

    func isAttached(_ number: Int) -> Bool { states[number].isAttached }

    mutating func sawEnd(_ number: Int) { states[number] = State(isAttached: true) }

    mutating func missedEnd(_ number: Int) {
        states[number].silent += 1
        if states[number].silent >= Self.maxSilent { states[number].isAttached = false }
    }

    var attached: [[UInt8]] { numbers.filter { isAttached($0.value) }.map(\.key) }
}
