// Reads the fields of a DNS message (RFC 1035 §4.1) from octets that a stranger sent. This is the one place that
// subscripts such octets: every read is checked against the message's end and throws when it would pass it. Compression
// pointers (§4.1.4) may only lead backwards, so that no name can loop.

public import PosternMail

/// Why octets are no usable DNS message.
public enum WireError: Error, Hashable, Sendable, CustomStringConvertible {
    case truncated
    case badName(DomainNameError)
    case badLabelType
    case badPointer
    case badRecordData(RecordType)
    case tooManyRecords
    case notAReply, notAQuery
    case notTheQuestion

    public var description: String {
        switch self {
        case .truncated: "the message ends within a field"
        case .badName(let error): "a name with \(error)"
        case .badLabelType: "a label of unknown type"
        case .badPointer: "a compression pointer that does not lead backwards"
        case .badRecordData(let type): "\(type) data of the wrong form"
        case .tooManyRecords: "more than \(WireReader.maxRecords) records"
        case .notAReply: "no reply to a standard query"
        case .notAQuery: "no query"
        case .notTheQuestion: "a reply to another question"
        }
    }
}

/// A place in a message, and how to read on from there.
struct WireReader {
    let octets: [UInt8]
    private(set) var position: Int
    /// Where reading must stop: the message's end, or the end of one record's data.
    private let end: Int

    /// Most compression pointers in one name. A name has at most 127 labels, and only a useless pointer has none before
    /// it.
    static let maxPointers = 127
    /// Most records in a message. 65,535 octets hold at most 5,957 of them; no honest answer comes near.
    static let maxRecords = 4096

    init(_ octets: [UInt8], at position: Int = 0) {
        self.octets = octets
        self.position = position
        end = octets.count
    }

    private init(_ octets: [UInt8], _ range: Range<Int>) {
        self.octets = octets
        position = range.lowerBound
        end = range.upperBound
    }

    var isAtEnd: Bool { position >= end }

    mutating func octet() throws(WireError) -> UInt8 {
        guard position >= 0, position < end else { throw .truncated }
        defer { position += 1 }
        return octets[position]
    }

    mutating func uint16() throws(WireError) -> UInt16 {
        let high = try octet()
        return UInt16(high) << 8 | UInt16(try octet())
    }

    mutating func uint32() throws(WireError) -> UInt32 {
        let high = try uint16()
        return UInt32(high) << 16 | UInt32(try uint16())
    }

    mutating func take(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count >= 0, position >= 0, position <= end, count <= end - position else { throw .truncated }
        defer { position += count }
        return octets[position..<position + count]
    }

    mutating func rest() throws(WireError) -> ArraySlice<UInt8> { try take(end - position) }

    /// A reader of the next `count` octets alone, which still sees the whole message for compression pointers.
    mutating func part(_ count: Int) throws(WireError) -> WireReader {
        let start = position
        _ = try take(count)
        return WireReader(octets, start..<position)
    }

    /// One name, decompressed. Source: RFC 1035 §3.1, §4.1.4.
    mutating func name() throws(WireError) -> DomainName {
        var wire: [UInt8] = []
        var reader = self
        var start = position  // where the labels now read began: a pointer must lead to before it
        var pointers = 0
        while true {
            let length = try reader.octet()
            switch length & 0xC0 {
            case 0x00 where length == 0:
                if pointers == 0 { position = reader.position }
                do { return try DomainName(wire: wire) } catch { throw .badName(error) }
            case 0x00:
                guard wire.count + 1 + Int(length) < DomainName.maxWireOctets else { throw .badName(.nameTooLong) }
                wire.append(length)
                wire.append(contentsOf: try reader.take(Int(length)))
            case 0xC0:
                let target = Int(length & 0x3F) << 8 | Int(try reader.octet())
                if pointers == 0 { position = reader.position }
                pointers += 1
                // RFC 1035 §4.1.4: a pointer names a prior occurrence; the header holds no names.
                guard target < start, target >= MessageHeader.octets, pointers <= Self.maxPointers else {
                    throw .badPointer
                }
                start = target
                reader = WireReader(octets, at: target)
            default: throw .badLabelType  // RFC 6891 §5: extended label types are not used
            }
        }
    }
}
