// What all connections of a policy door share, and the way of one request through it: a repeat gets its old answer, the
// others are judged, logged, counted and remembered.

import PosternMail
import PosternSocket
import Synchronization

struct PolicyDoor: Sendable {
    let log: any LogSink
    let limits: PolicyLimits
    let begin: @Sendable (PolicyRequest) -> any PolicyTransaction
    let counters = CounterSink<PolicyCounter>()
    let histograms = HistogramSink<PolicyHistogram>()
    /// Requests that were read and are not answered yet.
    let underWay = UnderWay()
    /// Those of them that are being judged.
    private let judgements = UnderWay()
    /// Answers as they went out.
    private let repeats: RepeatedRequests<[UInt8]>
    private static let parts = 32

    init(
        log: any LogSink, limits: PolicyLimits, begin: @escaping @Sendable (PolicyRequest) -> any PolicyTransaction
    ) {
        self.log = log
        self.limits = limits
        self.begin = begin
        repeats = RepeatedRequests(
            capacity: max(limits.rememberedAnswers, 2 * Self.parts), age: limits.rememberedFor, parts: Self.parts)
    }

    /// The octets to answer a request with.
    /// - Parameter message: the message that the connection's last request was about.
    func answer(_ request: PolicyRequest, _ message: inout MessageUnderWay) -> [UInt8] {
        message.leave(for: request)
        guard let identity = RequestIdentity(request) else { return judge(request, &message) ?? PolicyAnswer.dunnoWire }
        let told = repeats.answer(to: identity, now: .now(), waitingAtMost: limits.repeatTime) {
            judge(request, &message)
        }
        switch told {
        case .judged(let octets): return octets
        case .repeated(let octets):
            counters.count(.repeats)
            return octets
        case .unjudged: return PolicyAnswer.dunnoWire
        case .stillJudged:
            counters.count(.unanswered)
            log.warning("policy: a repeat waited \(limits.repeatTime) for the answer to its first; answering DUNNO")
            return PolicyAnswer.dunnoWire
        }
    }

    /// - Returns: nil where too many are being judged already.
    private func judge(_ request: PolicyRequest, _ message: inout MessageUnderWay) -> [UInt8]? {
        guard judgements.enter(limit: limits.maxInFlight) else {
            counters.count(.overloaded)
            log.warning("policy: \(limits.maxInFlight) requests are being judged; more are answered DUNNO")
            return nil
        }
        defer { judgements.leave() }
        let began = MonotonicTime.now()
        let outcome = message.transaction(for: request, begin).answer(request)
        histograms.observe(.decision, MonotonicTime.now() - began)
        let counter = PolicyCounter(outcome.answer)
        counters.count(counter)
        if let remark = outcome.remark { log.write(.outcome(OutcomeLine(remark, request, counter))) }
        do throws(UnspeakableAnswer) {
            return try outcome.answer.wire()
        } catch {
            counters.count(.unspeakable)
            log.warning("policy: expected an answer in Postfix's words, found \(error); answering DUNNO")
            return PolicyAnswer.dunnoWire
        }
    }
}

/// The message that a connection's last request was about.
struct MessageUnderWay {
    /// nil between messages.
    private var current: (transaction: any PolicyTransaction, first: PolicyRequest)?

    /// Ends the message unless the request is about it too.
    mutating func leave(for request: PolicyRequest) {
        // SMTPD_POLICY_README: once Postfix asks about another instance on a connection, the older message is over.
        guard let current, !Self.isSameMessage(current.first, request) else { return }
        current.transaction.end()
        self.current = nil
    }

    /// Client and sender are the same in all requests of an instance. They are compared because what is known of them
    /// is used again: a test client that always says the same instance must not be judged by an older request's facts.
    private static func isSameMessage(_ one: PolicyRequest, _ other: PolicyRequest) -> Bool {
        [PolicyAttribute.instance, .clientAddress, .heloName, .sender, .saslUsername]
            .allSatisfy { one[$0] == other[$0] }
    }

    /// The message's transaction, begun if this is its first request; for a request outside of any, one of its own.
    mutating func transaction(
        for request: PolicyRequest, _ begin: (PolicyRequest) -> any PolicyTransaction
    ) -> any PolicyTransaction {
        if let current { return current.transaction }
        let transaction = begin(request)
        if !request[.instance].isEmpty { current = (transaction, request) }
        return transaction
    }
}

/// How many there are of something, counted by many threads.
final class UnderWay: Sendable {
    private let count = Atomic<Int>(0)

    var current: Int { count.load(ordering: .relaxed) }

    func enter() { count.add(1, ordering: .relaxed) }
    /// - Returns: false when there is no room; otherwise `leave` is owed.
    func enter(limit: Int) -> Bool {
        if count.add(1, ordering: .relaxed).newValue <= limit { return true }
        leave()
        return false
    }
    func leave() { count.subtract(1, ordering: .relaxed) }
}

extension OutcomeLine {
    /// Longest queue id and protocol name that are printed, in octets.
    private static let maxWordOctets = 64

    init(_ remark: PolicyRemark, _ request: PolicyRequest, _ counter: PolicyCounter) {
        let client = SMTPClient(
            name: Array(request[.clientName]), address: request.client,
            port: request.number(.clientPort).flatMap { UInt16(exactly: $0) } ?? 0)
        let hasSender = request.stage != .connect && request.stage != .helo && request.stage != .ehlo
        func given(_ attribute: PolicyAttribute) -> [UInt8]? {
            request[attribute].isEmpty ? nil : Array(request[attribute])
        }
        self.init(
            queueID: Self.word(request[.queueID]), action: remark.action, stage: request.stage.rawValue, client: client,
            text: remark.text, mailFrom: hasSender ? Array(request[.sender]) : nil, recipient: given(.recipient),
            proto: Self.word(request[.protocolName]), helo: given(.heloName),
            counted: [CounterReading(counter.name, 1)] + remark.counted)
    }

    /// Letters and digits alone; nil for anything else, which Postfix does not send.
    private static func word(_ octets: ArraySlice<UInt8>) -> String? {
        guard (1...maxWordOctets).contains(octets.count),
            octets.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit })
        else { return nil }
        return String(decoding: octets, as: UTF8.self)
    }
}
