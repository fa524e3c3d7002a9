// What follows the question in a response, encoded once and sent many times (RFC 1035 §4.1): for each client only id,
// flags and question are put before it and the TTLs are counted down. Its compression pointers lead to the question's
// name, at octet 12 in every message, or into the body itself, whose place depends only on the question's length.

import PosternMail

/// The answer and authority sections of one response.
public struct ResponseBody: Hashable, Sendable {
    public let rcode: ResponseCode
    /// The upstream said that it has validated the answer.
    public let isAuthenticated: Bool
    /// The name has no record of the type asked for: the answer section holds at most the CNAME records before it.
    public let isNoData: Bool
    let answerCount: UInt16
    let authorityCount: UInt16
    /// The records, as they follow a question of the length that the body was made for.
    let octets: [UInt8]
    /// Where in `octets` the records' TTLs stand, counted from their start.
    let ttlOffsets: [UInt16]

    /// Encodes the sections of a response to `question`.
    ///
    /// - Parameter rcode: 0 to 15. A body too large for a stream message becomes SERVFAIL without records.
    public init(
        question: Question, rcode: ResponseCode, answers: [ResourceRecord] = [], authority: [ResourceRecord] = [],
        isAuthenticated: Bool = false
    ) {
        var encoder = BodyEncoder(question)
        let fits = (answers + authority).allSatisfy { encoder.append($0) }
        self.rcode = fits ? rcode : .serverFailure
        self.isAuthenticated = fits && isAuthenticated
        isNoData = fits && rcode == .noError && !answers.contains { $0.type == question.type }
        answerCount = fits ? UInt16(clamping: answers.count) : 0
        authorityCount = fits ? UInt16(clamping: authority.count) : 0
        octets = fits ? encoder.octets : []
        ttlOffsets = fits ? encoder.ttlOffsets : []
    }

    /// The response to `query`, whose question must be the one that the body was made for.
    ///
    /// - Parameter elapsed: seconds since the body was made; each TTL is smaller by so much, at least 0.
    /// - Parameter maxOctets: a longer response is cut down to its header and question, with TC set.
    /// - Source: RFC 1035 §4.1.1, §4.2.1; RFC 2181 §9; RFC 6840 §5.8; RFC 6891 §7.
    public func message(for query: QueryMessage, elapsed: UInt32, maxOctets: Int) -> [UInt8] {
        let optOctets = query.datagramOctets == nil ? 0 : DNSCodec.optOctets
        let full = MessageHeader.octets + query.questionOctets.count + octets.count + optOctets
        let fits = full <= maxOctets
        var flags = MessageHeader.qr | MessageHeader.ra | rcode.rawValue & MessageHeader.rcodeMask
        flags |= query.header.flags & (MessageHeader.rd | MessageHeader.cd)
        if !fits { flags |= MessageHeader.tc }
        if isAuthenticated, query.wantsAuthenticated, fits { flags |= MessageHeader.ad }
        var header = MessageHeader(id: query.header.id, flags: flags)
        header.questionCount = 1
        header.answerCount = fits ? answerCount : 0
        header.authorityCount = fits ? authorityCount : 0
        header.additionalCount = query.datagramOctets == nil ? 0 : 1
        var message: [UInt8] = []
        message.reserveCapacity(full)
        header.append(to: &message)
        message.append(contentsOf: query.questionOctets)
        if fits {
            let start = message.count
            message.append(contentsOf: octets)
            if elapsed > 0 {
                for offset in ttlOffsets { Self.age(&message, at: start + Int(offset), by: elapsed) }
            }
        }
        if optOctets > 0 {
            DNSCodec.appendOPT(to: &message, datagramOctets: DNSCodec.datagramOctets, upperRcode: 0)
        }
        return message
    }

    /// The same with no TTL above `most`.
    func limitingTTLs(to most: UInt32) -> ResponseBody {
        mappingTTLs { min($0, most) }
    }

    /// The same with one TTL for all records.
    func settingTTLs(to ttl: UInt32) -> ResponseBody { mappingTTLs { _ in ttl } }

    /// The same with each TTL smaller by so many seconds, at least 0.
    func aged(by seconds: UInt32) -> ResponseBody { mappingTTLs { $0 > seconds ? $0 - seconds : 0 } }

    private func mappingTTLs(_ change: (UInt32) -> UInt32) -> ResponseBody {
        var changed = octets
        var isChanged = false
        for offset in ttlOffsets {
            let ttl = Self.ttl(in: changed, at: Int(offset))
            let wanted = change(ttl)
            guard wanted != ttl else { continue }
            Self.put(wanted, into: &changed, at: Int(offset))
            isChanged = true
        }
        return isChanged ? ResponseBody(self, octets: changed) : self
    }

    /// Another body's sections with TTLs of its own.
    private init(_ other: ResponseBody, octets: [UInt8]) {
        rcode = other.rcode
        isAuthenticated = other.isAuthenticated
        isNoData = other.isNoData
        answerCount = other.answerCount
        authorityCount = other.authorityCount
        self.octets = octets
        ttlOffsets = other.ttlOffsets
    }

    /// What the body says, read back; for the rare case that it is needed as values.
    /// - Parameter question: the one that the body was made for.
    public func resolution(of question: Question, elapsed: UInt32) -> Resolution {
        let octets = message(
            for: QueryMessage(id: 0, question: question), elapsed: elapsed, maxOctets: DNSCodec.maxMessageOctets)
        do {
            var resolution = Resolution(of: question, in: try ReplyMessage(octets))
            resolution.isAuthenticated = isAuthenticated
            return resolution
        } catch {
            return Resolution(failure: "\(error)")
        }
    }

    /// Makes the four octets at `place`, which we wrote ourselves, smaller by `seconds`.
    private static func age(_ message: inout [UInt8], at place: Int, by seconds: UInt32) {
        let ttl = ttl(in: message, at: place)
        put(ttl > seconds ? ttl - seconds : 0, into: &message, at: place)
    }

    private static func ttl(in octets: [UInt8], at place: Int) -> UInt32 {
        octets[place..<place + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }

    private static func put(_ ttl: UInt32, into octets: inout [UInt8], at place: Int) {
        for step in 0..<4 { octets[place + step] = UInt8(truncatingIfNeeded: ttl >> (24 - 8 * UInt32(step))) }
    }
}

/// Writes records after a question, with compressed owners.
private struct BodyEncoder {
    private(set) var octets: [UInt8] = []
    private(set) var ttlOffsets: [UInt16] = []
    /// Where the body begins in a message.
    private let start: Int
    /// Names that stand in the message, and where: the question's and those of all owners before.
    private var places: [DomainName: UInt16]

    init(_ question: Question) {
        start = MessageHeader.octets + question.name.wire.count + 5
        // RFC 1035 §4.1.4; the root is as short as itself.
        places = question.name == .root ? [:] : [question.name: UInt16(MessageHeader.octets)]
    }

    /// Largest offset that a compression pointer can hold. Source: RFC 1035 §4.1.4.
    private static let maxPointer = 0x3FFF

    /// - Returns: false when the message would become longer than any may be, an OPT record included.
    mutating func append(_ record: ResourceRecord) -> Bool {
        let longest = record.owner.wire.count + 11 + record.octets.count
        guard record.octets.count <= Int(UInt16.max),
            start + octets.count + longest + DNSCodec.optOctets <= DNSCodec.maxMessageOctets
        else { return false }
        if let place = places[record.owner] {
            octets.append(uint16: 0xC000 | place)
        } else {
            let place = start + octets.count
            if record.owner != .root, place <= Self.maxPointer { places[record.owner] = UInt16(place) }
            octets.append(name: record.owner)
        }
        octets.append(uint16: record.type.rawValue)
        octets.append(uint16: DNSCodec.classIN)
        ttlOffsets.append(UInt16(octets.count))
        octets.append(uint32: record.ttl)
        octets.append(uint16: UInt16(record.octets.count))
        octets.append(contentsOf: record.octets)
        return true
    }
}
