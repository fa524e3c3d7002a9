// What a client of a DNS server needs of the wire (RFC 1035 §4.1, RFC 6891): a query's octets, and what the reply's
// octets say. Pure functions; ids come from the caller. The framing of streams (two octets of length, §4.2.2) is the
// caller's.

public import PosternMail

public enum DNSCodec {
    /// The largest datagram that we ask for and send: it passes unfragmented nearly everywhere. Source: RFC 6891
    /// §6.2.5.
    public static let datagramOctets: UInt16 = 1232
    /// The largest message on a stream. Source: RFC 1035 §4.2.2.
    public static let maxMessageOctets = 65_535

    static let classIN: UInt16 = 1

    /// A standard query with recursion desired and, for servers that validate, interest in the AD bit.
    /// - Parameter datagramOctets: the largest UDP reply that may come, told in an OPT record; `nil` sends no OPT
    /// record, and no options.
    /// - Source: RFC 1035 §4.1, RFC 6840 §5.7, RFC 6891 §6.1.2.
    public static func query(
        id: UInt16, question: Question, datagramOctets: UInt16? = DNSCodec.datagramOctets, options: [EDNSOption] = []
    ) -> [UInt8] {
        var header = MessageHeader(id: id, flags: MessageHeader.rd | MessageHeader.ad)
        header.questionCount = 1
        header.additionalCount = datagramOctets == nil ? 0 : 1
        var message: [UInt8] = []
        message.reserveCapacity(MessageHeader.octets + question.name.wire.count + 5 + optOctets)
        header.append(to: &message)
        message.append(question: question)
        if let datagramOctets {
            appendOPT(to: &message, datagramOctets: datagramOctets, upperRcode: 0, options: options)
        }
        return message
    }

    /// The query with its name's letters in upper case where the bits are set, in their order and again.
    /// - Source: draft-vixie-dnsext-dns0x20-00 §2.
    public static func mixingCase(of query: [UInt8], name: DomainName, bits: UInt64) -> [UInt8] {
        var mixed = query
        var bits = bits
        // A label's length is below 64, so that no letter can be mistaken for one, nor one for a letter.
        for place in query.indices.dropFirst(MessageHeader.octets).prefix(name.wire.count)
        where mixed[place].isASCIILetter {
            if bits & 1 == 1 { mixed[place] ^= 0x20 }
            bits = bits >> 1 | bits << 63
        }
        return mixed
    }

    /// Whether a reply repeats the query's question octet by octet, letters' case included.
    public static func repeatsQuestion(_ reply: [UInt8], of query: [UInt8], name: DomainName) -> Bool {
        let length = name.wire.count + 1
        return reply.dropFirst(MessageHeader.octets).prefix(length)
            .elementsEqual(query.dropFirst(MessageHeader.octets).prefix(length))
    }

    /// The id of a message, query or reply; `nil` when there are not even two octets.
    public static func messageID(of octets: some Collection<UInt8>) -> UInt16? {
        guard octets.count >= 2 else { return nil }
        return octets.prefix(2).reduce(0) { $0 << 8 | UInt16($1) }
    }

    /// What the reply in `octets` says about `question`. The message id is not looked at: the caller has matched it.
    ///
    /// A reply that cannot be used (broken, truncated, to another question, SERVFAIL, REFUSED, a CNAME loop) is a
    /// temporary failure whose text says why; nothing here throws.
    public static func answer(to question: Question, from octets: [UInt8]) -> Answer {
        do {
            return Resolution(of: question, in: try ReplyMessage(octets)).answer
        } catch {
            return .temporaryFailure("unusable reply: \(error)")
        }
    }

    // MARK: Pieces

    /// Length of an OPT record without options.
    static let optOctets = 11

    /// - Source: RFC 6891 §6.1.2.
    static func appendOPT(
        to message: inout [UInt8], datagramOctets: UInt16, upperRcode: UInt8, options: [EDNSOption] = []
    ) {
        message.append(0)
        message.append(uint16: RecordType.opt.rawValue)
        message.append(uint16: datagramOctets)
        message.append(uint32: UInt32(upperRcode) << 24)
        var data: [UInt8] = []
        for option in options {
            data.append(uint16: option.code)
            data.append(uint16: UInt16(clamping: option.octets.count))
            data.append(contentsOf: option.octets)
        }
        message.append(uint16: UInt16(clamping: data.count))
        message.append(contentsOf: data)
    }
}

extension [UInt8] {
    mutating func append(question: Question) {
        append(name: question.name)
        append(uint16: question.type.rawValue)
        append(uint16: DNSCodec.classIN)
    }
}
