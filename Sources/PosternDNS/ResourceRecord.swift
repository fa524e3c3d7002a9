// One resource record (RFC 1035 §4.1.3) with its data decompressed, and what the data says (`RecordData`). The data is
// kept as octets so that a forwarder hands on exactly what came; it is read only by who needs its meaning.

public import PosternMail

/// A record of class IN.
public struct ResourceRecord: Hashable, Sendable {
    public var owner: DomainName
    public var type: RecordType
    /// Seconds. Source: RFC 2181 §8.
    public var ttl: UInt32
    /// RDATA without compression pointers, names in lower case.
    public var octets: [UInt8]

    /// - Parameter octets: RDATA in wire form, without compression pointers.
    public init(owner: DomainName, type: RecordType, ttl: UInt32, octets: [UInt8]) {
        self.owner = owner
        self.type = type
        self.ttl = ttl
        self.octets = octets
    }

    /// What the record says.
    /// - Throws: `.badRecordData` when the octets are not what the type demands.
    public func data() throws(WireError) -> RecordData {
        var reader = WireReader(octets)
        let data = try Self.data(type, &reader)
        guard reader.isAtEnd else { throw .badRecordData(type) }
        return data
    }

    private static func data(_ type: RecordType, _ reader: inout WireReader) throws(WireError) -> RecordData {
        switch type {
        case .a:
            guard let address = IPAddress(octets: try reader.take(4)) else { throw .badRecordData(type) }
            return .a(address)
        case .aaaa:
            guard let address = IPAddress(octets: try reader.take(16)) else { throw .badRecordData(type) }
            return .aaaa(address)
        case .mx: return .mx(preference: try reader.uint16(), exchange: try reader.name())
        case .txt:
            var joined: [UInt8] = []
            repeat {  // RFC 1035 §3.3.14: one or more character-strings
                joined.append(contentsOf: try reader.take(Int(try reader.octet())))
            } while !reader.isAtEnd
            return .txt(joined)
        case .ptr: return .ptr(try reader.name())
        case .ns: return .ns(try reader.name())
        case .cname: return .cname(try reader.name())
        case .soa:
            let primary = try reader.name()
            _ = try reader.name()
            _ = try reader.take(16)
            // RFC 2181 §8: a TTL above 2^31 - 1 is taken as 0; MINIMUM is used as one.
            return .soa(primary: primary, minimum: clampedTTL(try reader.uint32()))
        default: return .other(type, Array(try reader.rest()))
        }
    }

    /// RFC 2181 §8: a TTL with the highest bit set is 0.
    static func clampedTTL(_ ttl: UInt32) -> UInt32 { ttl > UInt32(Int32.max) ? 0 : ttl }

    // MARK: Reading from a message

    /// Reads one record of any class, and its class; the caller decides what to do with others than IN.
    static func read(from reader: inout WireReader) throws(WireError) -> (record: ResourceRecord, recordClass: UInt16) {
        let owner = try reader.name()
        let type = RecordType(rawValue: try reader.uint16())
        let recordClass = try reader.uint16()
        let ttl = try reader.uint32()
        let length = Int(try reader.uint16())
        var part = try reader.part(length)
        if type == .opt {  // RFC 6891 §6.1.3: its TTL and class mean other things
            return (ResourceRecord(owner: owner, type: type, ttl: ttl, octets: Array(try part.rest())), recordClass)
        }
        let octets = try decompressed(type, &part)
        return (ResourceRecord(owner: owner, type: type, ttl: clampedTTL(ttl), octets: octets), recordClass)
    }

    /// RDATA with its names decompressed, for the types whose names old servers compress.
    /// Source: RFC 1035 §3.3, RFC 3597 §4: other types are never compressed.
    private static func decompressed(_ type: RecordType, _ reader: inout WireReader) throws(WireError) -> [UInt8] {
        let (fixed, names): (Int, Int)
        switch type.rawValue {
        case 2, 3, 4, 5, 7, 8, 9, 12, 39: (fixed, names) = (0, 1)  // NS MD MF CNAME MB MG MR PTR DNAME
        case 6, 14, 17: (fixed, names) = (0, 2)  // SOA MINFO RP
        case 15, 18, 21, 36: (fixed, names) = (2, 1)  // MX AFSDB RT KX
        case 26: (fixed, names) = (2, 2)  // PX
        case 33: (fixed, names) = (6, 1)  // SRV
        default: return Array(try reader.rest())
        }
        var octets = Array(try reader.take(fixed))
        for _ in 0..<names { octets.append(name: try reader.name()) }
        octets.append(contentsOf: try reader.rest())
        return octets
    }
}

extension [UInt8] {
    /// Appends a name in wire form, uncompressed.
    mutating func append(name: DomainName) {
        append(contentsOf: name.wire)
        append(0)
    }
}
