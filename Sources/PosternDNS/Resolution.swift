// What one reply says about one question: the CNAME chain followed inside it (RFC 1034 §3.6.2), the records at its end,
// or that there are none and for how long that holds (RFC 2308). Records whose owner is not on the chain are never
// believed.

import PosternMail

/// A reply, read for one question.
public struct Resolution: Hashable, Sendable {
    public var answer: Answer
    /// The chain's CNAME records in their order, then the records asked for. Empty when the answer is a failure.
    public var records: [ResourceRecord] = []
    /// The SOA record of a negative answer, if there was one. Source: RFC 2308 §3.
    public var authority: [ResourceRecord] = []
    public var rcode: ResponseCode
    /// Seconds for which the answer may be kept; 0: not at all. Source: RFC 2308 §5, RFC 2181 §5.2.
    public var ttl: UInt32 = 0
    /// The server says that it has validated the answer. Source: RFC 4035 §3.2.3.
    public var isAuthenticated = false

    /// Most CNAME records followed for one question; BIND and Unbound follow 11 to 16, real chains have 1 to 4.
    public static let maxCNAMEs = 10

    /// Reads `reply` as the reply to `question`; whatever forbids that is a temporary failure.
    public init(of question: Question, in reply: ReplyMessage) {
        self.init(failure: "\(reply.rcode)", rcode: reply.rcode)
        guard reply.question == question else {
            fail("unusable reply: \(WireError.notTheQuestion)")
            return
        }
        guard reply.rcode == .noError || reply.rcode == .nameError else { return }
        guard !reply.header.isTruncated else {
            fail("unusable reply: truncated")
            return
        }
        isAuthenticated = reply.header.isAuthenticated
        do { try read(question, reply) } catch { fail("unusable reply: \(error)") }
    }

    /// A temporary failure.
    public init(failure text: String, rcode: ResponseCode = .serverFailure) {
        answer = .temporaryFailure(text)
        self.rcode = rcode
    }

    private mutating func fail(_ text: String) { self = Resolution(failure: text) }

    private mutating func read(_ question: Question, _ reply: ReplyMessage) throws(ResolutionError) {
        let chain = try Chain(from: question, in: reply.answers)
        // RFC 2308 §2.1: with a chain, NXDOMAIN speaks of the name at its end; records there contradict it.
        guard chain.wanted.isEmpty || reply.rcode == .noError else { throw .contradiction }
        // RFC 2308 §2.1, §2.2: the SOA is that of the zone which has not the name, so it is above the chain's end.
        let soa = reply.authority.first { $0.type == .soa && chain.end.isEqualOrBelow($0.owner) }
        if chain.wanted.isEmpty, soa == nil, reply.rcode == .noError,
            reply.authority.contains(where: { $0.type == .ns })
        {
            throw .referral  // RFC 2308 §2.2: NS and no SOA is a referral
        }
        try conclude(chain.links, chain.wanted, soa)
    }

    /// From records that the caller has checked: the CNAME records, those asked for, or the zone's SOA.
    init(
        _ links: [ResourceRecord], wanted: [ResourceRecord] = [], soa: ResourceRecord? = nil, rcode: ResponseCode
    ) {
        self.init(failure: "", rcode: rcode)
        do { try conclude(links, wanted, soa) } catch { fail("\(error)") }
    }

    private mutating func conclude(
        _ links: [ResourceRecord], _ wanted: [ResourceRecord], _ soa: ResourceRecord?
    ) throws(ResolutionError) {
        records = links + wanted
        ttl = records.lazy.map(\.ttl).min() ?? 0
        if !wanted.isEmpty {
            var data: [RecordData] = []
            data.reserveCapacity(wanted.count)
            for record in wanted { data.append(try record.meaning()) }
            answer = .records(data, ttl: ttl)
            return
        }
        answer = rcode == .nameError ? .noSuchName : .noData
        guard var soa else {
            ttl = 0  // RFC 2308 §5: without a SOA it should not be kept
            return
        }
        guard case .soa(_, let minimum) = try soa.meaning() else { throw .wire(.badRecordData(.soa)) }
        soa.ttl = min(soa.ttl, minimum)  // RFC 2308 §5: it is kept for the lesser of the two, and handed on so
        authority = [soa]
        ttl = links.isEmpty ? soa.ttl : min(ttl, soa.ttl)
    }

    /// This answer behind the CNAME records that led to its question.
    public func following(_ links: [ResourceRecord]) -> Resolution {
        guard !links.isEmpty else { return self }
        if case .temporaryFailure = answer { return self }
        var whole = self
        whole.records = links + records
        whole.ttl = links.reduce(ttl) { min($0, $1.ttl) }
        whole.isAuthenticated = false
        if case .records(let data, _) = answer { whole.answer = .records(data, ttl: whole.ttl) }
        return whole
    }
}

/// Why a well-formed reply is no answer.
enum ResolutionError: Error, CustomStringConvertible {
    case loop, contradiction, referral
    case wire(WireError)

    var description: String {
        switch self {
        case .loop: "a CNAME loop or more than \(Resolution.maxCNAMEs) CNAME records"
        case .contradiction: "NXDOMAIN with records"
        case .referral: "a referral to other servers; the upstream does not recurse"
        case .wire(let error): "\(error)"
        }
    }
}

/// The CNAME records that lead from a question's name to another, and what is wanted there.
struct Chain {
    var links: [ResourceRecord] = []
    /// The records of the wanted type at the end, without doubles.
    var wanted: [ResourceRecord] = []
    /// The name at the end.
    var end: DomainName

    init(from question: Question, in records: [ResourceRecord]) throws(ResolutionError) {
        end = question.name
        while true {
            wanted = records.filter { $0.type == question.type && $0.owner == end }
            if !wanted.isEmpty { break }
            // RFC 1034 §3.6.2: a CNAME answers for every type but its own.
            guard question.type != .cname,
                let link = records.first(where: { $0.type == .cname && $0.owner == end })
            else { break }
            guard case .cname(let target) = try link.meaning() else { throw .wire(.badRecordData(.cname)) }
            guard links.count < Resolution.maxCNAMEs, target != question.name,
                !links.contains(where: { $0.owner == target })
            else { throw .loop }
            links.append(link)
            end = target
        }
        if wanted.count > 1 {
            var seen: Set<[UInt8]> = []
            wanted = wanted.filter { seen.insert($0.octets).inserted }
        }
    }
}

extension ResourceRecord {
    fileprivate func meaning() throws(ResolutionError) -> RecordData {
        do { return try data() } catch { throw .wire(error) }
    }
}
