// The cache's answers as octets, to be read after a restart. A file is as hostile as a stranger: all of it is checked,
// each answer is read as a reply from the network would be, and nothing that it says can make a TTL longer. Pure
// functions; files, clocks and what is worth keeping are the daemon's.
//
//     "PosternDNS" version(2)=1 saved(8, seconds since 1970)
//     { length(2) message(length) flags(1) left(4) stale(4) } ...
//     count(4) checksum(8: FNV-1a of all octets before it)
//
// Numbers have the most significant octet first. `left` are seconds for which the answer is fresh, `stale` those for
// which it may be used then (RFC 8767); both, and the TTLs in the message, count from `saved`.

public import PosternMail

public enum CacheSnapshot {
    /// One answer at the moment when the snapshot was made, or read.
    public struct Entry: Hashable, Sendable {
        public let question: Question
        public let body: ResponseBody
        /// Seconds since the body's TTLs were true.
        public let elapsed: UInt32
        /// For how long it is fresh; zero: its time is over.
        public let left: Duration
        /// For how long after that it may be used while upstreams fail.
        public let staleLeft: Duration
    }

    static let magic = Array("PosternDNS".utf8)
    public static let version: UInt16 = 1
    /// Most answers that are written or read: more than any mail host asks again within a day.
    public static let maxEntries = 1 << 17
    /// Longest snapshot in octets.
    public static let maxOctets = 64 << 20
    /// How far the clock may have been set back: a small step is a correction, and costs no cache.
    public static let maxStepBack = Duration.seconds(10)

    static let headerOctets = 20
    static let trailerOctets = 12
    /// Beside the message.
    static let entryOctets = 11
    private static let isAuthenticatedFlag: UInt8 = 1

    // MARK: Writing

    /// Makes a snapshot piece by piece.
    public struct Writer: Sendable {
        private var ready: [UInt8] = []
        private var checksum = Checksum()
        private var total = 0
        public private(set) var count = 0

        /// - Parameter saved: the wall clock's time.
        public init(saved: UnixTime) {
            var header = CacheSnapshot.magic
            header.append(uint16: CacheSnapshot.version)
            let seconds = UInt64(bitPattern: saved.nanoseconds / 1_000_000_000)
            header.append(uint64: seconds)
            put(header)
        }

        /// - Returns: false when the snapshot is full; the entry is left out.
        public mutating func append(_ entry: Entry) -> Bool {
            let message = entry.body.message(
                for: QueryMessage(id: 0, question: entry.question), elapsed: entry.elapsed,
                maxOctets: DNSCodec.maxMessageOctets)
            let needed = message.count + CacheSnapshot.entryOctets + CacheSnapshot.trailerOctets
            guard count < CacheSnapshot.maxEntries, total + needed <= CacheSnapshot.maxOctets else { return false }
            var octets: [UInt8] = []
            octets.reserveCapacity(needed)
            octets.append(uint16: UInt16(clamping: message.count))
            octets.append(contentsOf: message)
            octets.append(entry.body.isAuthenticated ? CacheSnapshot.isAuthenticatedFlag : 0)
            octets.append(uint32: UInt32(clamping: entry.left.components.seconds))
            octets.append(uint32: UInt32(clamping: entry.staleLeft.components.seconds))
            put(octets)
            count += 1
            return true
        }

        /// What was made since the last call.
        public mutating func take() -> [UInt8] {
            defer { ready = [] }
            return ready
        }

        /// The end, with all that was not taken before it.
        public consuming func finish() -> [UInt8] {
            var octets: [UInt8] = []
            octets.append(uint32: UInt32(clamping: count))
            put(octets)
            ready.append(uint64: checksum.value)
            return ready
        }

        private mutating func put(_ octets: [UInt8]) {
            checksum.add(octets[...])
            total += octets.count
            ready.append(contentsOf: octets)
        }
    }

    // MARK: Reading

    /// The answers of a snapshot that are still of use, times and TTLs counted down to `now`.
    ///
    /// - Parameter octets: a whole snapshot.
    /// - Parameter now: the wall clock's time.
    /// - Throws: when it is none, is damaged anywhere, or was made after `now`.
    public static func entries(in octets: [UInt8], now: UnixTime) throws(CacheSnapshotError) -> [Entry] {
        guard octets.count <= maxOctets else { throw .tooLong }
        guard octets.starts(with: magic) else { throw .notASnapshot }
        guard octets.count >= headerOctets + trailerOctets else { throw .damaged }
        var reader = WireReader(octets, at: magic.count)
        do {
            let found = try reader.uint16()
            guard found == version else { throw CacheSnapshotError.otherVersion(found) }
            var sum = Checksum()
            sum.add(octets.dropLast(8))
            var trailer = WireReader(octets, at: octets.count - trailerOctets)
            let count = try trailer.uint32()
            guard try trailer.uint64() == sum.value, count <= maxEntries else { throw CacheSnapshotError.damaged }
            let passed = try passed(since: try reader.uint64(), now)
            var entries: [Entry] = []
            for _ in 0..<count {
                let length = Int(try reader.uint16())
                let message = try reader.take(length)
                let flags = try reader.take(1).first ?? 0
                let left = Int64(try reader.uint32())
                let stale = Int64(try reader.uint32())
                if let entry = entry(Array(message), flags, left: left, stale: stale, passed: passed) {
                    entries.append(entry)
                }
            }
            guard reader.position == octets.count - trailerOctets else { throw CacheSnapshotError.damaged }
            return entries
        } catch let error as CacheSnapshotError {
            throw error
        } catch {
            throw .damaged
        }
    }

    private static func passed(since saved: UInt64, _ now: UnixTime) throws(CacheSnapshotError) -> UInt32 {
        let now = now.nanoseconds / 1_000_000_000
        guard let saved = Int64(exactly: saved) else { throw .damaged }
        let (passed, overflow) = now.subtractingReportingOverflow(saved)
        guard !overflow, passed >= -maxStepBack.components.seconds else { throw .fromTheFuture }
        return UInt32(clamping: passed)
    }

    /// - Returns: nil for what is no answer, or of no use any more.
    private static func entry(
        _ message: [UInt8], _ flags: UInt8, left: Int64, stale: Int64, passed: UInt32
    ) -> Entry? {
        let end = left + stale - Int64(passed)  // of 32 bits each
        guard end > 0 else { return nil }
        // As from the network: what no upstream could have said is not believed, and skipped.
        guard let reply = try? ReplyMessage(message), let question = reply.question else { return nil }
        let resolution = Resolution(of: question, in: reply)
        if case .temporaryFailure = resolution.answer { return nil }
        let body = ResponseBody(
            question: question, rcode: resolution.rcode, answers: resolution.records, authority: resolution.authority,
            isAuthenticated: flags & isAuthenticatedFlag != 0)
        guard body.rcode == .noError || body.rcode == .nameError else { return nil }
        let freshLeft = max(0, left - Int64(passed))
        return Entry(
            question: question, body: body.aged(by: passed), elapsed: 0, left: .seconds(freshLeft),
            staleLeft: .seconds(end - freshLeft))
    }
}

/// Why octets are no usable snapshot.
public enum CacheSnapshotError: Error, Hashable, Sendable, CustomStringConvertible {
    case notASnapshot
    case otherVersion(UInt16)
    case tooLong
    case damaged
    /// The clock was set back, so that nobody knows how old the answers are.
    case fromTheFuture

    public var description: String {
        switch self {
        case .notASnapshot: "expected a snapshot of the DNS cache, found another file"
        case .otherVersion(let version):
            "expected a snapshot of version \(CacheSnapshot.version), found version \(version)"
        case .tooLong: "expected a snapshot of at most \(CacheSnapshot.maxOctets) octets, found a longer one"
        case .damaged: "expected a whole snapshot, found a damaged one"
        case .fromTheFuture: "expected a snapshot from the past, found one from the future: the clock was set back"
        }
    }
}

/// FNV-1a with 64 bits: tells damage, not malice; the file is ours alone (mode 0600).
/// Source: draft-eastlake-fnv-21 §2.
struct Checksum: Sendable {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ octets: ArraySlice<UInt8>) {
        octets.withUnsafeBufferPointer { octets in
            var sum = value
            for octet in octets { sum = (sum ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
            value = sum
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append(uint64 value: UInt64) {
        append(uint32: UInt32(truncatingIfNeeded: value >> 32))
        append(uint32: UInt32(truncatingIfNeeded: value))
    }
}

extension WireReader {
    fileprivate mutating func uint64() throws(WireError) -> UInt64 {
        let high = try uint32()
        return UInt64(high) << 32 | UInt64(try uint32())
    }
}
