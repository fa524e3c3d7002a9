// A query as a client of postern-dns sent it (RFC 1035 §4.1), decoded, or why it gets no ordinary answer. One question
// of class IN and opcode QUERY; zone transfers and other meta types are not for a cache.

import PosternMail

/// A decoded query.
public struct QueryMessage: Hashable, Sendable {
    public var header: MessageHeader
    public var question: Question
    /// The question section octet by octet, for the reply: clients may check the case of their letters.
    public var questionOctets: [UInt8]
    /// The largest datagram that the client takes; `nil` without EDNS. Source: RFC 6891 §6.2.3.
    public var datagramOctets: UInt16?
    /// The client wants to know whether the answer was validated: AD or DO is set. Source: RFC 6840 §5.7.
    public var wantsAuthenticated: Bool
    /// The client's half of a cookie, if it sent a whole one. Source: RFC 7873 §4.
    public var clientCookie: [UInt8]?

    /// Most records after the question; a query has an OPT record, perhaps a TSIG or a cookie.
    static let maxExtraRecords = 8

    /// - Parameter octets: one whole message, without the two octets of length that streams put before it.
    /// - Throws: `.ignored` when no reply may be sent, else `.answered` with the whole reply.
    public init(_ octets: [UInt8]) throws(QueryRefusal) {
        var reader = WireReader(octets)
        do { header = try MessageHeader(from: &reader) } catch { throw .ignored }
        guard !header.isReply else { throw .ignored }  // a reply to a reply would loop
        let refused = header
        func refusal(_ rcode: ResponseCode, edns: Bool = false) -> QueryRefusal {
            .answered(Self.refusal(of: refused, rcode, withOPT: edns))
        }
        guard header.opcode == 0 else { throw refusal(.notImplemented) }
        guard header.questionCount == 1 else { throw refusal(.formatError) }
        let start = reader.position
        let questionClass: UInt16
        do {
            question = Question(try reader.name(), RecordType(rawValue: try reader.uint16()))
            questionClass = try reader.uint16()
        } catch {
            throw refusal(.formatError)
        }
        // No pointer can stand in the name: nothing is before it that one could lead to (RFC 1035 §4.1.4).
        questionOctets = Array(octets.prefix(reader.position).dropFirst(start))
        guard questionClass == DNSCodec.classIN else { throw refusal(.notImplemented) }
        wantsAuthenticated = header.isAuthenticated
        // RFC 6895 §3.1: 128 to 255 are QTYPEs and meta types (AXFR, IXFR, MAILB, MAILA, ANY, TSIG, TKEY), 41 is OPT.
        guard !(128...255).contains(question.type.rawValue), question.type.rawValue != 0, question.type != .opt else {
            throw refusal(question.type == .opt ? .formatError : .notImplemented)
        }
        guard header.answerCount == 0, header.authorityCount == 0,
            Int(header.additionalCount) <= Self.maxExtraRecords
        else { throw refusal(.formatError) }
        for _ in 0..<header.additionalCount {
            let record: ResourceRecord
            let recordClass: UInt16
            do { (record, recordClass) = try ResourceRecord.read(from: &reader) } catch { throw refusal(.formatError) }
            guard record.type == .opt else { continue }
            // RFC 6891 §6.1.1: one OPT record, owned by the root.
            guard datagramOctets == nil, record.owner == .root else { throw refusal(.formatError) }
            // RFC 6891 §6.1.3: version 0 is the only one there is.
            guard record.ttl >> 16 & 0xFF == 0 else { throw refusal(.badVersion, edns: true) }
            datagramOctets = max(512, recordClass)  // RFC 6891 §6.2.3: less than 512 means 512
            if record.ttl & 0x8000 != 0 { wantsAuthenticated = true }
            guard !record.octets.isEmpty else { continue }
            do {
                clientCookie = try EDNSOption.read(record.octets).cookieOctets.flatMap { DNSCookie($0)?.client }
            } catch {
                throw refusal(.formatError)
            }
        }
    }

    /// A query of our own, as its receiver would read it.
    init(id: UInt16, question: Question) {
        header = MessageHeader(id: id, flags: MessageHeader.rd)
        self.question = question
        questionOctets = []
        questionOctets.append(question: question)
        datagramOctets = nil
        wantsAuthenticated = false
    }

    /// A reply without a question section: its header says all. Source: RFC 1035 §4.1.1.
    private static func refusal(of header: MessageHeader, _ rcode: ResponseCode, withOPT: Bool) -> [UInt8] {
        let kept = header.flags & (MessageHeader.opcodeMask | MessageHeader.rd)
        var reply = MessageHeader(
            id: header.id,
            flags: MessageHeader.qr | MessageHeader.ra | kept | rcode.rawValue & MessageHeader.rcodeMask)
        reply.additionalCount = withOPT ? 1 : 0
        var message: [UInt8] = []
        reply.append(to: &message)
        if withOPT {
            DNSCodec.appendOPT(
                to: &message, datagramOctets: DNSCodec.datagramOctets,
                upperRcode: UInt8(truncatingIfNeeded: rcode.rawValue >> 4))
        }
        return message
    }
}

/// Why a query gets no ordinary answer.
public enum QueryRefusal: Error, Hashable, Sendable {
    /// Not even a header, or a reply: nothing is sent back.
    case ignored
    /// FORMERR, NOTIMP or BADVERS: this whole message is sent back.
    case answered([UInt8])
}
