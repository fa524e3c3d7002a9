// A reply as an upstream sent it (RFC 1035 §4.1), decoded as a whole: header, question, three sections, and EDNS's
// bits. Whether it is the reply to our question, and what it says about it, is `Resolution`.

import PosternMail

/// A decoded reply.
public struct ReplyMessage: Hashable, Sendable {
    public var header: MessageHeader
    /// `nil` when the reply repeats no question.
    public var question: Question?
    /// The three sections; records of other classes than IN and the OPT record are left out.
    public var answers: [ResourceRecord] = []
    public var authority: [ResourceRecord] = []
    public var additional: [ResourceRecord] = []
    /// The response code with EDNS's upper bits. Source: RFC 6891 §6.1.3.
    public var rcode: ResponseCode
    /// The reply has an OPT record. Source: RFC 6891 §6.1.1.
    public var hasEDNS = false
    /// The OPT record's options.
    public var options: [EDNSOption] = []

    /// - Parameter octets: one whole message, without the two octets of length that streams put before it.
    /// - Throws: when it is no reply to a standard query, or any field is broken. Octets after the last record are
    /// ignored.
    public init(_ octets: [UInt8]) throws(WireError) {
        var reader = WireReader(octets)
        header = try MessageHeader(from: &reader)
        rcode = header.rcode
        guard header.isReply, header.opcode == 0 else { throw .notAReply }
        guard header.questionCount <= 1 else { throw .notTheQuestion }
        if header.questionCount == 1 {
            let name = try reader.name()
            let type = RecordType(rawValue: try reader.uint16())
            guard try reader.uint16() == DNSCodec.classIN else { throw .notTheQuestion }
            question = Question(name, type)
        }
        let counts = [header.answerCount, header.authorityCount, header.additionalCount].map(Int.init)
        guard counts.reduce(0, +) <= WireReader.maxRecords else { throw .tooManyRecords }
        for (section, count) in counts.enumerated() {
            for _ in 0..<count {
                let (record, recordClass) = try ResourceRecord.read(from: &reader)
                if record.type == .opt {
                    guard section == 2, !hasEDNS else { continue }  // RFC 6891 §6.1.1: there is one
                    hasEDNS = true
                    options = try EDNSOption.read(record.octets)
                    let upper = UInt16(truncatingIfNeeded: record.ttl >> 24)
                    rcode = ResponseCode(rawValue: header.flags & MessageHeader.rcodeMask | upper << 4)
                } else if recordClass == DNSCodec.classIN {
                    switch section {
                    case 0: answers.append(record)
                    case 1: authority.append(record)
                    default: additional.append(record)
                    }
                }
            }
        }
    }
}
