// The connection on which questions are asked whose answers nobody here wants: postern-dns keeps them in its cache.
// Nothing in it ever waits, so that the lock around it is short.

import PosternDNS

struct Prefetcher: ~Copyable {
    private let socket: Socket
    private var frames = DNSFrames()
    /// Octets of a question that the kernel took only in part: they must go first, or the framing is lost.
    private var unsent: ArraySlice<UInt8> = []
    private var unanswered = 0
    private var nextID: UInt16 = 0

    /// Most questions without an answer; more are not prefetched. As many as a message with all its signatures needs,
    /// some thirty times over.
    static let maxUnanswered = 512

    init(_ socket: consuming Socket) { self.socket = socket }

    /// Throws away what has been answered and writes the questions, as many as there is room for.
    /// - Throws: when the connection is of no use any more.
    mutating func ask(_ questions: [Question]) throws(SocketError) {
        try drain()
        try flush()
        for question in questions {
            guard unsent.isEmpty, unanswered < Self.maxUnanswered else { return }
            var output: [UInt8] = []
            DNSFrames.append(DNSCodec.query(id: nextID, question: question, datagramOctets: nil), to: &output)
            nextID &+= 1
            unanswered += 1
            unsent = output[...]
            try flush()
        }
    }

    private mutating func flush() throws(SocketError) {
        while !unsent.isEmpty {
            let sent = try socket.send(unsent)
            guard sent > 0 else { return }
            unsent = unsent.dropFirst(sent)
        }
    }

    private mutating func drain() throws(SocketError) {
        while true {
            switch try socket.receive(into: &frames.input) {
            case .nothingYet: return
            case .endOfStream: throw .closed
            case .octets: while frames.next() != nil { unanswered = max(0, unanswered - 1) }
            }
        }
    }
}
