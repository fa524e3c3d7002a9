// One connection to a shared store, used by one thread at a time: opened, logged in, asked. Plain and TLS go the same
// way; both end at the call's deadline.

internal import Glibc

/// What a connection is made of, found out by the keeper.
struct StoreTarget: Sendable {
    var addresses: [StoreAddress]
    /// And what its certificate must be for; nil for a connection without.
    let tls: (common: StoreTLS, host: String)?
    /// Nil where there is no password.
    let password: [UInt8]?
    let user: String?
    let database: Int
    /// The keeper has seen it work.
    var isProven = false
    /// Connections of an older one are not used again.
    var generation: UInt64 = 0
}

final class StoreConnection: @unchecked Sendable {
    // Unchecked: the pool hands it to one thread at a time, under its lock.
    private let socket: StoreSocket
    private let reader: StoreReader
    private let tls: StoreTLS.Session?
    let generation: UInt64
    private var output: [UInt8] = []
    /// It has sent something, or has been known to: it speaks what we speak.
    private var hasAnswered: Bool

    /// Most octets of the replies to one call.
    static let maxReplyOctets = 4 << 20
    /// Room that a connection keeps for its next command.
    private static let maxKeptOctets = 65_536

    /// Connects and logs in.
    init(to target: StoreTarget, until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) {
        socket = try StoreSocket(to: target.addresses, until: deadline, timeout: timeout)
        reader = try StoreReader()
        generation = target.generation
        hasAnswered = target.isProven
        tls = try target.tls.map { (tls) throws(StoreFailure) in try tls.common.session(with: tls.host) }
        try shakeHands(until: deadline, timeout: timeout)
        var greeting: [[[UInt8]]] = []
        if let password = target.password {
            let words = ["AUTH"] + (target.user.map { [$0] } ?? [])
            greeting.append(words.map { Array($0.utf8) } + [password])
        }
        if target.database != 0 { greeting.append(["SELECT", "\(target.database)"].map { Array($0.utf8) }) }
        guard !greeting.isEmpty else { return }
        for reply in try exchange(greeting, until: deadline, timeout: timeout) { _ = try reply.get() }
    }

    /// Where it is connected to.
    var address: StoreAddress { socket.address }

    /// Whether it can be used again: the server has not closed it, nor sent what nobody asked for.
    var isQuiet: Bool { socket.isQuiet }

    /// Sends commands in one piece and reads a reply for each.
    ///
    /// After anything thrown the connection is of no more use: an answer may still come.
    func exchange(
        _ commands: [[[UInt8]]], until deadline: StoreDeadline, timeout: Duration
    ) throws(StoreFailure) -> [Result<StoreReply, StoreFailure>] {
        output.removeAll(keepingCapacity: output.capacity <= Self.maxKeptOctets)
        for command in commands { StoreCodec.append(command, to: &output) }
        try write(until: deadline, timeout: timeout)
        var replies: [Result<StoreReply, StoreFailure>] = []
        replies.reserveCapacity(commands.count)
        var received = 0
        while true {
            while let reply = try reader.next() {
                guard replies.count < commands.count else { throw .malformed("it answers what nobody asked") }
                replies.append(reply)
            }
            if replies.count == commands.count {
                guard reader.isBetweenReplies else { throw .malformed("it answers what nobody asked") }
                return replies
            }
            do {
                received += try read(until: deadline, timeout: timeout)
            } catch .unreachable(let text) where !hasAnswered {
                throw .unreachable(
                    "\(text) before its first answer: store.url wants rediss:// or rediss+sentinel:// where it speaks TLS"
                )
            }
            hasAnswered = true
            guard received <= Self.maxReplyOctets else {
                throw .malformed("its reply is longer than \(Self.maxReplyOctets) octets")
            }
        }
    }

    private func shakeHands(until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) {
        guard let tls else { return }
        while true {
            let isDone: Bool
            do throws(StoreFailure) {
                isDone = try tls.shakeHands()
            } catch {
                // Our alert tells the server why; that it could not be sent is of no more use to anybody.
                do throws(StoreFailure) { try send(tls.pending(), until: deadline, timeout: timeout) } catch {}
                throw error
            }
            try send(tls.pending(), until: deadline, timeout: timeout)
            if isDone { return }
            do {
                try socket.receive(until: deadline, timeout: timeout) { (octets) throws(StoreFailure) in
                    hasAnswered = true
                    try tls.take(octets)
                }
            } catch .timeout(let time) where !hasAnswered {
                // A server without TLS waits for the end of what it takes for a long line.
                throw .unreachable("it did not answer the TLS handshake within \(time.inWords): does it speak TLS?")
            }
        }
    }

    private func write(until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) {
        guard let tls else { return try send(output, until: deadline, timeout: timeout) }
        let plain = output
        try plain.span.bytes.withUnsafeBytes { (octets) throws(StoreFailure) in try tls.write(octets) }
        try send(tls.pending(), until: deadline, timeout: timeout)
    }

    private func send(_ octets: [UInt8], until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) {
        guard !octets.isEmpty else { return }
        try octets.span.bytes.withUnsafeBytes { (octets) throws(StoreFailure) in
            try socket.send(octets, until: deadline, timeout: timeout)
        }
    }

    /// - Returns: how many octets came from the wire.
    private func read(until deadline: StoreDeadline, timeout: Duration) throws(StoreFailure) -> Int {
        var count = 0
        try socket.receive(until: deadline, timeout: timeout) { (octets) throws(StoreFailure) in
            count = octets.count
            guard let tls else { return try reader.feed(octets) }
            try tls.take(octets)
            try tls.read { (octets) throws(StoreFailure) in try reader.feed(octets) }
            try send(tls.pending(), until: deadline, timeout: timeout)  // what TLS itself answers
        }
        return count
    }
}
