// The words of the well: what is asked, what is answered, and the one protocol by which a judge asks.

public import PosternMail

/// One question; class IN always. Source: RFC 1035 §4.1.2.
public struct Question: Hashable, Sendable, CustomStringConvertible {
    public var name: DomainName
    public var type: RecordType

    public init(_ name: DomainName, _ type: RecordType) {
        self.name = name
        self.type = type
    }

    public var description: String { "\(name) \(type)" }
}

/// A record type by its number. Source: RFC 1035 §3.2.2, RFC 3596.
public struct RecordType: Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let a = RecordType(rawValue: 1)
    public static let ns = RecordType(rawValue: 2)
    public static let cname = RecordType(rawValue: 5)
    public static let soa = RecordType(rawValue: 6)
    public static let ptr = RecordType(rawValue: 12)
    public static let mx = RecordType(rawValue: 15)
    public static let txt = RecordType(rawValue: 16)
    public static let aaaa = RecordType(rawValue: 28)
    /// EDNS's pseudo-record. Source: RFC 6891 §6.1.1.
    public static let opt = RecordType(rawValue: 41)

    static let names: [(RecordType, String)] = [
        (.a, "A"), (.ns, "NS"), (.cname, "CNAME"), (.soa, "SOA"), (.ptr, "PTR"), (.mx, "MX"), (.txt, "TXT"),
        (.aaaa, "AAAA"),
        (.opt, "OPT"),
    ]

    /// `A`, `TXT` ... in any case, or `TYPE65` (RFC 3597 §5); `nil` for anything else.
    public init?(_ text: String) {
        let upper = text.uppercased()
        if let known = Self.names.first(where: { $0.1 == upper }) {
            self = known.0
        } else if upper.hasPrefix("TYPE"), let number = UInt16(upper.dropFirst(4)) {
            self.init(rawValue: number)
        } else {
            return nil
        }
    }

    public var description: String { Self.names.first { $0.0 == self }?.1 ?? "TYPE\(rawValue)" }
}

/// The data of one record that a judge can use.
public enum RecordData: Hashable, Sendable {
    case a(IPAddress)
    case aaaa(IPAddress)
    case mx(preference: UInt16, exchange: DomainName)
    /// All character-strings of the record joined without anything between, octets exact. Source: RFC 7208 §3.3.
    case txt([UInt8])
    case ptr(DomainName)
    case ns(DomainName)
    case cname(DomainName)
    case soa(primary: DomainName, minimum: UInt32)
    /// Another type's RDATA, as it came.
    case other(RecordType, [UInt8])
}

/// What became of one question.
public enum Answer: Hashable, Sendable {
    /// At least one record of the type asked for, at the end of the CNAME chain if there is one.
    /// - Parameter ttl: seconds for which the whole answer holds.
    case records([RecordData], ttl: UInt32)
    /// The name exists and has no record of that type (NODATA, RFC 2308 §2.2).
    case noData
    /// The name does not exist (NXDOMAIN).
    case noSuchName
    /// Nobody could tell: a timeout, SERVFAIL, REFUSED, an unusable reply, or no postern-dns. The text says which.
    case temporaryFailure(String)
}

/// How a judge asks DNS: everything at once, answered in the order asked, within the transaction's time budget.
///
/// An implementation is made for one transaction and knows its deadline; what is late reads as `.temporaryFailure`.
public protocol DNSAnswering {
    /// Asks all questions in parallel and waits until all are answered or the budget is used up.
    /// - Returns: exactly one answer for each question, in their order.
    func answers(to questions: [Question]) -> [Answer]

    /// Asks all questions in parallel, where some of the answers may be enough.
    ///
    /// - Parameter limit: how long is waited at most, within the budget. Who does not know the time waits for the budget.
    /// - Parameter isEnough: is shown what has come, in the order of the questions, each time that something came while
    ///   questions are open; true ends the wait.
    /// - Returns: exactly one element for each question: what is late reads as `.temporaryFailure`; nil is what was not
    ///   waited for, since the others were enough.
    func answers(to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool) -> [Answer?]

    /// Warms the cache for questions that will soon be asked; returns at once.
    func prefetch(_ questions: [Question])
}

extension DNSAnswering {
    public func answers(
        to questions: [Question], within limit: Duration, until isEnough: ([Answer?]) -> Bool
    ) -> [Answer?] { answers(to: questions) }

    /// One question alone.
    public func answer(to question: Question) -> Answer {
        answers(to: [question]).first ?? .temporaryFailure("no answer")
    }
}
