// Where the documents of a fleet's hosts lie: one key for each host, which goes by itself when the host is not heard of for
// some minutes, and a list of the hosts with when each was heard of last, which stays for a month: who is silent is missed.
//
//     postern:host:NAME        string, JSON                   expires after `lifetime`
//     postern:hosts            sorted set, NAME by seconds    members go after `memory`

internal import PosternAdmission
internal import PosternDaemon
internal import PosternStore

struct FleetStore {
    private let store: SharedStore

    /// Long enough for a minute's timer that is late, or fails twice.
    static let lifetime = 300
    static let memory = 30 * 86_400
    /// Most hosts that are looked at.
    static let maxHosts = 1000
    /// An admin has more time than a decision.
    private static let patience = Duration.seconds(10)

    private static let index = Array("postern:hosts".utf8)
    private static func key(_ name: String) -> [UInt8] { Array("postern:host:\(name)".utf8) }

    init(_ store: SharedStore) { self.store = store }

    /// One step: a host in the list without its document was heard of, and is silent now.
    /// KEYS: index, document. ARGV: name, JSON, lifetime, memory.
    private static let publishing = """
        local now = tonumber(redis.call('TIME')[1])
        redis.call('SET', KEYS[2], ARGV[2], 'EX', tonumber(ARGV[3]))
        redis.call('ZADD', KEYS[1], now, ARGV[1])
        redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))
        redis.call('EXPIRE', KEYS[1], tonumber(ARGV[4]))
        return now
        """

    func publish(_ host: HostDocument) throws(StoreFailure) {
        _ = try store.command(
            [
                "EVAL", Self.publishing, "2", "postern:hosts", "postern:host:\(host.name)", host.name,
                host.document.description, "\(Self.lifetime)", "\(Self.memory)",
            ].map { Array($0.utf8) }, within: Self.patience)
    }

    /// A host that was taken out of service is missed no more.
    /// - Returns: whether it was known.
    func forget(_ name: String) throws(StoreFailure) -> Bool {
        let replies = try store.commands(
            [
                [Array("ZREM".utf8), Self.index, Array(name.utf8)], [Array("DEL".utf8), Self.key(name)],
            ], within: Self.patience)
        return replies.contains { $0.integer ?? 0 > 0 }
    }

    /// A host of the list.
    struct Member: Sendable {
        let name: String
        /// Seconds since it was heard of, by the store's clock.
        let age: Int64
        /// When it was heard of, by the store's clock: seconds since 1970.
        let heard: Int64
        /// Nil when it is silent, or what lies there is no document.
        let document: HostDocument?
        /// Something lies there, and no host of this release has written it.
        var isDamaged = false

        /// How far its clock is ahead of the store's, in seconds; nil where it has not said.
        var clockAhead: Int64? {
            document?.clock.map { clock in
                let (ahead, overflow) = clock.subtractingReportingOverflow(heard)
                return overflow ? .max : ahead
            }
        }
    }

    /// All hosts, by name.
    func members() throws(StoreFailure) -> [Member] {
        let replies = try store.commands(
            [
                [Array("TIME".utf8)],
                [
                    Array("ZRANGE".utf8), Self.index, Array("0".utf8), Array("\(Self.maxHosts - 1)".utf8),
                    Array("WITHSCORES".utf8),
                ],
            ], within: Self.patience)
        let now = replies.first?.array?.first?.text.flatMap { Int64($0) } ?? 0
        var heard: [(name: String, time: Int64)] = []
        var words = replies.dropFirst().first?.array?[...] ?? []
        while let name = words.popFirst()?.text, let time = words.popFirst()?.text {
            // A score of seconds is a whole number, which Redis prints without a point.
            heard.append((name, Int64(time) ?? 0))
        }
        guard !heard.isEmpty else { return [] }
        let documents =
            try store.command(
                [Array("MGET".utf8)] + heard.map { Self.key($0.name) }, within: Self.patience
            ).array ?? []
        return zip(heard, documents).map { host, reply in
            let document = reply.octets.flatMap { HostDocument($0, of: host.name) }
            // Whoever can write there may have written any number.
            let (age, overflow) = now.subtractingReportingOverflow(host.time)
            return Member(
                name: DaemonControl.printable(host.name), age: overflow ? 0 : max(0, age), heard: host.time,
                document: document, isDamaged: document == nil && reply.octets != nil)
        }.sorted { $0.name < $1.name }
    }
}
